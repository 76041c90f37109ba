"""Breakers, pauses, limits, rooms and drains at once, by chance: nothing is lost, and no lease runs out.

A life of the app begins, its world goes down and up, calls of the backend fail, it is paused, resumed, resized, and
drained in the middle of it; then the next begins on the same store. All time is the test's own, so the store is one
that no thread works for: time would pass it by.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from polybus import App, Binding, Bus, Delivery, Retry, connect
from polybus.bus.options import PublisherOptions
from polybus.clock import ManualClock
from polybus.embedded.memory import Store
from polybus.errors import Fault, FaultKind
from polybus.flow import Breaker, PerKey, RateLimit, Room
from polybus.message import Message
from polybus.registry import load
from polybus.telemetry import LeaseLostEvent, NoHooks
from polybus.testing.faults import Operation
from polybus.testing.faulty_driver import FaultyDriver

from .test_flow import make_binding

SOURCES = ("urgent", "jobs", "charges", "plain")
GRACE = 5.0
FAULT = Fault(FaultKind.UNAVAILABLE, "chance")


class _Watch(NoHooks):
    def __init__(self) -> None:
        self.lost: list[str] = []

    def lease_lost(self, event: LeaseLostEvent) -> None:
        self.lost.append(event.message.id)


class _World:
    """What handlers need, which may be down; and what they did."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.down = False
        self.done = Counter[str]()
        self.running = Counter[str]()
        self.reasons = Counter[str]()
        self.most = Counter[str]()

    async def __call__(self, clock: ManualClock, delivery: Delivery) -> None:
        key = f"{delivery.source} {delivery.attributes['key']}"
        names = (key, "room") if delivery.source in ("urgent", "jobs") else (key,)
        self.running.update(names)
        for name in names:
            self.most[name] = max(self.most[name], self.running[name])
        try:
            await clock.sleep(self.chance.choice([0.0, 0.1, 0.5, 3.0]))
            if self.down:
                raise ConnectionError("the world is down")
            if self.chance.random() < 0.05:
                raise Retry(after=1)
        finally:
            self.running.subtract(names)
        self.done[delivery.id] += 1

    def app(self, clock: ManualClock) -> App:
        app, room = App(), Room(3)

        async def handle(delivery: Delivery) -> None:
            await self(clock, delivery)

        common: dict[str, Any] = {"grace": GRACE, "breaker": Breaker(failures=3, of=5, pause=10)}
        by_key = PerKey(1, by="key", waiting=6)
        app.handler("urgent", room=room, priority=1, per_key=by_key, **common)(handle)
        app.handler("jobs", room=room, per_key=by_key, rate_limit=RateLimit(per_second=4), **common)(handle)
        app.handler("charges", concurrency=4, rate_limit=RateLimit(per_second=3, burst=6), **common)(handle)
        app.handler("plain", concurrency=2, prefetch=8, **common)(handle)
        return app


async def _drained(clock: ManualClock, draining: asyncio.Task[None]) -> float:
    """Let time pass until a drain is over; return how many seconds it took."""
    began = clock.monotonic()
    while not draining.done():
        await clock.advance(0.1)
        await asyncio.sleep(0)
    await draining
    return clock.monotonic() - began


async def _life(world: _World, binding: Binding, clock: ManualClock, watch: _Watch, *, steps: int) -> list[str]:
    """Run the app for so many steps, then drain it; return what was published meanwhile."""
    chance, sent = world.chance, list[str]()
    driver = FaultyDriver(load(binding.backend)(binding, clock), clock)
    app, options = world.app(clock), PublisherOptions(linger=0.0)
    outside = connect(binding, clock=clock, publisher=options)
    async with (
        outside,
        connect(binding, driver=driver, clock=clock, hooks=[watch]) as bus,
        app.running(bus=bus) as session,
    ):
        for _ in range(steps):
            at = chance.randrange(len(SOURCES))
            match chance.randrange(8):
                case 0:
                    app.consumers[at].pause("chance")
                case 1:
                    session.set_concurrency(at, chance.randrange(1, 6))
                case 2:
                    world.down = not world.down
                case 3:
                    driver.faults.cut(chance.choice([Operation.RECEIVE, Operation.SETTLE]), FAULT)
                case _:
                    made = [Message(b"", {"key": chance.choice("abc")}) for _ in range(chance.randrange(6))]
                    sent += await outside.publish_many(SOURCES[at], made)
            if chance.random() < 0.4:
                app.consumers[chance.randrange(len(SOURCES))].resume()
            await clock.advance(chance.choice([0.0, 0.1, 1.0, 4.0]))
            world.reasons.update(str(consumer.not_taking) for consumer in app.consumers)
        if not steps:
            world.down = False
            for _ in range(2_000):
                if not await _left(outside):
                    break
                await clock.advance(1.0)
        took = await _drained(clock, asyncio.ensure_future(session.drain(GRACE)))
        assert took <= GRACE + 10.0
        assert session.in_flight == 0
    return sent


async def _left(bus: Bus) -> int:
    """Count what isn't handled yet, in whatever state."""
    stats = [await bus.stats(source) for source in SOURCES]
    return sum((each.waiting or 0) + (each.leased or 0) + (each.delayed or 0) for each in stats)


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_and_no_lease_runs_out_whatever_holds_it_up(seed: int) -> None:
    chance, clock, watch = random.Random(seed), ManualClock(), _Watch()
    binding = msgspec.structs.replace(make_binding(*SOURCES), settings={"store": Store()})
    many = {
        name: msgspec.structs.replace(
            queue, max_attempts=1_000, backoff=msgspec.structs.replace(queue.backoff, maximum=5.0)
        )
        for name, queue in binding.queues.items()
    }
    binding = msgspec.structs.replace(binding, queues=many)
    world, sent = _World(chance), list[str]()
    for _ in range(3):
        sent += await _life(world, binding, clock, watch, steps=60)
    await _life(world, binding, clock, watch, steps=0)
    assert set(world.done) == set(sent)
    assert watch.lost == []
    assert max(most for name, most in world.most.items() if name.startswith(("urgent ", "jobs "))) == 1
    assert {"breaker", "pause"} <= set(world.reasons), world.reasons
