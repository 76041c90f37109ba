"""Runs one Pulumi program in this process, as the CLI's language host for Python does; see `engine.py`.

Arguments: address of the engine, project, stack, the project's folder, "preview" or "up", the program's file.
"""

import asyncio
import logging
import runpy
import sys

import pulumi
from pulumi.runtime import settings, stack


def main(address: str, project: str, name: str, root: str, mode: str, program: str) -> int:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    settings.configure(
        settings.Settings(
            project=project, stack=name, monitor=address, engine=address, dry_run=mode == "preview", root_directory=root
        )
    )
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(stack.run_in_stack(lambda: runpy.run_path(program, run_name="__main__") and None))
    except pulumi.RunError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
