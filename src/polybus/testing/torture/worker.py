"""One publisher or consumer process of a run, which may be killed or stopped at any point.

python -m polybus.testing.torture.worker publish|consume FOLDER NAME SEED RATE
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import polybus
from polybus.bus.bus import Bus
from polybus.bus.delivery import Delivery
from polybus.clock import Clock
from polybus.errors import BackendError, LeaseLost, PublishFailed
from polybus.testing.torture.conduct import Conduct, choose, fail, work, work_in_thread
from polybus.testing.torture.ledger import Ledger
from polybus.testing.torture.scene import FEEDS, GRACE, ORDERED, PUBLISH_DEADLINE
from polybus.testing.torture.steps import StepFile, SteppingClock

__all__ = ["main"]

# Of a publisher: calls under way at once, and keys that it publishes to.
_CALLERS = 6
_KEYS = 4
# Of the queue `flaky`: one in this many messages always fails.
_POISON = 10


class _Publisher:
    def __init__(self, bus: Bus, ledger: Ledger, who: str, chance: random.Random, rate: float) -> None:
        self._bus = bus
        self._ledger = ledger
        self._who = who
        self._chance = chance
        self._pause = _CALLERS / rate
        self._numbers = itertools.count()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)
        self._ledger.note("ready")
        async with asyncio.TaskGroup() as callers:
            for _ in range(_CALLERS):
                callers.create_task(self._call_on())

    def _stop(self) -> None:
        self._ledger.note("draining")
        self._stopping.set()

    async def _call_on(self) -> None:
        while not self._stopping.is_set():
            if self._chance.random() < 0.1:
                await self._publish_many()
            else:
                await self._publish()
            await asyncio.sleep(self._chance.expovariate(1 / self._pause))

    def _message(self, target: str) -> tuple[str, polybus.Message]:
        """Make a message and note the call: the next thing that happens is the call itself, on the same turn."""
        number = next(self._numbers)
        uid = f"{self._who}:{number}"
        parity = self._chance.choice(("even", "odd"))
        poison = target == "flaky" and number % _POISON == 0
        key = f"{self._who}-k{self._chance.randrange(_KEYS)}" if target in ORDERED else None
        attributes = {"parity": parity, "poison": "yes" if poison else ""}
        self._ledger.note("call", uid, target, key, number, parity, poison)
        return uid, polybus.Message(uid.encode(), attributes, key)

    async def _publish(self) -> None:
        target = self._chance.choice(tuple(FEEDS))
        uid, message = self._message(target)
        try:
            await self._bus.publish(target, message)
        except PublishFailed as failed:
            self._failed(target, uid, message, failed.faults[0])
        else:
            self._ledger.note("sent", uid)

    async def _publish_many(self) -> None:
        target = self._chance.choice(tuple(FEEDS))
        made = [self._message(target) for _ in range(self._chance.randint(2, 20))]
        outcomes = await self._bus.publish_many(target, [message for _, message in made], outcomes=True)
        for (uid, message), outcome in zip(made, outcomes, strict=True):
            if isinstance(outcome, polybus.Fault):
                self._failed(target, uid, message, outcome)
            else:
                self._ledger.note("sent", uid)

    def _failed(self, target: str, uid: str, message: polybus.Message, fault: polybus.Fault) -> None:
        self._ledger.note("failed", uid, fault.kind.value, fault.detail[:300])
        if message.ordering_key is not None:
            self._bus.resume(target, message.ordering_key)


class _Handlers:
    def __init__(self, ledger: Ledger, seed: int, clock: Clock) -> None:
        self._ledger = ledger
        self._seed = seed
        self._clock = clock

    def _begin(self, delivery: Delivery) -> tuple[str, str, int]:
        at = (delivery.source, delivery.body.decode(), delivery.attempt)
        left = delivery.lease_until - self._clock.monotonic()
        self._ledger.note("start", *at, delivery.redelivered, round(left, 3))
        return at

    async def handle(self, delivery: Delivery) -> None:
        """Do what the conduct says, on the event loop."""
        at = self._begin(delivery)
        conduct, chance = choose(self._seed, delivery, blocking=False)
        if conduct is Conduct.BLOCKS:
            self._ledger.note("blocks", *at)
        try:
            await work(conduct, chance)
        except asyncio.CancelledError:
            self._ledger.note("cut", *at)
            raise
        if conduct is Conduct.ACKS:
            await self._ack(delivery, at)
        elif conduct is Conduct.NACKS:
            self._ledger.note("fails", *at, conduct)
            await delivery.nack(delay=0.3)
        else:
            self._end(conduct, at)

    async def _ack(self, delivery: Delivery, at: tuple[str, str, int]) -> None:
        self._ledger.note("acking", *at)  # from here on it may be done, whether or not this process lives to tell
        try:
            await delivery.ack()
        except LeaseLost:
            self._ledger.note("lost", *at)
            raise
        except BackendError as error:
            self._ledger.note("refused", *at, str(error)[:300])
            raise
        self._ledger.note("acked", *at)

    def _end(self, conduct: Conduct, at: tuple[str, str, int]) -> None:
        if conduct in (Conduct.RAISES, Conduct.GROUPS, Conduct.CANCELS, Conduct.PANICS, Conduct.RETRIES):
            self._ledger.note("fails", *at, conduct)
            fail(conduct)
        self._ledger.note("done", *at)

    def handle_in_thread(self, delivery: Delivery) -> None:
        """Do what the conduct says, in a thread."""
        at = self._begin(delivery)
        conduct, chance = choose(self._seed, delivery, blocking=True)
        work_in_thread(conduct, chance)
        self._end(conduct, at)

    async def handle_flaky(self, delivery: Delivery) -> None:
        """Fail where the message is poison, always; else return."""
        at = self._begin(delivery)
        await asyncio.sleep(0.005)
        if delivery.attributes["poison"]:
            self._ledger.note("fails", *at, "poison")
            raise ValueError("poison")
        self._ledger.note("done", *at)


async def _publish(folder: Path, who: str, seed: int, rate: float, clock: Clock) -> None:
    ledger = Ledger(folder / "ledger", who)
    chance = random.Random(f"{seed} {who}")  # noqa: S311 - a plan, not a secret
    options = polybus.PublisherOptions(deadline=PUBLISH_DEADLINE, max_outstanding=32)
    async with polybus.connect(folder / "binding.json", clock=clock, publisher=options) as bus:
        await _Publisher(bus, ledger, who, chance, rate).run()
    ledger.note("ended")


async def _consume(folder: Path, who: str, seed: int, clock: Clock) -> None:
    ledger = Ledger(folder / "ledger", who)
    handlers = _Handlers(ledger, seed, clock)
    app = polybus.App(source=folder / "binding.json", clock=clock)
    for source in ("audit", "even", "strict", "serial"):
        app.handler(source, concurrency=8, grace=GRACE)(handlers.handle)
    app.handler("jobs", concurrency=4, grace=GRACE)(handlers.handle_in_thread)
    app.handler("flaky", concurrency=4, grace=GRACE)(handlers.handle_flaky)

    @app.lifespan
    async def lifespan(app: polybus.App) -> AsyncIterator[None]:
        ledger.note("ready")
        yield

    await app.run(grace=GRACE)
    ledger.note("ended")


def main(role: str, folder: str, who: str, seed: str, rate: str) -> None:
    """Run one process until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    place = Path(folder)
    clock = SteppingClock(StepFile(place / f"step-{who}"))
    if role == "publish":
        asyncio.run(_publish(place, who, int(seed), float(rate), clock))
    else:
        asyncio.run(_consume(place, who, int(seed), clock))


if __name__ == "__main__":
    main(*sys.argv[1:])
