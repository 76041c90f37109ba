"""Dead letters are each found once, in whatever order and how late they come, and none is held for long (D13)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

import polybus
from polybus.binding import Entity, Kind
from polybus.bus.bus import connection_of
from polybus.bus.resolve import resolve
from polybus.driver import AdminDriver, ConsumerDriver, Driver, Peeked, Received
from polybus.embedded.memory import Store
from polybus.errors import Fault, FaultKind
from polybus.feature import Feature
from polybus.registry import load
from polybus.testing.faults import Operation
from polybus.testing.faulty_driver import FaultyDriver
from polybus.testing.proxy import AdminProxy, ConsumerProxy, DriverProxy
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "looking"\n[queues.jobs]\n', source="polybus.toml")
COUNTED = Feature.NACK_DELAY | Feature.COUNTS  # as SQS
UNCOUNTED = Feature.NACK_DELAY  # as Pub/Sub
HOLDING = Feature.COUNTS | Feature.PEEK  # as Service Bus


class Cloud(DriverProxy):
    """A store as a cloud shows it: what `features` of letters it has, in any order, `late` by so many empty answers."""

    def __init__(
        self, inner: Driver, features: Feature, *, late: int = 0, shuffles: bool = True, takes: float = 0.0
    ) -> None:
        super().__init__(inner)
        self.takes = takes
        self.clock: polybus.ManualClock
        self._features = features
        self.late = late
        self.shuffles = shuffles
        self.waits: list[float] = []
        self.held: set[int] = set()
        self.most = 0
        self.peeks: list[tuple[int, str | None]] = []

    def features(self, entity: Entity) -> Feature:
        return self._features if entity.kind is Kind.DEAD_LETTERS else self.inner.features(entity)

    def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
        return _Consumer(inner, self) if source.kind is Kind.DEAD_LETTERS else inner

    def admin(self, inner: AdminDriver) -> AdminDriver:
        return _Admin(inner, self)


class _Consumer(ConsumerProxy):
    def __init__(self, inner: ConsumerDriver[Any], cloud: Cloud) -> None:
        super().__init__(inner)
        self._cloud = cloud

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        cloud = self._cloud
        cloud.waits.append(wait)
        if cloud.late:
            cloud.late -= 1
            return []
        await cloud.clock.sleep(cloud.takes)
        most = min(count, 10) if cloud.shuffles else count
        found = list(await self.inner.receive_batch(most, wait=0))
        cloud.held |= {id(each) for each in found}
        cloud.most = max(cloud.most, len(cloud.held))
        if cloud.shuffles:
            random.shuffle(found)
        return found

    async def settle_batch(self, settlements: Sequence[Any]) -> Sequence[Fault | None]:
        self._cloud.held -= {id(each.received) for each in settlements}
        return await self.inner.settle_batch(settlements)


class _Admin(AdminProxy):
    def __init__(self, inner: AdminDriver, cloud: Cloud) -> None:
        super().__init__(inner)
        self._cloud = cloud

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        self._cloud.peeks.append((count, after))
        return await self.inner.peek(entity, count, after)


def connect(features: Feature | None = None, **cloud: Any) -> tuple[polybus.Bus, Any, polybus.ManualClock]:
    clock = polybus.ManualClock()
    found, _ = resolve(TOPOLOGY)
    binding = msgspec.structs.replace(found, settings={"store": Store()})
    driver: Any = FaultyDriver(load("memory")(binding, clock), clock)
    if features is not None:
        driver = Cloud(driver, features, **cloud)
        driver.clock = clock
    return polybus.connect(binding, clock=clock, driver=driver), driver, clock


async def bury(bus: polybus.Bus, bodies: Sequence[object]) -> list[str]:
    ids = await bus.publish_many("jobs", bodies)
    async with bus.consume("jobs", concurrency=100) as deliveries:
        for _ in bodies:
            await (await anext(deliveries)).dead_letter("Test")
    return ids


async def letters(bus: polybus.Bus) -> tuple[int | None, int | None]:
    """Return how many letters wait, and how many are leased."""
    entity = bus.binding.queues["jobs"].dead_letters
    stats = await connection_of(bus).call(lambda admin: admin.stats(entity))
    return stats.waiting, stats.leased


@pytest.mark.parametrize("features", [None, COUNTED, UNCOUNTED, HOLDING])
async def test_every_letter_is_looked_at_once_and_few_are_held(features: Feature | None) -> None:
    bus, _, clock = connect(features)
    async with bus:
        ids = await bury(bus, [b"%d" % number for number in range(1_200)])
        asked: list[str] = []

        def choose(message: polybus.Message) -> bool:
            asked.append(message.id)
            return int(message.body) % 400 == 399

        redriving = asyncio.create_task(bus.dead_letters("jobs").redrive(match=choose))
        await clock.settle()
        most = 0
        while not redriving.done():
            most = max([most, *(receiver.in_flight for receiver in bus._connection.receivers)])
            await clock.advance(0.01)
        assert await letters(bus) == (1_197, 0)
        assert await redriving == 3
        assert sorted(asked) == sorted(ids)
        assert most <= (1_200 if features is HOLDING else 600)
        assert (await bus.stats("jobs")).waiting == 3


async def test_one_that_holds_all_ends_where_others_are_in_the_way(caplog: pytest.LogCaptureFixture) -> None:
    bus, _, clock = connect(HOLDING, shuffles=False)
    async with bus:
        await bury(bus, [b"x"] * 8_100)
        redriving = asyncio.create_task(bus.dead_letters("jobs").redrive(match=lambda message: False))
        while not redriving.done():
            await clock.advance(0.01)
        assert await redriving == 0
        assert "there may be others behind them" in caplog.text
        assert await letters(bus) == (8_100, 0)


@pytest.mark.parametrize("features", [COUNTED, UNCOUNTED])
async def test_where_the_oldest_come_first_again_and_again_it_gets_to_the_latest(
    features: Feature, caplog: pytest.LogCaptureFixture
) -> None:
    bus, _, clock = connect(features, shuffles=False, takes=0.05)
    async with bus:
        ids = await bury(bus, [b"%d" % number for number in range(4_000)])
        asked: list[str] = []

        def choose(message: polybus.Message) -> bool:
            asked.append(message.id)
            return False

        redriving = asyncio.create_task(bus.dead_letters("jobs").redrive(match=choose))
        await _until(clock, redriving, 0.05)
        assert await redriving == 0
        assert sorted(asked) == sorted(ids)
        assert await letters(bus) == (4_000, 0)
    assert "there may be others behind them" not in caplog.text


@pytest.mark.parametrize("features", [None, UNCOUNTED])
async def test_cancelled_at_any_moment_it_strands_none(features: Feature | None) -> None:
    bus, _, clock = connect(features)
    async with bus:
        await bury(bus, [b"x"] * 40)
        for turns in range(60):
            redriving = asyncio.create_task(bus.dead_letters("jobs").redrive(match=lambda message: False))
            for _ in range(turns):
                await asyncio.sleep(0)
            redriving.cancel()
            await clock.advance(2)
            assert redriving.cancelled() or redriving.done()
            assert await letters(bus) == (40, 0), f"after {turns} turns"


async def test_cancelled_while_it_puts_back_none_is_lost_or_twice() -> None:
    bus, driver, clock = connect()
    async with bus:
        ids = await bury(bus, [b"x"] * 20)
        gate = driver.faults.hold(Operation.PUBLISH)
        redriving = asyncio.create_task(bus.dead_letters("jobs").redrive())
        await gate.reached.wait()
        redriving.cancel()
        await clock.advance(2)
        assert redriving.cancelled()  # it waits for no answer of the backend
        gate.open()
        await clock.advance(1)
        assert await letters(bus) == (0, 0)
        async with bus.consume("jobs") as deliveries:
            found = []
            for _ in ids:
                found.append(await anext(deliveries))
                await found[-1].ack()
        assert sorted(each.id for each in found) == sorted(ids)


async def test_closing_the_bus_ends_a_redrive_and_gives_back_what_it_holds() -> None:
    bus, driver, clock = connect(UNCOUNTED, late=10**9)
    async with bus:
        await bury(bus, [b"x"] * 20)
        receiving = driver.inner.faults.hold(Operation.RECEIVE)
        driver.late = 0
        redriving = asyncio.create_task(bus.dead_letters("jobs").redrive())
        await receiving.reached.wait()
        closing = asyncio.create_task(bus.aclose())
        await clock.advance(1)
        assert not closing.done()
        receiving.open()
        await clock.advance(1)
        await closing
        with pytest.raises(polybus.BusClosed, match="while the dead letters of 'jobs'"):
            await redriving


async def test_letters_that_come_late_are_found() -> None:
    for features, late in ((UNCOUNTED, 1), (COUNTED, 3)):
        bus, driver, clock = connect(features, late=late)
        async with bus:
            await bury(bus, [b"x"] * 30)
            redriving = asyncio.create_task(bus.dead_letters("jobs").redrive())
            await clock.advance(60)
            assert await redriving == 30
            if features is UNCOUNTED:
                assert driver.waits[0] == 20.0  # nothing is cut off that a cloud needs seconds for
            else:
                assert set(driver.waits) == {2.0}


async def test_where_there_is_none_few_looks_say_so() -> None:
    for features, looks in ((None, 1), (COUNTED, 1), (UNCOUNTED, 2)):
        bus, driver, clock = connect(features if features is not None else Feature.CONSISTENT)
        async with bus:
            redriving = asyncio.create_task(bus.dead_letters("jobs").redrive())
            await clock.advance(60)
            assert await redriving == 0
            assert len(driver.waits) == looks


async def test_one_that_can_not_be_put_back_holds_up_no_other() -> None:
    bus, driver, clock = connect()
    async with bus:
        await bury(bus, [b"bad" if number % 50 == 7 else b"good" for number in range(200)])
        denied = Fault(FaultKind.INVALID, "the test refuses this one")
        driver.faults.fail(Operation.PUBLISH, denied, times=1_000, when=lambda message: message.body == b"bad")
        with pytest.raises(
            polybus.BackendError, match=r"4 letters of 'jobs' were not.*196 were put back; the first: the"
        ):
            await bus.dead_letters("jobs").redrive()
        await clock.advance(1)
        assert await letters(bus) == (4, 0)
        assert (await bus.stats("jobs")).waiting == 196


async def test_many_in_a_row_that_can_not_be_put_back_end_it() -> None:
    bus, driver, clock = connect()
    async with bus:
        await bury(bus, [b"x"] * 1_000)
        driver.faults.fail(Operation.PUBLISH, Fault(FaultKind.DENIED, "no right to return"), times=10_000)
        with pytest.raises(polybus.BackendError, match="it was given up; the first: no right to return"):
            await bus.dead_letters("jobs").redrive()
        assert len(driver.faults.tries) < 1_200
        await clock.advance(1)
        assert await letters(bus) == (1_000, 0)


async def test_two_letters_of_one_id_are_both_put_back() -> None:
    bus, driver, _ = connect()
    tokens = iter(range(1_000))

    class Tokens(ConsumerProxy):
        async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
            found = await self.inner.receive_batch(count, wait=wait)
            return [msgspec.structs.replace(each, token=each.token or f"t{next(tokens)}") for each in found]

    class WithTokens(DriverProxy):
        def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
            return Tokens(inner)

    bus._connection.given = WithTokens(driver.inner)
    async with bus:
        await bury(bus, [polybus.Message(b"first", id="same"), polybus.Message(b"second", id="same")])
        assert await bus.dead_letters("jobs").redrive() == 2
        assert (await bus.stats("jobs")).waiting == 2


async def test_what_fails_again_meanwhile_is_not_put_back_again() -> None:
    clock = polybus.SteppedClock()
    found, _ = resolve(TOPOLOGY)
    binding = msgspec.structs.replace(found, settings={"store": Store()})
    async with polybus.connect(binding, clock=clock) as bus:
        await bury(bus, [b"x"] * 20)

        async def handler(delivery: polybus.Delivery) -> None:
            raise polybus.DeadLetter("Again")

        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        moved = await asyncio.wait_for(bus.dead_letters("jobs").redrive(progress=lambda done: None), 30)
        await consumer.drain()
        await running
    assert moved == 20


# Looking without changing anything ------------------------------------------------------------------------------------


async def test_a_backend_that_leases_what_it_shows_is_asked_once_for_all() -> None:
    bus, driver, _ = connect(UNCOUNTED)
    async with bus:
        ids = await bury(bus, [b"x"] * 250)
        assert [letter.message.id async for letter in bus.dead_letters("jobs").peek(1_000)] == ids
        assert driver.peeks == [(1_000, None)]
    bus, driver, _ = connect(HOLDING)
    async with bus:
        ids = await bury(bus, [b"x"] * 250)
        assert [letter.message.id async for letter in bus.dead_letters("jobs").peek(1_000)] == ids
        assert [count for count, _ in driver.peeks] == [100, 100, 100, 100]


@pytest.mark.parametrize("features", [UNCOUNTED, HOLDING])
async def test_letters_are_found_among_many(features: Feature) -> None:
    bus, _, _ = connect(features)
    async with bus:
        ids = await bury(bus, [b"%d" % number for number in range(700)])
        wanted = set(random.sample(ids, 12))
        found = await bus.dead_letters("jobs").find(lambda message: message.id in wanted)
        assert {letter.message.id for letter in found} == wanted
        assert len(found) == 12
        assert {letter.reason for letter in found} == {"Test"}
        found = await bus.dead_letters("jobs").find(lambda message: message.id == ids[5], enough=1)
        assert [letter.message.body for letter in found] == [b"5"]
        assert await letters(bus) == (700, 0)


@pytest.mark.parametrize("features", [COUNTED, UNCOUNTED])
async def test_however_many_are_looked_at_few_are_held_and_each_is_shown_once(features: Feature) -> None:
    bus, driver, clock = connect(features)
    async with bus:
        ids = await bury(bus, [b"%d" % number for number in range(2_500)])
        looking = asyncio.create_task(_all(bus.dead_letters("jobs").peek(10**9)))
        await _until(clock, looking)
        found = await looking
        assert sorted(letter.message.id for letter in found) == sorted(ids)
        assert {letter.reason for letter in found} == {"Test"}
        assert driver.most <= 600
        assert max(count for count, _ in driver.peeks) <= 1_000
        assert await letters(bus) == (2_500, 0)


async def test_so_it_is_where_one_is_looked_for() -> None:
    bus, driver, clock = connect(UNCOUNTED)
    async with bus:
        ids = await bury(bus, [b"%d" % number for number in range(1_700)])
        looking = asyncio.create_task(bus.dead_letters("jobs").find(lambda message: message.id == ids[1_300]))
        await _until(clock, looking)
        assert [letter.message.body for letter in await looking] == [b"1300"]
        assert driver.most <= 600
        assert await letters(bus) == (1_700, 0)
        # Found early, it ends early, and once all can be seen again.
        looking = asyncio.create_task(bus.dead_letters("jobs").find(lambda message: True, enough=3))
        await _until(clock, looking)
        assert len(await looking) == 3
        assert await letters(bus) == (1_700, 0)


async def test_nothing_is_held_while_whoever_looks_reads_no_further() -> None:
    bus, driver, clock = connect(COUNTED)
    async with bus:
        ids = await bury(bus, [b"x"] * 1_500)
        shown = bus.dead_letters("jobs").peek(10**9)
        first = asyncio.ensure_future(anext(aiter(shown)))
        await _until(clock, first)
        while driver.most < 500 or await letters(bus) != (1_500, 0):  # it looks ahead that far, and lets go
            await clock.advance(0.01)
        receives = len(driver.waits)
        await clock.advance(120)
        assert await letters(bus) == (1_500, 0)
        assert len(driver.waits) == receives
        rest = asyncio.create_task(_all(shown))
        await _until(clock, rest)
        found = [await first, *await rest]
        assert sorted(letter.message.id for letter in found) == sorted(ids)
        assert await letters(bus) == (1_500, 0)


async def test_a_look_that_is_cancelled_or_whose_bus_is_closed_holds_none() -> None:
    bus, driver, clock = connect(COUNTED)
    async with bus:
        await bury(bus, [b"x"] * 1_500)
        receiving = driver.inner.faults.hold(Operation.RECEIVE)
        looking = asyncio.create_task(_all(bus.dead_letters("jobs").peek(10**9)))
        await receiving.reached.wait()
        looking.cancel()
        await clock.advance(2)
        assert looking.cancelled()
        receiving.open()
        await clock.advance(700)
        assert await letters(bus) == (1_500, 0)
        receiving = driver.inner.faults.hold(Operation.RECEIVE)
        looking = asyncio.create_task(_all(bus.dead_letters("jobs").peek(10**9)))
        await receiving.reached.wait()
        closing = asyncio.create_task(bus.aclose())
        await clock.advance(1)
        receiving.open()
        await _until(clock, closing)
        with pytest.raises(polybus.BusClosed, match="while the dead letters of 'jobs'"):
            await looking


async def _all(shown: AsyncIterator[Peeked]) -> list[Peeked]:
    return [letter async for letter in shown]


async def _until(clock: polybus.ManualClock, task: asyncio.Future[Any], step: float = 0.01) -> None:
    """Let time pass until a task is done."""
    while not task.done():
        await clock.advance(step)
