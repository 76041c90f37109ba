"""Runs Pulumi programs, each in a process of its own, as the CLI's language host for Python does; see `engine.py`.

Arguments are packages to import beforehand: every run is a fork of this process, so that only the first one pays for
them. A line of stdin asks for a run and a line of stdout answers it, both as JSON; see `engine_host.py`.
"""

import asyncio
import importlib
import json
import logging
import os
import runpy
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi
from pulumi.runtime import settings, stack


def run(address: str, project: str, name: str, root: str, preview: bool, program: str) -> int:
    """Run one program to its end, and return its exit code."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    settings.configure(
        settings.Settings(
            project=project, stack=name, monitor=address, engine=address, dry_run=preview, root_directory=root
        )
    )
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # As the CLI's language host has it, with `--parallel 16`: what doesn't wait for each other is asked for at once.
    loop.set_default_executor(ThreadPoolExecutor(64))

    def execute() -> None:
        runpy.run_path(program, run_name="__main__")

    try:
        loop.run_until_complete(stack.run_in_stack(execute))
    except pulumi.RunError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def fork(arguments: dict[str, Any], config: str) -> dict[str, Any]:
    """Run one program in a child, and return its exit code and all that it printed."""
    with tempfile.TemporaryFile("w+") as printed:
        child = os.fork()
        if child == 0:
            os.dup2(printed.fileno(), 1)
            os.dup2(printed.fileno(), 2)
            os.environ["PULUMI_CONFIG"] = config
            code = 1
            try:
                code = run(**arguments)
            except BaseException:  # noqa: BLE001 - what a process ends with, whatever it is
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "printed": printed.read()}


if __name__ == "__main__":
    for package in sys.argv[1:]:
        importlib.import_module(package)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(fork(asked["arguments"], asked["config"])), flush=True)
