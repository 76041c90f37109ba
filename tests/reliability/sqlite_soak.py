"""Four publishers and four consumers on one SQLite file, one of them killed every second; and what must hold then.

    python -m tests.reliability.sqlite_soak [--messages 1000000] [--seed 20] [--kill-every 1]

prints the command, the seed and the commit with what was seen; the exit code is 0 where all held.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polybus

from .soak import commit
from .sqlite_worker import CONSUMERS, KEYS, PUBLISHERS, QUEUE, binding, ready

WORKER = Path(__file__).with_name("sqlite_worker.py")
MESSAGES = 100_000
KILL_EVERY = 1.0
"""Seconds between two kills, on average."""

CHUNK = 20
"""What a publisher publishes at once at most; more in longer runs, so that they take less than their share longer."""

STUCK_AFTER = 120.0
"""Seconds without anything handled after which the run is given up: far more than leases, restarts and load take."""


@dataclass
class Outcome:
    """What a run showed."""

    messages: int
    seed: int
    seconds: float = 0.0
    killed_publishers: int = 0
    killed_consumers: int = 0
    handled: int = 0
    lost: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    published_again: int = 0
    waiting: int | None = None
    dead: int | None = None
    exit_codes: list[int] = field(default_factory=list)
    integrity: str = ""

    @property
    def kills(self) -> int:
        return self.killed_publishers + self.killed_consumers

    @property
    def duplicates(self) -> int:
        """Messages handled more than once, counted each time."""
        return self.handled - (self.messages - len(self.lost))

    @property
    def holds(self) -> bool:
        return (
            not self.lost
            and not self.overtaken
            and (self.waiting, self.dead, self.integrity) == (0, 0, "ok")
            and set(self.exit_codes) == {0}
        )

    def __str__(self) -> str:
        return (
            f"{self.messages} messages, seed {self.seed}, {self.seconds:.0f} s, {self.killed_publishers} publishers "
            f"and {self.killed_consumers} consumers killed: {len(self.lost)} lost, {len(self.overtaken)} out of order, "
            f"{self.duplicates} handled again ({self.published_again} of them published again after a kill), "
            f"{self.waiting} left waiting, {self.dead} dead letters, file {self.integrity}"
        )


class _Crew:
    """The processes: each is started again when it was killed, and not when it was done."""

    def __init__(self, folder: Path, per_key: int, seed: int, most: int) -> None:
        self._folder = folder
        self._arguments = {
            **{f"publisher {n}": ("publish", folder, n, per_key, seed, most) for n in range(PUBLISHERS)},
            **{f"consumer {n}": ("consume", folder) for n in range(CONSUMERS)},
        }
        self.running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, *names: str) -> None:
        for name in names or self._arguments:
            self.running[name] = await asyncio.create_subprocess_exec(
                sys.executable, str(WORKER), *map(str, self._arguments[name])
            )

    async def kill(self, name: str) -> None:
        process = self.running[name]
        process.kill()
        await process.wait()
        await self.start(name)

    def reap(self) -> list[str]:
        """Forget publishers that are done; return the names of processes that failed by themselves."""
        failed = []
        for name, process in list(self.running.items()):
            if process.returncode is not None:
                del self.running[name]
                if process.returncode != 0 or name.startswith("consumer"):
                    failed.append(f"{name}: exit {process.returncode}")
        return failed

    async def end(self) -> list[int]:
        """Ask all to drain; return their exit codes."""
        for process in self.running.values():
            await asyncio.wait_for(self._ready(process), 60)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        codes = [await asyncio.wait_for(process.wait(), 60) for process in self.running.values()]
        self.running.clear()
        return codes

    async def _ready(self, process: asyncio.subprocess.Process) -> None:
        while not ready(self._folder, process.pid).exists() and process.returncode is None:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.02)

    async def abandon(self) -> None:
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class _Log:
    """The file that the consumers append to, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""
        self.lines = 0
        self.highest: dict[str, int] = {}
        self.overtaken: list[str] = []

    def read(self) -> bool:
        """Take in what is new; return whether there was any."""
        if not self._path.exists():
            return False
        with self._path.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        self._position += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            key, number, _ = line.decode().split()
            self._take(key, int(number))
        return bool(lines)

    def _take(self, key: str, number: int) -> None:
        # In order: what is handled for the first time comes right after what was handled last for the first time. What
        # a killed publisher publishes again, and a killed consumer's deliveries, are lower, and allowed.
        self.lines += 1
        last = self.highest.get(key, -1)
        if number > last + 1:
            self.overtaken.append(f"{key}: {number} handled after {last}")
        self.highest[key] = max(last, number)

    @property
    def distinct(self) -> int:
        """How many were handled, as long as nothing was overtaken."""
        return sum(number + 1 for number in self.highest.values())


async def soak(folder: Path, *, messages: int, seed: int, kill_every: float = KILL_EVERY) -> Outcome:
    """Run it; raises AssertionError where it gets stuck or a process fails by itself."""
    per_key = max(messages // KEYS, 1)
    most = max(CHUNK, CHUNK * messages // 50_000)
    outcome = Outcome(per_key * KEYS, seed)
    chance = random.Random(seed)
    crew, log = _Crew(folder, per_key, seed, most), _Log(folder / "handled")
    started = progress = time.monotonic()
    next_kill = started + kill_every
    await crew.start()
    try:
        while True:
            await asyncio.sleep(0.05)
            failed = crew.reap()
            assert not failed, failed
            now = time.monotonic()
            if log.read():
                progress = now
            assert now - progress < STUCK_AFTER, f"nothing was handled for {STUCK_AFTER} s: {log.distinct} until then"
            if log.distinct >= outcome.messages and not any(name.startswith("publisher") for name in crew.running):
                break
            if now >= next_kill:
                next_kill += kill_every * chance.uniform(0.5, 1.5)
                name = chance.choice(sorted(crew.running))
                await crew.kill(name)
                if name.startswith("publisher"):
                    outcome.killed_publishers += 1
                else:
                    outcome.killed_consumers += 1
        outcome.seconds = time.monotonic() - started
        await _settled(folder)
        outcome.exit_codes = await crew.end()
    finally:
        await crew.abandon()
    log.read()
    _conclude(outcome, folder, log, per_key)
    await _look(outcome, folder)
    return outcome


async def _settled(folder: Path) -> None:
    """Wait until nothing waits: what a killed publisher's successor repeated last is still on its way."""
    async with polybus.connect(binding(folder)) as bus:
        for _ in range(600):
            stats = await bus.stats(QUEUE)
            if stats.waiting == stats.leased == 0:
                return
            await asyncio.sleep(0.1)


def _conclude(outcome: Outcome, folder: Path, log: _Log, per_key: int) -> None:
    handled = [line.split()[:2] for line in (folder / "handled").read_text().splitlines()]
    seen = {f"{key}-{number}" for key, number in handled}
    outcome.handled = len(handled)
    outcome.lost = sorted({f"key{k}-{n}" for k in range(KEYS) for n in range(per_key)} - seen)
    outcome.overtaken = log.overtaken
    with contextlib.closing(sqlite3.connect(folder / "bus.db")) as connection:
        (outcome.integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
        # Every row that was ever made has its number.
        ((rows,),) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'message'").fetchall()
    outcome.published_again = rows - outcome.messages


async def _look(outcome: Outcome, folder: Path) -> None:
    async with polybus.connect(binding(folder)) as bus:
        stats = await bus.stats(QUEUE)
    outcome.waiting = (stats.waiting or 0) + (stats.leased or 0) + (stats.delayed or 0)
    outcome.dead = stats.dead


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.sqlite_soak", description="the SQLite soak")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--kill-every", type=float, default=KILL_EVERY, metavar="SECONDS")
    options = parser.parse_args(arguments)
    command = f"--messages {options.messages} --seed {options.seed} --kill-every {options.kill_every:g}"
    print(f"python -m tests.reliability.sqlite_soak {command} at {commit()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="polybus-soak-") as folder:
        outcome = asyncio.run(
            soak(Path(folder), messages=options.messages, seed=options.seed, kill_every=options.kill_every)
        )
    print(outcome)
    for overtaken in outcome.overtaken[:20]:
        print(f"out of order: {overtaken}")
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
