"""The bus over memory and over SQLite agree with a small model, for any order of what can happen to a message."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from polybus.bus.delivery import Delivery
from polybus.errors import Fault, FaultKind, LeaseLost
from polybus.testing.environment import Environment
from polybus.testing.faults import Operation
from polybus.testing.listener import Listener
from polybus.testing.rigs import MemoryRig, SqliteRig
from polybus.testing.topology import LEASE, MAX_ATTEMPTS

# What is consumed, what is published to, and whether it keeps order.
SOURCES = {"tasks": ("tasks", False), "serial": ("serial", True), "audit": ("events", False)}
KEYS = ("a", "b")
STEPS = 15


@dataclass
class Entry:
    """What the model knows of a message: who has it, and until when nobody may."""

    number: int
    source: str
    key: str | None
    held: bool = False
    due: float = 0.0
    tries: int = 0  # deliveries that the test has seen


@dataclass
class Model:
    """The contract in as few words as it takes: what may be delivered, and what is over."""

    now: float = 0.0
    live: list[Entry] = field(default_factory=list)  # in order, within each key
    letters: dict[int, Entry] = field(default_factory=dict)
    acked: set[int] = field(default_factory=set)

    def deliverable(self, source: str) -> list[Entry]:
        ready = []
        blocked: set[str] = set()
        for entry in self.live:
            if entry.source != source or entry.key in blocked:
                continue
            if entry.key is not None:
                blocked.add(entry.key)
            if not entry.held and entry.due <= self.now:
                ready.append(entry)
        return ready

    @property
    def held(self) -> list[Entry]:
        return [entry for entry in self.live if entry.held]

    def give_back(self, source: str) -> None:
        """A drain, or lost leases: what is held is free at once, and so is what a key's consumer held back."""
        for entry in self.live:
            if entry.source == source:
                entry.held = False
                if entry.key is not None:
                    entry.due = 0.0


class World:
    """One backend under the model's orders."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.ids: dict[int, str] = {}
        self.held: dict[int, Delivery] = {}
        self.listeners: dict[str, Listener] = {}

    async def open(self) -> None:
        await self.env.__aenter__()
        for source in SOURCES:
            await self.listen(source)

    async def close(self) -> None:
        for source in SOURCES:
            await self.drain(source)
        await self.env.__aexit__()

    async def listen(self, source: str) -> None:
        self.listeners[source] = await self.env.listen(source, prefetch=200, max_lease=43_200.0).__aenter__()

    async def drain(self, source: str) -> None:
        listener = self.listeners.pop(source)
        listener.seen.clear()  # or it would ack what the model has not asked for
        await listener.close()

    async def publish(self, entry: Entry) -> None:
        target = SOURCES[entry.source][0]
        body = b"%d" % entry.number
        self.ids[entry.number] = await self.env.bus.publish(target, body, ordering_key=entry.key)

    async def deliver(self, entry: Entry) -> int:
        delivery = await self.listeners[entry.source].get(self.ids[entry.number])
        assert delivery.body == b"%d" % entry.number
        # An ordered message is retried in place, which no drain or loss of a lease tells the backend of.
        assert delivery.attempt > entry.tries or entry.key is not None
        assert delivery.redelivered or entry.tries == 0
        self.held[entry.number] = delivery
        return delivery.attempt

    async def settle(self, entry: Entry, how: Callable[[Delivery], Awaitable[None]]) -> None:
        delivery = self.held.pop(entry.number)
        await how(delivery)
        await delivery.ack()  # settling again does nothing (D3)

    async def expire(self) -> None:
        """Let no lease be extended until all are over."""
        self.env.faults.fail(Operation.EXTEND, Fault(FaultKind.UNAVAILABLE, "not now"), times=100_000)
        for _ in range(STEPS):  # so that what comes again has most of its lease
            await self.env.advance(LEASE / STEPS + 1)
        for delivery in self.held.values():
            with pytest.raises(LeaseLost):
                await delivery.ack()
        self.held.clear()
        now = self.env.clock.monotonic()
        for listener in self.listeners.values():
            listener.seen[:] = [delivery for delivery in listener.seen if delivery.lease_until > now]
        self.env.faults.heal()
        for _ in range(STEPS):  # what came since is extended again, at its next retry
            await self.env.advance(4)
            await asyncio.sleep(0.001)

    def arrived(self, source: str) -> set[int]:
        """The messages that came from a source and were not handed to the model yet."""
        listener = self.listeners[source]
        claimed = set(self.held.values())
        return {
            int(delivery.body)
            for delivery in listener.seen
            if not delivery.lost and not delivery.settled and delivery not in claimed
        }

    async def letters(self) -> set[int]:
        found: set[int] = set()
        for source in SOURCES:
            found |= {int(letter.message.body) async for letter in self.env.bus.dead_letters(source).peek(10_000)}
        return found


class BusMachine(RuleBasedStateMachine):
    """Does the same to both backends, and holds both against the model."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.worlds: list[World] = []
        self.numbers = 0

    def all(self, act: Callable[[World], Awaitable[Any]]) -> list[Any]:
        async def run() -> list[Any]:
            return [await act(world) for world in self.worlds]

        return self.runner.run(run())

    @initialize()
    def start(self) -> None:
        self.worlds = [World(self.runner.run(_made(rig))) for rig in (MemoryRig, SqliteRig)]
        self.all(World.open)

    def teardown(self) -> None:
        with contextlib.closing(self.runner):
            if self.worlds:
                try:
                    self._finish()
                finally:
                    self.all(World.close)

    def _finish(self) -> None:
        """Ack all that is left: nothing was lost, nothing that is over comes again."""
        for source in SOURCES:
            self.all(lambda world, source=source: world.drain(source))
            self.all(lambda world, source=source: world.listen(source))
            self.model.give_back(source)
        for world in self.worlds:
            world.held.clear()
        self._pass_time(650)  # the longest delay
        while left := [entry for source in SOURCES for entry in self.model.deliverable(source)]:
            for entry in left:
                self._deliver(entry)
                self.settle(entry, "ack")
        assert self.model.live == []
        assert self.all(World.letters) == [set(self.model.letters)] * 2

    # What can happen -------------------------------------------------------------------------------------------------

    @rule(source=st.sampled_from(list(SOURCES)), key=st.sampled_from(KEYS))
    def publish(self, source: str, key: str) -> None:
        self.numbers += 1
        entry = Entry(self.numbers, source, key if SOURCES[source][1] else None)
        self.model.live.append(entry)
        self.all(lambda world: world.publish(entry))

    @precondition(lambda self: any(self.model.deliverable(source) for source in SOURCES))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        ready = [entry for source in SOURCES for entry in self.model.deliverable(source)]
        self._deliver(ready[data.draw(st.integers(0, len(ready) - 1))])

    def _deliver(self, entry: Entry) -> None:
        attempts = self.all(lambda world: world.deliver(entry))
        entry.held, entry.tries = True, min(attempts)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data(), how=st.sampled_from(["ack", "nack", "nack later", "dead-letter"]))
    def settle_one(self, data: st.DataObject, how: str) -> None:
        held = self.model.held
        self.settle(held[data.draw(st.integers(0, len(held) - 1))], how)

    def settle(self, entry: Entry, how: str) -> None:
        entry.held = False
        last = {world.held[entry.number].attempt >= MAX_ATTEMPTS for world in self.worlds}
        if how.startswith("nack"):
            if len(last) > 1:
                how = "ack"  # the backends counted prefetched deliveries differently, as they may
            elif last == {True}:
                self.model.letters[entry.number] = entry
                self.model.live.remove(entry)
        if how == "ack":
            self.model.live.remove(entry)
            self.model.acked.add(entry.number)
            self.all(lambda world: world.settle(entry, lambda delivery: delivery.ack()))
        elif how == "nack":
            self.all(lambda world: world.settle(entry, lambda delivery: delivery.nack(delay=0)))
        elif how == "nack later":
            entry.due = self.model.now + 100
            self.all(lambda world: world.settle(entry, lambda delivery: delivery.nack(delay=100)))
        else:
            self.model.letters[entry.number] = entry
            self.model.live.remove(entry)
            self.all(lambda world: world.settle(entry, lambda delivery: delivery.dead_letter("Buried")))

    @rule(seconds=st.sampled_from([60, 200, 700]))
    def extend(self, seconds: int) -> None:
        """Time passes, and leases are extended all the while."""
        self._pass_time(seconds)

    def _pass_time(self, seconds: float) -> None:
        self.all(lambda world: world.env.keep(seconds, world.env.faults, LEASE))
        self.model.now += seconds

    @rule()
    def expire(self) -> None:
        """Time passes, and no lease is extended."""
        self.all(World.expire)
        self.model.now += LEASE + STEPS + 4 * STEPS
        for source in SOURCES:
            self.model.give_back(source)

    @rule(source=st.sampled_from(list(SOURCES)))
    def drain(self, source: str) -> None:
        self.all(lambda world: world.drain(source))
        self.model.give_back(source)
        gone = [entry.number for entry in self.model.live if entry.source == source]
        for world in self.worlds:
            world.held = {number: held for number, held in world.held.items() if number not in gone}
        self.all(lambda world: world.listen(source))

    @precondition(lambda self: self.model.letters)
    @rule(source=st.sampled_from(list(SOURCES)))
    def redrive(self, source: str) -> None:
        back = [entry for entry in self.model.letters.values() if entry.source == source]
        moved = self.all(lambda world: world.env.hasten(world.env.bus.dead_letters(source).redrive()))
        assert moved == [len(back)] * 2
        for entry in back:
            del self.model.letters[entry.number]
            entry.due, entry.tries = 0.0, 0
            self.model.live.append(entry)  # behind what is there: out of its order, and it says so

    # What always holds -----------------------------------------------------------------------------------------------

    @invariant()
    def nothing_comes_that_should_not(self) -> None:
        for world in self.worlds:
            for source in SOURCES:
                allowed = {entry.number for entry in self.model.deliverable(source)}
                assert world.arrived(source) <= allowed, (
                    f"{source} on {world.env.rig.name}: {world.arrived(source)} <= {allowed}"
                )

    @invariant()
    def dead_letters_are_the_same(self) -> None:
        if self.worlds:
            assert self.all(World.letters) == [set(self.model.letters)] * 2


async def _made(rig: Callable[[], Any]) -> Environment:
    return Environment(rig())


# 8 with the suite, 400 with `make soak`: each is two buses, whose time is let pass in real steps.
SCALE = float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02"))

TestBusModel = BusMachine.TestCase
TestBusModel.settings = settings(
    max_examples=round(400 * SCALE),
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
