"""Runs one Pulumi program to its end for `language`: arguments are the engine's settings as JSON, and the program.

It is run by its path, in the program's own environment, which needs nothing of polybus.

It ends with 32 where it has told the engine what was wrong, as Pulumi's own `pulumi-language-python-exec` does.
"""

import asyncio
import json
import logging
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pulumi
from pulumi import runtime

__all__ = ["run"]

_TOLD = 32


def run(asked: str, program: str) -> int:
    """Run a program, a file or a folder with a __main__.py, and return the exit code."""
    values = json.loads(asked)
    runtime.set_all_config(runtime.get_config_env(), runtime.get_config_secret_keys_env())
    runtime.configure(runtime.Settings(**values))
    # What fails beside the first error stays unread, and asyncio would tell of each.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with ThreadPoolExecutor(4 * max(values["parallel"], 1)) as executor:
        loop.set_default_executor(executor)
        try:
            loop.run_until_complete(runtime.run_in_stack(lambda: _execute(program)))
        except pulumi.RunError as error:
            pulumi.log.error(str(error))
            return 1
        except Exception:  # noqa: BLE001 - whatever a program may raise
            pulumi.log.error(f"Program failed with an unhandled exception:\n{traceback.format_exc()}")
            return _TOLD
    loop.close()
    return 0


def _execute(program: str) -> None:
    place = Path(program)
    sys.path.insert(0, str(place if place.is_dir() else place.parent))
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
