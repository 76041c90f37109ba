"""A bus that is closed while things go on, and after."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import polybus
from polybus.binding import Entity
from polybus.bus.resolve import resolve
from polybus.driver import AdminDriver, ConsumerDriver, Driver
from polybus.registry import load
from polybus.testing.faults import Operation
from polybus.testing.faulty_driver import FaultyDriver
from polybus.testing.proxy import ConsumerProxy, DriverProxy
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "closing"\n[queues.jobs]\n[queues.refused]\n[queues.results]\n', source="polybus.toml")


async def test_what_is_published_after_the_close_is_refused() -> None:
    clock = polybus.ManualClock()
    async with polybus.connect(TOPOLOGY, clock=clock) as bus:
        await bus.publish("refused", "in time")
    with pytest.raises(polybus.BusClosed):
        await bus.publish("refused", "too late")
    with pytest.raises(polybus.BusClosed):
        await bus.publish_many("refused", ["too late"])


async def test_a_handler_that_finishes_within_the_grace_may_publish_to_what_nobody_published_to_before() -> None:
    clock = polybus.ManualClock()
    entered, go_on = asyncio.Event(), asyncio.Event()
    bus = polybus.connect(TOPOLOGY, clock=clock)
    published: list[str] = []

    async def handler(delivery: polybus.Delivery) -> None:
        entered.set()
        await go_on.wait()
        published.append(await bus.publish("results", "done"))

    async with bus:
        await bus.publish("jobs", "work")
        running = asyncio.create_task(bus.consumer("jobs", handler).run())
        await entered.wait()
        closing = asyncio.create_task(bus.aclose())
        await clock.settle()
        with pytest.raises(polybus.BusClosed):
            await bus.consumer("jobs", handler).run()
        go_on.set()
        await closing
        await running
    assert len(published) == 1


class SlowToOpen(DriverProxy):
    """Opens a consumer only once a test says so."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[object]:
        self.reached.set()
        await self.opened.wait()
        return await self.inner.open_consumer(source, prefetch=prefetch, concurrency=concurrency)


async def test_a_consumer_that_opens_while_the_bus_closes_is_refused() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    driver = SlowToOpen(load("memory")(binding, clock))

    async def handler(delivery: polybus.Delivery) -> None:
        raise AssertionError("nothing is to be handled")

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        running = asyncio.create_task(bus.consumer("jobs", handler).run())
        await driver.reached.wait()
        await bus.aclose()
        driver.opened.set()
        await clock.settle()
        assert running.done()
        with pytest.raises(polybus.BusClosed):
            await running


class CannotOpen(DriverProxy):
    """Opens no consumer, as where the backend can't be reached."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.tries = 0

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[object]:
        self.tries += 1
        raise ConnectionRefusedError("the test opens nothing")

    def fault(self, error: Exception) -> polybus.Fault:
        return polybus.Fault(polybus.FaultKind.UNAVAILABLE, str(error))


async def test_a_drain_ends_the_tries_to_open_a_consumer(caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    driver = CannotOpen(load("memory")(binding, clock))

    async def handler(delivery: polybus.Delivery) -> None:
        raise AssertionError("nothing is to be handled")

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        assert driver.tries == 1
        assert "consuming from 'jobs' failed, next try in" in caplog.text
        assert "the test opens nothing" in caplog.text
        await consumer.drain()
        await clock.settle()
        assert running.done()  # without another try, and no time has passed
        await running
    assert driver.tries == 1


async def test_what_can_not_be_opened_until_the_deadline_ends_the_consumer() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    driver = CannotOpen(load("memory")(binding, clock))

    async def handler(delivery: polybus.Delivery) -> None:
        raise AssertionError("nothing is to be handled")

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        running = asyncio.create_task(bus.consumer("jobs", handler).run())
        for _ in range(61):
            await clock.settle()
            await clock.advance(1)
        await clock.settle()
        with pytest.raises(polybus.BackendError, match="the test opens nothing"):
            await running
    assert driver.tries > 5


async def test_what_waits_for_room_while_the_bus_closes_is_sent() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    driver = FaultyDriver(load("memory")(binding, clock), clock)
    options = polybus.PublisherOptions(max_outstanding=1)
    async with polybus.connect(binding, clock=clock, driver=driver, publisher=options) as bus:
        gate = driver.faults.hold(Operation.PUBLISH)
        tasks = [asyncio.create_task(bus.publish("jobs", "waits")) for _ in range(5)]
        await gate.reached.wait()
        closing = asyncio.create_task(bus.aclose())
        await clock.settle()
        gate.open()
        await closing
        assert len({await task for task in tasks}) == 5


class Closing(DriverProxy):
    """Says when it is closed, and breaks the end of the consumers that it opened."""

    def __init__(self, inner: Driver, *, broken: bool = False) -> None:
        super().__init__(inner)
        self.closed = False
        self._broken = broken

    def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
        return BreaksAtItsEnd(inner) if self._broken and source.name == "jobs" else inner

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


class BreaksAtItsEnd(ConsumerProxy):
    async def aclose(self) -> None:
        await self.inner.aclose()
        raise ConnectionResetError("the test cuts the connection")


async def test_a_consumer_that_breaks_as_it_closes_keeps_nothing_else_open() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    driver = Closing(load("memory")(binding, clock), broken=True)
    entered, go_on, handled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(delivery: polybus.Delivery) -> None:
        entered.set()
        await go_on.wait()
        handled.set()

    async def idle(delivery: polybus.Delivery) -> None:
        raise AssertionError("nothing is to be handled")

    bus = polybus.connect(binding, clock=clock, driver=driver)
    async with bus:
        await bus.publish("results", "work")
        running = [asyncio.create_task(bus.consumer("results", handler).run())]
        running.append(asyncio.create_task(bus.consumer("jobs", idle).run()))
        await entered.wait()
        closing = asyncio.create_task(bus.aclose())
        await clock.settle()
        assert not driver.closed
        go_on.set()
        with pytest.raises(ConnectionResetError):
            await closing
    assert handled.is_set()
    assert driver.closed
    assert [type(ended) for ended in await asyncio.gather(*running, return_exceptions=True)] == [
        type(None),
        ConnectionResetError,
    ]


async def test_a_close_that_is_cancelled_ends_the_grace_and_closes_all_the_same() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    driver = Closing(load("memory")(binding, clock))
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(delivery: polybus.Delivery) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    bus = polybus.connect(binding, clock=clock, driver=driver)
    async with bus:
        await bus.publish("jobs", "endless")
        running = asyncio.create_task(bus.consumer("jobs", handler).run())
        await entered.wait()
        closing = asyncio.create_task(bus.aclose())
        await clock.settle()
        assert not cancelled.is_set()
        closing.cancel()
        await clock.settle()
        assert closing.cancelled()
        assert cancelled.is_set()
        assert driver.closed
        await running


class SlowAdmin(DriverProxy):
    """Opens the administration once a test lets it, and counts."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.go_on = asyncio.Event()
        self.opened = 0

    async def open_admin(self) -> AdminDriver:
        self.opened += 1
        await self.go_on.wait()
        return await self.inner.open_admin()


async def test_what_operates_at_once_shares_one_administration() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    driver = SlowAdmin(load("memory")(binding, clock))
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        asked = [asyncio.create_task(bus.stats(name)) for name in ("jobs", "results")]
        await clock.settle()
        driver.go_on.set()
        await asyncio.gather(*asked)
    assert driver.opened == 1


async def test_each_further_cancellation_of_a_close_ends_what_it_waits_for_then() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    faulty = FaultyDriver(load("memory")(binding, clock), clock)
    driver = Closing(faulty)
    bus = polybus.connect(binding, clock=clock, driver=driver)
    await bus.__aenter__()
    await bus.publish("jobs", "work")
    settling = faulty.faults.hold(Operation.SETTLE)

    async def handler(delivery: polybus.Delivery) -> None:
        pass

    running = asyncio.create_task(bus.consumer("jobs", handler).run())
    await settling.reached.wait()
    publishing = faulty.faults.hold(Operation.PUBLISH)
    sending = asyncio.create_task(bus.publish("results", "waits"))
    await publishing.reached.wait()
    closing = asyncio.create_task(bus.aclose())
    for _ in range(3):
        await clock.settle()
        assert not driver.closed
        closing.cancel()
    await clock.settle()
    assert closing.cancelled()
    assert driver.closed
    settling.open()
    publishing.open()
    await asyncio.gather(running, sending)
