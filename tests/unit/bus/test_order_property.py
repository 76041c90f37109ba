"""Whatever is called, cancelled, refused, held up and resumed in whatever order: nothing overtakes (contract, P6)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bent import DENIED, DOWN, Publish, Refused, bend
from hypothesis import given, settings
from hypothesis import strategies as st

import polybus
from polybus.driver import BatchLimits, Prepared
from polybus.errors import Fault, FaultKind
from polybus.message import Sent
from polybus.telemetry import NoHooks, Publishing

KEYS = ("a", "b", None)
LIMITS = st.builds(
    BatchLimits,
    count=st.integers(1, 5),
    total_bytes=st.just(1_000_000),
    mixes_keys=st.booleans(),
    repeats_key=st.booleans(),
)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(KEYS)),
        st.tuples(st.just("refused"), st.sampled_from(KEYS)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("resume"), st.sampled_from(KEYS)),
        st.tuples(st.just("turns"), st.integers(1, 4)),
        st.tuples(st.just("pass"), st.sampled_from([0.01, 0.3, 3.0, 11.0])),
    ),
    min_size=5,
    max_size=40,
)


class World:
    """A bus on a driver that fails at random, and what was seen of both: `log` has what happened, in order."""

    def __init__(self, seed: int, limits: BatchLimits, max_outstanding: int) -> None:
        self.clock = polybus.ManualClock()
        room = {"max_outstanding": max_outstanding, "max_outstanding_bytes": 500}
        self.bus, driver = bend(self.clock, deadline=10.0, batches_in_flight=2, **room)
        self.random = random.Random(seed)
        self.log: list[tuple[str, int, str | None]] = []
        self.accepted: dict[str | None, list[int]] = {key: [] for key in KEYS}
        self.told: Counter[int] = Counter()
        self.tasks: list[asyncio.Task[str]] = []
        driver.limits, driver.calls, driver.opens = limits, self._call, self._open
        self.bus._connection.hooks = self._listener()

    def _listener(self) -> NoHooks:
        world = self

        class Listens(NoHooks):
            def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
                number, key = int(event.message.attributes["n"]), event.message.attributes.get("key")

                def done(outcome: Sent | Fault) -> None:
                    world.told[number] += 1
                    if isinstance(outcome, Fault):
                        world.log.append((outcome.kind.value, number, key))

                return done

        return Listens()

    async def _open(self) -> None:
        for _ in range(self.random.randrange(5)):
            await asyncio.sleep(0)
        if self.random.random() < 0.3:
            raise Refused(self.random.choice([DOWN, DENIED]))

    async def _call(self, batch: Sequence[Prepared[Any]], publish: Publish) -> Sequence[Any]:
        for _ in range(self.random.choice([0, 1, 3, 10, 30])):
            await asyncio.sleep(0)
        chance = self.random.random()
        if chance < 0.05:
            await asyncio.Event().wait()
        if chance < 0.3:
            raise Refused(self.random.choice([DOWN, DENIED, Fault(FaultKind.INVALID, "the whole")]))
        # As where a batch is sent in order, or holds one of a key: what follows a failure of its key fails with it.
        outcomes: list[Any] = []
        failed: dict[str | None, Fault] = {}
        for each in batch:
            message = each.outgoing.message
            fault = failed.get(message.ordering_key)
            if fault is not None:
                fault = self.random.choice([fault, DOWN])
            elif self.random.random() < 0.2:
                fault = failed[message.ordering_key] = self.random.choice([DOWN, DENIED])
            if fault is None:
                self.accepted[message.attributes.get("key")].append(int(message.attributes["n"]))
            outcomes.append(fault or Sent(message.id))
        return outcomes

    def publish(self, key: str | None, body: bytes) -> None:
        number = len(self.tasks)
        attributes = {"n": str(number), **({"key": key} if key else {})}
        self.log.append(("call", number, key))
        call = self.bus.publish("serial", body, attributes=attributes, ordering_key=key)
        self.tasks.append(asyncio.create_task(call))

    async def act(self, act: str, value: Any) -> None:
        match act:
            case "publish":
                self.publish(value, b"x" * self.random.choice([0, 0, 200, 400]))
                await asyncio.sleep(0)  # the call is made
            case "refused":
                self.publish(value, b"x" * 11_000_000)
                await asyncio.sleep(0)
            case "cancel" if value < len(self.tasks):
                self.tasks[value].cancel()
            case "resume":
                self.bus.resume("serial", value)
                for key in KEYS[:2] if value is None else (value,):
                    self.log.append(("resume", -1, key))
            case "turns":
                for _ in range(value):
                    await asyncio.sleep(0)
            case "pass":
                await self.clock.advance(value)

    def check(self) -> None:
        assert set(self.told.values()) <= {1}, "an outcome was told twice"
        assert set(self.told) == set(range(len(self.tasks))), "an outcome was never told"
        for key in KEYS[:2]:
            found = self.accepted[key]
            assert found == sorted(set(found)), f"overtaken: {found}"
            self._check_blocked(key)

    def _check_blocked(self, key: str | None) -> None:
        """After a failure, nothing passes that was called before the key was resumed."""
        held: int | None = None
        passing = set(self.accepted[key])
        for event, number, of in self.log:
            if of != key:
                continue
            if event == "resume":
                held = None
            elif event == "call":
                assert held is None or number not in passing, f"{number} passed {held}, which had failed"
            elif event not in ("key_blocked", "cancelled"):
                held = number if held is None else held
                later = [each for each in passing if each > number and self._called_before(each, event, number)]
                assert not later, f"{later} passed {number}, which failed with {event}"

    def _called_before(self, number: int, event: str, failed: int) -> bool:
        order = [(kind, each) for kind, each, _ in self.log]
        return order.index(("call", number)) < order.index((event, failed))


async def live(acts: list[tuple[str, Any]], limits: BatchLimits, max_outstanding: int, seed: int) -> None:
    world = World(seed, limits, max_outstanding)
    async with world.bus:
        for act, value in acts:
            await world.act(act, value)
        await world.clock.advance(12)
        assert all(task.done() for task in world.tasks), "a publish outlived its deadline"
        for task in world.tasks:
            if not task.cancelled():
                task.exception()
        flow = world.bus._publishers["serial"]._flow if world.tasks else None
        assert flow is None or (flow.count, flow.bytes, bool(flow)) == (0, 0, False)
        closing = asyncio.create_task(world.bus.aclose())
        await world.clock.advance(12)
        await closing
    world.check()


@settings(max_examples=150, deadline=None)
@given(ACTS, LIMITS, st.sampled_from([1, 2, 4, 20]), st.integers(0, 2**32))
def test_nothing_overtakes(acts: list[tuple[str, Any]], limits: BatchLimits, max_outstanding: int, seed: int) -> None:
    asyncio.run(live(acts, limits, max_outstanding, seed))
