"""What one publish and one receive cost in instructions of the machine: the same on a busy machine as on a quiet one.

    python -m benchmarks.instructions           fails where either costs a tenth more than is kept
    python -m benchmarks.instructions --keep    measures, and keeps it in instructions.json

Counted by callgrind, on the memory bus, as the difference between a long run and a short one, so that starting up has
no part in it. Counts are kept for each minor version of Python, whose own work is most of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

KEPT = Path(__file__).with_name("instructions.json")
MOST = 1.1
"""How many times what is kept a count may be."""

SHORT, LONG = 200, 1_200
NOT_RUN = "instruction counts: not run, there is no valgrind (apt-get install valgrind)"


async def work(what: str, count: int) -> None:
    """Publish one message after another, and with `receive` handle them all."""
    import polybus

    from .bindings import QUEUE, memory

    async with polybus.connect(memory()) as bus:
        for _ in range(count):
            await bus.publish(QUEUE, b"x" * 100)
        if what == "publish":
            return
        left, done = count, asyncio.Event()

        async def handle(delivery: polybus.Delivery) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        consumer = bus.consumer(QUEUE, handle)
        running = asyncio.create_task(consumer.run())
        await done.wait()
        await consumer.drain()
        await running


def measure() -> dict[str, int]:
    """Return the instructions of one publish, and of one receive, handled and settled."""
    publish = _each("publish")
    return {"publish": publish, "receive": _each("receive") - publish}


def _each(what: str) -> int:
    return round((_collected(what, LONG) - _collected(what, SHORT)) / (LONG - SHORT))


def _collected(what: str, count: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        command += [sys.executable, "-m", "benchmarks.instructions", "--work", what, str(count)]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return collected_in(done.stderr)


def collected_in(text: str) -> int:
    """Read the number of instructions in what callgrind writes to stderr."""
    found = re.search(r"Collected : (\d+)", text)
    if found is None:
        raise ValueError(f"callgrind told no count: {text[-500:]}")
    return int(found[1])


def compare(kept: Mapping[str, int], found: Mapping[str, int]) -> tuple[list[str], bool]:
    """Say each count beside what is kept, and whether all are good."""
    lines, good = [], True
    for name, count in found.items():
        before = kept[name]
        grown = count > before * MOST
        good = good and not grown
        words = f"more than {MOST:g} times that" if grown else "good"
        lines.append(f"{name}: {count:,} instructions, {before:,} are kept ({count / before - 1:+.1%}): {words}")
    return lines, good


def main(arguments: Sequence[str]) -> int:
    """Measure, and compare or keep; return the exit code."""
    if arguments[:1] == ["--work"]:
        asyncio.run(work(arguments[1], int(arguments[2])))
        return 0
    if shutil.which("valgrind") is None:
        print(NOT_RUN)
        return 0
    version = f"{platform.python_implementation()} {'.'.join(platform.python_version_tuple()[:2])}"
    every: dict[str, dict[str, int]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    found = measure()
    if list(arguments) == ["--keep"]:
        KEPT.write_text(json.dumps({**every, version: found}, indent=2, sort_keys=True) + "\n")
        print(f"kept for {version}: {found}")
        return 0
    if version not in every:
        print(f"instruction counts: nothing is kept for {version}; found {found}")
        return 0
    lines, good = compare(every[version], found)
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
