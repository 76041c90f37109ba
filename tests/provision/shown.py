"""Runs the program in stacks/ and shows its errors as Pulumi's language host for Python does.

Arguments: the project's folder, the stack's configuration as JSON. A RunError is shown as its text; of any other error
the host shows a traceback, as Python does here.
"""

import json
import sys
from pathlib import Path

import pulumi

from . import runner, simulated


def main(folder: str, values: str) -> int:
    done = runner.Run()
    try:
        runner.run(runner.main, simulated.create, values=json.loads(values), root=Path(folder), done=done)
    except pulumi.RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        print(f"registered: {[resource.name for resource in done.resources]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
