"""A local server that is another program: where a cloud's own server can run on a laptop, it is the best stand-in."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from polybus.errors import ConfigError
from polybus.localcloud.server import LOOPBACK, free_port

__all__ = ["ProcessServer"]

_LOOK = 0.02
"""Seconds between two looks whether it answers."""

# Kills the program once nobody holds the other end of standard input any more, whatever became of us. A shell would say
# so, and is kept from it.
_TIED = """
exec 3<&0
"$@" 3<&- </dev/null &
program=$!
exec 2>/dev/null
{ read -r _ <&3; kill -9 $program; } &
wait $program
"""


class ProcessServer:
    """A `LocalServer` for a program; subclasses say what is run, and when it answers.

    It is killed in the end, also when this process is: what it has accepted must be safe from that, as from any crash.
    `data` is the folder that it keeps everything in, None where that is to be in memory.
    """

    cloud: str
    install: str
    """What brings the program, as a command: it is told where there is none."""

    def __init__(self, host: str = LOOPBACK, port: int = 0, data: Path | None = None) -> None:
        self.host, self.port, self.data = host, port or free_port(host), data
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Return what is run, the program first."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Say whether it can be used by now; blocks for a moment at most."""
        raise NotImplementedError

    def env(self) -> Mapping[str, str]:
        """Return the environment variables by which other tools reach it."""
        return {}

    async def start(self) -> None:
        """Run it, and wait until it answers.

        Raises ConfigError where the program isn't there, and OSError where the port is taken or it ends at once.
        """
        command = self.command()
        if shutil.which(command[0]) is None:
            raise ConfigError(f"the local {self.cloud} needs {command[0]}: {self.install}")
        with socket.create_server((self.host, self.port)):
            pass
        if self.data is not None:
            self.data.mkdir(parents=True, exist_ok=True)
        self._process = process = _run(command)
        while not await asyncio.to_thread(self.answers):
            if process.poll() is not None:
                raise OSError(f"{command[0]} ended at once, with {process.returncode}")
            await asyncio.sleep(_LOOK)

    async def stop(self) -> None:
        """Kill it, and wait for its end; may be called twice."""
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.communicate)


def _run(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Run a command, tied to this process, in a group of its own: Ctrl-C is for who started it."""
    words = ["/bin/sh", "-c", _TIED, "sh", *command]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0)  # noqa: S603
