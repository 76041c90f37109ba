"""Submitters and relays that are killed at every step, and what must hold then.

    python -m tests.outbox.kills [--database sqlite|postgresql] [--transactions 10000] [--seed 7]

prints what was seen; the exit code is 0 where all held.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from kill_worker import QUEUE, binding
from places import Database, postgresql_database, sqlite_database

import polybus
from databases import Postgresql, started

TRANSACTIONS = 10_000
SUBMITTERS = 2
RELAYS = 2
STUCK_AFTER = 120.0
"""Seconds without anything received after which a run is given up: far more than restarts and load take."""


@dataclass
class Outcome:
    """What a run showed."""

    dialect: str
    transactions: int
    seed: int
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    arrivals: int = 0
    lost: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)
    overtaken: list[str] = field(default_factory=list)
    left: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.lost or self.unasked or self.overtaken or self.left or self.errors)

    def __str__(self) -> str:
        again = self.arrivals - self.transactions - len(self.unasked) + len(self.lost)
        return (
            f"{self.dialect}: {self.transactions} transactions, seed {self.seed}, {self.seconds:.0f} s, "
            f"{self.kills['submit']} submitters and {self.kills['relay']} relays killed: {len(self.lost)} lost, "
            f"{len(self.unasked)} without a commit, {len(self.overtaken)} keys out of order, {self.left} left in the "
            f"outbox, {again} sent again{''.join(f'; {error}' for error in self.errors)}"
        )


class _Run:
    def __init__(self, folder: Path, database: Database, outcome: Outcome) -> None:
        self._folder = folder
        self._database = database
        self._outcome = outcome
        self._over = False
        self._arrived: list[tuple[str, str]] = []
        self._processes: set[asyncio.subprocess.Process] = set()

    async def run(self) -> None:
        plan = {
            "seed": self._outcome.seed,
            "dialect": self._database.dialect,
            "url": self._database.url,
            "conninfo": self._database.conninfo,
            "transactions": self._outcome.transactions // SUBMITTERS,
            # A submitter dies some ten times, a relay each few claims.
            "life": {"submit": max(self._outcome.transactions // SUBMITTERS // 5, 40), "relay": 10},
        }
        (self._folder / "plan.json").write_text(json.dumps(plan))
        async with polybus.connect(binding(self._folder)) as bus:
            receiving = asyncio.create_task(self._receive(bus))
            relays = [asyncio.create_task(self._live("relay", number)) for number in range(RELAYS)]
            try:
                await asyncio.gather(*(self._live("submit", number) for number in range(SUBMITTERS)))
                await self._until_all_arrived(receiving)
            finally:
                self._over = True
                for process in self._processes:
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGTERM)
                await asyncio.wait(relays)
                receiving.cancel()
                await asyncio.wait([receiving])

    async def _live(self, role: str, number: int) -> None:
        """Start a process again as often as it kills itself."""
        life = 0
        while not self._over:
            command = [
                sys.executable,
                str(Path(__file__).with_name("kill_worker.py")),
                role,
                str(self._folder),
                str(number),
                str(life),
            ]
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
            self._processes.add(process)
            if self._over:
                process.send_signal(signal.SIGTERM)
            _, said = await process.communicate()
            self._processes.discard(process)
            if process.returncode == -signal.SIGKILL:
                self._outcome.kills[role] += 1
                life += 1
                continue
            # Told to end before it could hear of it, as it started.
            if process.returncode not in (0, -signal.SIGTERM if self._over else 0):
                self._outcome.errors.append(f"{role} {number} ended with {process.returncode}: {said.decode()[-2000:]}")
            return

    async def _receive(self, bus: polybus.Bus) -> None:
        async with bus.consume(QUEUE, concurrency=64) as deliveries:
            async for delivery in deliveries:
                self._arrived.append((delivery.id, delivery.ordering_key or ""))
                await delivery.ack()

    async def _until_all_arrived(self, receiving: asyncio.Task[None]) -> None:
        expected = {id for id, _, _ in self._orders()}
        seen, since = 0, time.monotonic()
        while True:
            if len(self._arrived) > seen:
                seen, since = len(self._arrived), time.monotonic()
            there = {id for id, _ in self._arrived}
            waiting = len(self._database.rows()) + len(self._database.rows("polybus_outbox_later"))
            if (expected <= there and not waiting) or time.monotonic() - since > STUCK_AFTER or receiving.done():
                break
            await asyncio.sleep(0.2)
        self._judge(expected, there, waiting)

    def _judge(self, expected: set[str], there: set[str], waiting: int) -> None:
        outcome = self._outcome
        outcome.arrivals = len(self._arrived)
        outcome.left = waiting
        outcome.lost = sorted(expected - there)
        outcome.unasked = sorted(there - expected)
        first: dict[str, list[str]] = {}
        for id, key in dict.fromkeys(self._arrived):
            first.setdefault(key, []).append(id)
        committed: dict[str, list[str]] = {}
        for id, key, body in self._orders():
            if body == "now":
                committed.setdefault(key, []).append(id)
        outcome.overtaken = [key for key, ids in committed.items() if first.get(key) != ids and not outcome.lost]

    def _orders(self) -> list[tuple[str, str, str]]:
        with contextlib.closing(self._database.connect()) as connection:
            return connection.execute("SELECT id, key, body FROM orders ORDER BY number").fetchall()  # type: ignore[no-any-return]


async def kill(folder: Path, database: Database, *, transactions: int, seed: int) -> Outcome:
    """Run it once in a new folder, on a new database."""
    number = "integer PRIMARY KEY" if database.dialect == "sqlite" else "bigserial PRIMARY KEY"
    with contextlib.closing(database.connect()) as connection:
        connection.execute("DROP TABLE orders")
        connection.execute(f"CREATE TABLE orders (number {number}, id text, key text, submitter integer, body text)")
        connection.commit()
    outcome = Outcome(database.dialect, transactions // SUBMITTERS * SUBMITTERS, seed)
    began = time.monotonic()
    await _Run(folder, database, outcome).run()
    outcome.seconds = time.monotonic() - began
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--transactions", type=int, default=TRANSACTIONS)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polybus-kills-")))
        if given.database == "sqlite":
            database = sqlite_database(folder)
        else:
            server: Postgresql = stack.enter_context(started())
            database = postgresql_database(server)
        outcome = asyncio.run(kill(folder, database, transactions=given.transactions, seed=given.seed))
    print(outcome)
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
