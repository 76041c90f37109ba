"""A process of the kill test: it submits, or relays, until it kills itself at the step that its life is to end at.

    python kill_worker.py submit|relay FOLDER NUMBER LIFE

The step and when are by chance, from the seed, the role, the number and the life.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg

import polybus
from polybus.binding import Binding, Entity, Kind
from polybus.outbox import Outbox, Relay
from polybus.outbox.opening import open_store

QUEUE = "work"
KEYS = 8
STEPS = {
    "submit": ("begun", "published", "noted", "committed"),
    "relay": ("claimed", "sent", "settled", "committed", "moved"),
}


def binding(folder: Path) -> Binding:
    # More attempts than there are kills.
    queue = Entity(
        kind=Kind.QUEUE, name=QUEUE, address=QUEUE, dead_letter=f"{QUEUE}-dead", ordered=True, max_attempts=1_000
    )
    return Binding(backend="sqlite", bus="kills", settings={"path": str(folder / "bus.db")}, queues={QUEUE: queue})


class Life:
    """Ends the process at one kind of step, the so-manieth time that it comes there."""

    def __init__(self, role: str, number: int, life: int, plan: dict[str, Any]) -> None:
        self.chance = random.Random(f"{plan['seed']} {role} {number} {life}")
        steps = STEPS[role]
        self._step = steps[(life + number) % len(steps)]
        self._left = self.chance.randint(1, plan["life"][role])

    def at(self, step: str) -> None:
        if step != self._step:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def connect(plan: dict[str, Any]) -> Any:
    if plan["dialect"] == "postgresql":
        return psycopg.connect(plan["conninfo"])
    connection = sqlite3.connect(plan["conninfo"], timeout=120)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


def submit(folder: Path, number: int, life: Life, plan: dict[str, Any]) -> None:
    """Commit transactions until there are as many as are asked for; some are rolled back, and don't count."""
    outbox = Outbox(binding(folder))
    mark = "%s" if plan["dialect"] == "postgresql" else "?"
    chance = life.chance
    with contextlib.closing(connect(plan)) as database:
        while True:
            counted = database.execute(f"SELECT count(*) FROM orders WHERE submitter = {mark}", (number,))
            if counted.fetchone()[0] >= plan["transactions"]:
                return
            database.commit()
            if plan["dialect"] == "sqlite":
                database.execute("BEGIN IMMEDIATE")
            life.at("begun")
            key, undone, later = f"key{chance.randrange(KEYS)}", chance.random() < 0.2, chance.random() < 0.2
            body = "undone" if undone else "later" if later else "now"
            if later:
                id = outbox.schedule_sync(database, QUEUE, body, in_=chance.random(), ordering_key=f"{key}-later")
            else:
                id = outbox.publish_sync(database, QUEUE, body, ordering_key=key)
            life.at("published")
            # After the publish: the numbers of a key's orders are in the order of its commits.
            values = (id, key, number, body)
            database.execute(
                f"INSERT INTO orders (id, key, submitter, body) VALUES ({mark}, {mark}, {mark}, {mark})", values
            )
            life.at("noted")
            if undone:
                database.rollback()
            else:
                database.commit()
                life.at("committed")


class _DyingClaim:
    def __init__(self, claim: Any, life: Life) -> None:
        self.rows = claim.rows
        self._claim = claim
        self._life = life

    async def settle(self, answers: Any, now: float) -> None:
        self._life.at("sent")
        await self._claim.settle(answers, now)
        self._life.at("settled")


class _DyingStore:
    """A store that comes to each step of a relay."""

    def __init__(self, store: Any, life: Life) -> None:
        self._store = store
        self._life = life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextlib.asynccontextmanager
    async def claim(self, *arguments: Any) -> AsyncIterator[Any]:
        async with self._store.claim(*arguments) as claim:
            if claim.rows:
                self._life.at("claimed")
            yield _DyingClaim(claim, self._life)
        if claim.rows:
            self._life.at("committed")

    async def promote(self, *arguments: Any) -> Any:
        promoted = await self._store.promote(*arguments)
        if promoted.moved:
            self._life.at("moved")
        return promoted


async def relay(folder: Path, life: Life, plan: dict[str, Any]) -> None:
    """Send until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with polybus.connect(binding(folder)) as bus:
        sending = Relay(bus, plan["url"])
        sending._store = _DyingStore(open_store(plan["url"]), life)  # type: ignore[assignment]
        async with sending:
            await stop.wait()


def main(role: str, folder: str, number: str, lives: str) -> None:
    plan = json.loads((Path(folder) / "plan.json").read_text())
    life = Life(role, int(number), int(lives), plan)
    if role == "submit":
        submit(Path(folder), int(number), life, plan)
    else:
        asyncio.run(relay(Path(folder), life, plan))


if __name__ == "__main__":
    main(*sys.argv[1:])
