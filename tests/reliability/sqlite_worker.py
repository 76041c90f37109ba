"""One publisher or consumer process of the SQLite soak, which may be killed at any point.

A publisher notes what was accepted, in order, and after a restart goes on from there: what was accepted in its last
moment and not noted it publishes again. A consumer notes what it handles in a file that all consumers append to, so
that the lines of that file are the order in which things happened. The time of day that each process sees is wrong, and
is set again and again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
from pathlib import Path

import polybus
from polybus.binding import Binding, Entity, Kind
from polybus.clock import SystemClock

KEYS = 16
PUBLISHERS = 4
CONSUMERS = 4
QUEUE = "work"

# Short enough that the keys of a killed consumer go on soon, long enough for a busy machine to extend it in time.
LEASE = 5.0


# Seconds by which a clock is wrong: right, an hour off, the wrong month, a board without a battery.
STEPS = (0.0, 3_600.0, -3_600.0, 30 * 86_400.0, -56 * 365 * 86_400.0)


class SteppingClock(SystemClock):
    """The machine's clock, whose time of day is set by chance; what passes is right."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._step = chance.choice(STEPS)

    def time(self) -> float:
        if self._chance.random() < 0.001:
            self._step = self._chance.choice(STEPS)
        return super().time() + self._step


def binding(folder: Path) -> Binding:
    # More attempts than kills: a message must not end among the dead letters for having been at the wrong places.
    queue = Entity(
        kind=Kind.QUEUE,
        name=QUEUE,
        address=QUEUE,
        dead_letter=f"{QUEUE}-dead",
        ordered=True,
        lease=LEASE,
        max_attempts=1_000,
    )
    return Binding(backend="sqlite", bus="soak", settings={"path": str(folder / "bus.db")}, queues={QUEUE: queue})


def keys_of(publisher: int) -> list[str]:
    return [f"key{number}" for number in range(KEYS) if number % PUBLISHERS == publisher]


def ready(folder: Path, pid: int) -> Path:
    """Name the file that tells that a consumer would drain on SIGTERM now."""
    return folder / f"ready-{pid}"


def accepted(path: Path) -> dict[str, int]:
    """Read how many messages of each key were accepted, from whole lines only."""
    counts: dict[str, int] = {}
    if path.exists():
        for line in path.read_text().split("\n")[:-1]:
            key, number = line.split()
            counts[key] = int(number) + 1
    return counts


async def publish(folder: Path, number: int, per_key: int, seed: str, most: int) -> None:
    notes = folder / f"accepted-{number}"
    at = dict.fromkeys(keys_of(number), 0) | accepted(notes)
    chance = random.Random(f"{seed} {number} {sum(at.values())}")
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with polybus.connect(binding(folder), clock=SteppingClock(chance)) as bus:
        while left := [key for key, count in at.items() if count < per_key]:
            chunk: list[tuple[str, int]] = []
            for _ in range(chance.randint(1, most)):
                key = chance.choice(left)
                if at[key] < per_key:
                    chunk.append((key, at[key]))
                    at[key] += 1
            messages = [polybus.Message(str(n).encode(), {}, key, f"{key}-{n}") for key, n in chunk]
            await bus.publish_many(QUEUE, messages)
            await asyncio.sleep(chance.uniform(0, 0.1))  # killed here, it doesn't know what was accepted
            os.write(file, "".join(f"{key} {n}\n" for key, n in chunk).encode())
            await asyncio.sleep(chance.uniform(0, 0.1))


async def consume(folder: Path) -> None:
    file = os.open(folder / "handled", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def handle(delivery: polybus.Delivery) -> None:
        os.write(file, f"{delivery.ordering_key} {delivery.body.decode()} {delivery.attempt}\n".encode())
        await asyncio.sleep(0.001)

    async with polybus.connect(binding(folder), clock=SteppingClock(random.Random(os.getpid()))) as bus:
        consumer = bus.consumer(QUEUE, handle, options=polybus.ConsumerOptions(concurrency=8))
        draining: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: draining.append(loop.create_task(consumer.drain())))
        ready(folder, os.getpid()).touch()
        await consumer.run()


def main(role: str, folder: str, *rest: str) -> None:
    logging.getLogger("polybus").setLevel(logging.ERROR)  # it tells of each step of the clock
    if role == "publish":
        number, per_key, seed, most = rest
        asyncio.run(publish(Path(folder), int(number), int(per_key), seed, int(most)))
    else:
        asyncio.run(consume(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
