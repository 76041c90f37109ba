"""A language host for Python, by which Pulumi's CLI runs programs, components and policies on this machine.

It is not Pulumi's own, which comes with the CLI's releases and not as a Go module that could be built. Like that one it
runs a program in the environment that `runtime.options.virtualenv` names, relative to the folder of Pulumi.yaml, and in
this Python where none is named. It asks for no plugins, since the local ones are on PATH, and installs nothing. The
option `root` says what the program is told to be the folder of Pulumi.yaml, where that is a copy elsewhere.

Run with `python -P -m polybus.provision.laptop.language ENGINE`; the engine's address is the last argument.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

__all__ = ["LanguageHost", "main"]

_PROGRAM = Path(__file__).with_name("program.py")
# How a program ends that has told the engine already what was wrong.
_TOLD = 32


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs what is written in Python for the engine at `engine`."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self.cancelled = threading.Event()

    # -- about itself

    def Handshake(self, request: Any, context: Any) -> Any:
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version="0.0.0")

    def About(self, request: Any, context: Any) -> Any:
        return language_pb2.AboutResponse(executable=sys.executable, version=platform.python_version())

    def Cancel(self, request: Any, context: Any) -> Any:
        self.cancelled.set()
        return empty_pb2.Empty()

    # -- what programs need

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:
        return language_pb2.GetRequiredPackagesResponse()

    def GetRequiredPlugins(self, request: Any, context: Any) -> Any:
        return language_pb2.GetRequiredPluginsResponse()

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        return language_pb2.GetProgramDependenciesResponse()

    def RuntimeOptionsPrompts(self, request: Any, context: Any) -> Any:
        return language_pb2.RuntimeOptionsResponse()

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        python = _python(request.info)
        if not python.exists() or Path(request.directory, "requirements.txt").exists():
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the local language host installs nothing: {python}")
        yield language_pb2.InstallDependenciesResponse(stdout=f"{python} is there\n".encode())

    # -- running

    def Run(self, request: Any, context: Any) -> Any:
        info = request.info
        asked = {
            "project": request.project,
            "stack": request.stack,
            "organization": request.organization,
            "parallel": request.parallel,
            "dry_run": request.dryRun,
            "monitor": request.monitor_address,
            "engine": self._engine,
            "root_directory": dict(info.options).get("root") or info.root_directory,
        }
        environment = {
            **os.environ,
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        program = str(Path(info.program_directory, info.entry_point))
        # -P: beside _PROGRAM are our own modules, which are not to be taken for the program's.
        command = [str(_python(info)), "-P", str(_PROGRAM), json.dumps(asked), program]
        code = subprocess.run(command, cwd=request.pwd, env=environment, check=False).returncode  # noqa: S603
        if code == _TOLD:
            return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error="" if code == 0 else f"the program ended with {code}")

    def RunPlugin(self, request: Any, context: Any) -> Iterator[Any]:
        info = request.info
        process = subprocess.Popen(  # noqa: S603 - what the stack names
            [str(_python(info)), info.program_directory, *request.args],
            cwd=request.pwd,
            env=dict(entry.split("=", maxsplit=1) for entry in request.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        context.add_callback(process.terminate)  # when the engine needs it no more, or is gone
        said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        readers = [
            threading.Thread(target=_read, args=(name, stream, said))
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        for reader in readers:
            reader.start()
        running = len(readers)
        while running:
            answer = said.get()
            if answer is None:
                running -= 1
            else:
                yield answer
        yield language_pb2.RunPluginResponse(exitcode=process.wait())


def _read(name: str, stream: IO[bytes], said: queue.SimpleQueue[Any]) -> None:
    """Hand on what a plugin prints, line by line, and then None."""
    with stream:
        for line in stream:
            said.put(
                language_pb2.RunPluginResponse(stdout=line)
                if name == "stdout"
                else language_pb2.RunPluginResponse(stderr=line)
            )
    said.put(None)


def _python(info: Any) -> Path:
    """Return the interpreter of a program's own environment, or this one."""
    options = dict(info.options)
    if not options.get("virtualenv"):
        return Path(sys.executable)
    return Path(info.root_directory, options["virtualenv"], "bin", "python")


def main(engine: str) -> int:
    """Serve the host until the engine, or a signal, ends it, and return the exit code."""
    host = LanguageHost(engine)
    for ending in (signal.SIGINT, signal.SIGTERM):  # how the CLI ends its plugins
        signal.signal(ending, lambda *_: host.cancelled.set())
    server = grpc.server(ThreadPoolExecutor(8, thread_name_prefix="language"))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    host.cancelled.wait()
    server.stop(0).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
