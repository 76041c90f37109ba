"""Processes with `once` that are killed at every step, and what must hold of their effects then."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

import polybus
from polybus.once import SqlStore

from .kill_worker import QUEUE, binding, effects, step_of
from .stores import opened

__all__ = ["TRANSACTIONS", "Outcome", "kill"]

ROOT = Path(__file__).parents[2]
TRANSACTIONS = 10_000
PROCESSES = 3
STUCK_AFTER = 120.0
"""Seconds without a new effect after which a run is given up: far more than leases, restarts and load take."""


@dataclass
class Outcome:
    """What a run showed; `kills` by the step at which they were."""

    kind: str
    messages: int
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    left: int = 0
    dead: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many messages have no effect."""
        return self.messages - len(self.effects)

    @property
    def again(self) -> int:
        """How many effects there are beside the first of each message."""
        return sum(self.effects.values()) - len(self.effects)

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {step}" for step, count in sorted(self.kills.items()))
        return (
            f"{self.kind}: {self.messages} messages, one in five of them published twice, {self.seconds:.0f} s, "
            f"{self.kills.total()} kills ({kills}): {self.lost} without an effect, {self.again} effects again, "
            f"{self.left} left{''.join(f'; {error}' for error in self.errors)}"
        )


class _Run:
    def __init__(self, folder: Path, place: tuple[str, str], outcome: Outcome) -> None:
        self._folder = folder
        self._place = place
        self._outcome = outcome
        self._over = False
        self._processes: set[asyncio.subprocess.Process] = set()

    async def run(self) -> None:
        async with opened(*self._place) as store, polybus.connect(binding(self._folder)) as bus:
            await store.create_tables()
            if isinstance(store, SqlStore):
                await store._do(effects.metadata.create_all)
            numbers = range(self._outcome.messages)
            await bus.publish_many(QUEUE, [str(number) for number in numbers])
            await bus.publish_many(QUEUE, [str(number) for number in numbers if number % 5 == 1])
            lives = [asyncio.create_task(self._live(number)) for number in range(PROCESSES)]
            try:
                await self._until_done(bus, store)
            finally:
                self._over = True
                for process in self._processes:
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGTERM)
                await asyncio.gather(*lives)
            self._outcome.effects = await self._found(store)

    async def _live(self, number: int) -> None:
        """Start a process again as often as it kills itself."""
        life = 0
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        while not self._over:
            words = (self._folder, *self._place, number, life)
            # Whatever ends this process ends those that it started.
            prefix = ["setpriv", "--pdeathsig", "KILL", "--"]
            command = [*prefix, sys.executable, "-m", "tests.once.kill_worker", *map(str, words)]
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
            )
            self._processes.add(process)
            if self._over:
                process.send_signal(signal.SIGTERM)
            _, said = await process.communicate()
            self._processes.discard(process)
            if process.returncode == -signal.SIGKILL:
                self._outcome.kills[step_of(number, life)] += 1
                life += 1
                continue
            # Told to end before it could hear of it, as it started.
            if process.returncode not in (0, -signal.SIGTERM if self._over else 0):
                self._outcome.errors.append(f"{number} ended with {process.returncode}: {said.decode()[-2000:]}")
            return

    async def _until_done(self, bus: polybus.Bus, store: object) -> None:
        seen, since = -1, time.monotonic()
        while True:
            stats = await bus.stats(QUEUE)
            left = (stats.waiting or 0) + (stats.leased or 0) + (stats.delayed or 0)
            if left != seen:
                seen, since = left, time.monotonic()
            self._outcome.left, self._outcome.dead = left, stats.dead or 0
            if not left or self._outcome.errors or time.monotonic() - since > STUCK_AFTER:
                return
            await asyncio.sleep(0.2)

    async def _found(self, store: object) -> Counter[str]:
        if isinstance(store, SqlStore):
            rows = await store._do(lambda connection: connection.execute(sa.select(effects)).all())
            return Counter(row.number for row in rows)
        return Counter((self._folder / "effects").read_text().split())


async def kill(folder: Path, place: tuple[str, str], *, messages: int) -> Outcome:
    """Run it once, in a new folder, on an empty store."""
    outcome = Outcome(place[0], messages)
    began = time.monotonic()
    await _Run(folder, place, outcome).run()
    outcome.seconds = time.monotonic() - began
    return outcome
