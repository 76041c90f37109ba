"""`make soak`: the long runs, one after another; their numbers are printed and kept in docs/reliability.md.

    python -m tests.reliability.soak [sqlite] [aws] ... [torture-gcp] [--scale 0.1]

Each is a test of the suite, which runs a fiftieth of it every time. Its seeds are constants of the test, and stand in
what it prints. Only whole runs (scale 1 and more) that passed are kept; not where what they need is missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"

SOAKS = {
    "sqlite": "tests/reliability/test_sqlite_soak.py",
    "aws": "tests/localcloud/aws/test_soak.py",
    "gcp": "tests/localcloud/pubsub/test_soak.py",
    "azure": "tests/localcloud/servicebus/test_soak.py",
    "torture-sqlite": "tests/reliability/test_torture_sqlite.py",
    "torture-aws": "tests/reliability/test_torture_aws.py",
    "torture-azure": "tests/reliability/test_torture_azure.py",
    "torture-gcp": "tests/reliability/test_torture_gcp.py",
    "outbox": "tests/outbox/test_kills.py",
    "once": "tests/once/test_kills.py",
    "fairness": "tests/reliability/test_fairness.py",
    "model": "tests/reliability/test_bus_model.py",
    "terraform": "tests/provision/test_terraform.py",
}

STILL_RUNNING = 30.0
"""Seconds without output after which a line says that it goes on."""

# What pytest prints besides the tests' own numbers: its dots, and the closing line.
DOTS = re.compile(r"^\.+(\s+\[ *\d+%\])?")
CLOSING = re.compile(r"\d+ (passed|failed|errors?|skipped|warnings?)\b.* in ")


@dataclass(frozen=True, slots=True)
class Run:
    """One soak that ended. `numbers` are the lines that it printed, `seconds` how long it took."""

    name: str
    passed: bool
    seconds: float
    numbers: Sequence[str]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak", description=__doc__)
    parser.add_argument("soaks", nargs="*", metavar="soak", help=f"{', '.join(SOAKS)}; all where none is named")
    parser.add_argument(
        "--scale",
        type=float,
        default=float(os.environ.get("POLYBUS_SOAK_SCALE", "1")),
        help="part of the whole, 1 without it and without POLYBUS_SOAK_SCALE",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.soaks) - set(SOAKS))
    if unknown:
        parser.error(f"no soak {', '.join(unknown)}; there are {', '.join(SOAKS)}")
    if options.scale <= 0:
        parser.error(f"--scale {options.scale:g}: more than 0")
    runs = []
    for name in options.soaks or SOAKS:
        run = soak(name, options.scale)
        runs.append(run)
        if run.passed and run.numbers and options.scale >= 1:
            keep(run, options.scale)
    print()
    for run in runs:
        print(f"{run.name}: {'held' if run.passed else 'FAILED'}, {run.seconds:.0f} s")
    return 0 if all(run.passed for run in runs) else 1


def soak(name: str, scale: float) -> Run:
    """Run one, showing what it prints as it comes."""
    print(f"\n== {name}: {SOAKS[name]} at scale {scale:g} ==", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-s", SOAKS[name]]
    environment = {**os.environ, "POLYBUS_SOAK_SCALE": f"{scale:g}", "PYTHONUNBUFFERED": "1"}
    started = time.monotonic()
    lines = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in _lines(process, started):
            print(line, flush=True)
            lines.append(line)
    numbers = [] if process.returncode else [text for line in lines if (text := _number(line))]
    return Run(name, process.returncode == 0, time.monotonic() - started, numbers)


def _lines(process: subprocess.Popen[str], started: float) -> Iterator[str]:
    """Yield the process's lines until its output ends; say so where it is quiet for long."""
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            arrived.put(line.rstrip())
        arrived.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = arrived.get(timeout=STILL_RUNNING)
        except queue.Empty:
            print(f"... {time.monotonic() - started:.0f} s", flush=True)
            continue
        if line is None:
            return
        yield line


def _number(line: str) -> str:
    """Return what a test itself printed, or nothing."""
    text = DOTS.sub("", line).strip()
    return text if re.search(r"\d", text) and not CLOSING.search(text) else ""


def keep(run: Run, scale: float) -> None:
    """Put a run into its place in docs/reliability.md."""
    block = re.compile(rf"(<!-- soak {run.name} -->\n).*?(<!-- /soak {run.name} -->)", re.DOTALL)
    page = PAGE.read_text()
    if not block.search(page):
        raise SystemExit(
            f"{PAGE}: no place for this run, between <!-- soak {run.name} --> and <!-- /soak {run.name} -->"
        )
    command = f"python -m tests.reliability.soak {run.name}" + (f" --scale {scale:g}" if scale != 1 else "")
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    date = time.strftime("%Y-%m-%d", time.gmtime())
    text = f"`{command}` at {commit()}, {date} ({machine}), {run.seconds:.0f} s:\n\n"
    text += "".join(f"- {number}\n" for number in run.numbers)
    PAGE.write_text(block.sub(lambda found: found[1] + text + found[2], page))


def commit() -> str:
    """Name the commit that is checked out, and whether the product was changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    name = git("rev-parse", "--short", "HEAD")
    return f"{name} with changes" if git("status", "--porcelain", "--", "src") else name


if __name__ == "__main__":
    sys.exit(main())
