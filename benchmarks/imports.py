"""How long `import polybus` takes, in a fresh interpreter each time."""

from __future__ import annotations

import functools
import subprocess
import sys

from .harness import Aim, Contender, Report, Sample

ROUNDS = 9

TIMED = "import time; wall, cpu = time.perf_counter(), time.process_time(); {}; "
TIMED += "print(time.perf_counter() - wall, time.process_time() - cpu)"


def run(report: Report) -> None:
    statements = [
        "import polybus",
        "import polybus; polybus.connect; polybus.App",
        "import asyncio",
        "import polybus.cli.main",
    ]
    report.compare(
        "imports: in a fresh interpreter",
        [Contender(statement, functools.partial(_fresh, statement)) for statement in statements],
        aims=[Aim("best", at_most=120)],
        rounds=ROUNDS,
        note="Of the statement alone, without the interpreter's own start. `import polybus` leaves the bus and the "
        "application framework for when they are first used: the second row is what a service pays.",
        unit="run",
    )


def _fresh(statement: str) -> Sample:
    command = [sys.executable, "-c", TIMED.format(statement)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wall, cpu = map(float, answer.split())
    return Sample(1, wall, cpu)
