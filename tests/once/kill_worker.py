"""A process of the kill test: it handles messages until it kills itself at the step that its life is to end at.

    python -m tests.once.kill_worker FOLDER KIND PLACE NUMBER LIFE

The step goes by turns, and when it is by chance, from the number and the life.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

import polybus
from polybus.binding import Binding, Entity, Kind
from polybus.middleware import Middleware
from polybus.once import Once, SqlStore

from .stores import opened

QUEUE = "work"
STEPS = ("begun", "done", "committed")
LONGEST = 60
"""At how many arrivals at its step a process dies at the latest."""

# Short, so that what a killed process left comes again soon; handlers take milliseconds.
LEASE = 5.0
CLAIM = 10.0

effects = sa.Table("effects", sa.MetaData(), sa.Column("number", sa.String(20)))


def binding(folder: Path) -> Binding:
    # More attempts than there are kills.
    queue = Entity(kind=Kind.QUEUE, name=QUEUE, address=QUEUE, dead_letter="dead", lease=LEASE, max_attempts=1_000)
    return Binding(backend="sqlite", bus="once", settings={"path": str(folder / "bus.db")}, queues={QUEUE: queue})


def step_of(number: int, life: int) -> str:
    """Return where a life ends."""
    return STEPS[(number + life) % len(STEPS)]


class Life(Middleware):
    """Ends the process at its step; the last of them comes after all that `once` does, and before the ack."""

    def __init__(self, number: int, life: int) -> None:
        self._step = step_of(number, life)
        self._left = random.Random(f"{number} {life}").randint(1, LONGEST)

    def at(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def handle(self, delivery: polybus.Delivery, proceed: Callable[[polybus.Delivery], Awaitable[None]]) -> None:
        await proceed(delivery)
        self.at("committed")


def of_body(delivery: polybus.Delivery) -> str:
    return delivery.body.decode()


def fails(body: str, delivery: polybus.Delivery) -> bool:
    """Say whether an attempt ends in a rollback: each fifth message's first."""
    return delivery.attempt == 1 and int(body) % 5 == 0


async def main(folder: Path, kind: str, place: str, number: int, lives: int) -> None:
    life = Life(number, lives)
    app = polybus.App(source=binding(folder), middleware=[life])
    async with opened(kind, place) as store:
        once = Once(store, key=of_body, lease=CLAIM)
        if isinstance(store, SqlStore):

            @app.handler(QUEUE, once=once, concurrency=4)
            async def in_transaction(body: str, tx: AsyncSession, delivery: polybus.Delivery) -> None:
                life.at("begun")
                await tx.execute(sa.insert(effects).values(number=body))
                if fails(body, delivery):
                    raise polybus.Retry(after=0)
                life.at("done")

        else:
            file = os.open(folder / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

            @app.handler(QUEUE, once=once, concurrency=4)
            async def by_claim(body: str, delivery: polybus.Delivery) -> None:
                life.at("begun")
                if fails(body, delivery):
                    raise polybus.Retry(after=0)
                os.write(file, f"{body}\n".encode())
                life.at("done")

        await app.run()


if __name__ == "__main__":
    _, folder, kind, place, number, lives = sys.argv
    asyncio.run(main(Path(folder), kind, place, int(number), int(lives)))
