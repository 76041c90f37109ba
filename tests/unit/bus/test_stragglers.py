"""Handlers that go on when their deliveries are over take no place of others, and are told (contract, D2 and D16)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from drivers import Never, Scripted, fresh, stand_still

import polybus
from polybus.errors import Fault, FaultKind

JOBS = '[queues.jobs]\nlease = "10s"\nmax_attempts = 3\n'
ONE = polybus.ConsumerOptions(concurrency=1, prefetch=1, max_lease=10, grace=0)


class Counted:
    """A handler whose messages say what it does; how many calls go on, and how many did at most."""

    def __init__(self, clock: polybus.Clock) -> None:
        self.clock = clock
        self.never = Never()
        self.began: list[tuple[bytes, int]] = []
        self.now = 0
        self.most = 0

    async def __call__(self, delivery: polybus.Delivery) -> None:
        self.began.append((delivery.body, delivery.attempt))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if delivery.body == b"hang" and delivery.attempt == 1:
                await self.never()
            elif delivery.body == b"clean up":
                try:
                    await self.clock.sleep(1_000)
                finally:
                    await self.clock.sleep(1.5)
            elif delivery.body == b"told" and delivery.attempt == 1:  # by its own ack, while the loop stood still
                stand_still(self.clock, 11)  # type: ignore[arg-type]
                with contextlib.suppress(polybus.LeaseLost):
                    await delivery.ack()
                await self.never()
            else:
                await self.clock.sleep(1)
        finally:
            self.now -= 1


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "calls of" in each.getMessage()]


async def drained(consumer: Any, running: asyncio.Task[None], clock: polybus.ManualClock) -> None:
    draining = asyncio.create_task(consumer.drain())
    await clock.advance(10)
    await draining
    await running


@pytest.mark.parametrize("how", [b"hang", b"told"])
async def test_another_takes_the_place_of_a_handler_that_goes_on(how: bytes, caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    handler = Counted(clock)
    async with polybus.connect(fresh(JOBS), clock=clock) as bus:
        await bus.publish("jobs", how)
        consumer = bus.consumer("jobs", handler, options=ONE)
        running = asyncio.create_task(consumer.run())
        await clock.settle()  # in which the loop stands still, if it does
        await clock.advance(11 if how == b"hang" else 1)
        assert told(caplog) == []
        await bus.publish_many("jobs", [b"%d" % number for number in range(3)])
        await clock.advance(2)
        (line,) = told(caplog)
        assert "1 calls of Counted go on" in line
        assert "of 'jobs', attempt 1" in line
        await clock.advance(20)
        assert {b"0", b"1", b"2"} <= {body for body, _ in handler.began}
        assert consumer.problem is None
        if how == b"hang":
            await clock.advance(60)
            assert len(told(caplog)) == 2  # each minute
        handler.never.over.set()
        await clock.settle()
        # It took no second place: one at a time again.
        handler.most = handler.now
        await bus.publish_many("jobs", [b"%d" % number for number in range(5)])
        await clock.advance(20)
        assert handler.most == 1
        await drained(consumer, running, clock)


async def test_when_too_many_go_on_nothing_more_is_taken_until_one_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = polybus.ManualClock()
    handler = Counted(clock)
    async with polybus.connect(fresh(JOBS.replace("3", "100")), clock=clock) as bus:
        await bus.publish_many("jobs", [b"hang"] * 4)
        consumer = bus.consumer("jobs", handler, options=ONE)
        running = asyncio.create_task(consumer.run())
        await clock.advance(300)
        assert handler.now == 4
        assert consumer.problem == "4 calls go on though their leases were lost"
        assert consumer.in_flight == 0
        began = len(handler.began)
        await bus.publish("jobs", b"more")
        await clock.advance(120)
        assert len(handler.began) == began
        handler.never.over.set()
        await clock.advance(30)
        assert consumer.problem is None
        assert (b"more", 1) in handler.began
        assert "has room again" in caplog.text
        await drained(consumer, running, clock)


async def test_one_that_ends_soon_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    handler = Counted(clock)
    async with polybus.connect(fresh(JOBS), clock=clock) as bus:
        await bus.publish("jobs", b"clean up")
        consumer = bus.consumer("jobs", handler, options=ONE)
        running = asyncio.create_task(consumer.run())
        await clock.advance(200)
        assert len(handler.began) > 1
        assert handler.most == 1
        assert told(caplog) == []
        await drained(consumer, running, clock)


# After a settlement of their own --------------------------------------------------------------------------------------

LONG = polybus.ConsumerOptions(concurrency=1, prefetch=3, max_lease=600, grace=0)


class Settles:
    """A handler that settles messages that say how, and then hangs until the test lets it go."""

    def __init__(self, clock: polybus.Clock) -> None:
        self.clock = clock
        self.go_on = asyncio.Event()
        self.began: list[bytes] = []
        self.errors: list[Exception] = []
        self.cancelled = 0

    async def __call__(self, delivery: polybus.Delivery) -> None:
        self.began.append(delivery.body)
        if (settle := getattr(delivery, delivery.body.decode(), None)) is None or self.go_on.is_set():
            return
        try:
            await (settle("unwanted") if delivery.body == b"dead_letter" else settle())
        except (polybus.LeaseLost, polybus.BackendError) as error:
            self.errors.append(error)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "after they settled" in each.getMessage()]


@pytest.mark.parametrize("how", [b"ack", b"nack", b"dead_letter"])
async def test_one_that_settled_by_itself_and_goes_on_is_told_and_keeps_its_place_no_longer_than_max_lease(
    how: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = polybus.ManualClock()
    handler = Settles(clock)
    async with polybus.connect(fresh(JOBS.replace("3", "1000")), clock=clock) as bus:
        await bus.publish("jobs", how)
        consumer = bus.consumer("jobs", handler, options=LONG)
        running = asyncio.create_task(consumer.run())
        await clock.advance(59)
        assert warned(caplog) == []
        assert consumer.problem is None  # so far it may be at work
        if how != b"nack":
            await bus.publish_many("jobs", ["a", "b"])
        await clock.advance(2)
        (line,) = warned(caplog)
        assert "1 calls of Settles go on after they settled their messages, the longest since 1m" in line
        assert "of 'jobs', attempt 1" in line
        assert consumer.problem == "all 1 calls at once go on after they settled their messages"
        assert consumer.in_flight == 0  # others may have them
        assert handler.began == [how]
        await clock.advance(480)
        assert len(warned(caplog)) == 4  # after 1, 2, 4 and 8 minutes
        await clock.advance(60)  # its max_lease is over
        assert consumer.problem is None
        assert handler.cancelled == 0  # nobody else would do what it does
        assert len(handler.began) == (2 if how == b"nack" else 3)
        handler.go_on.set()
        await clock.settle()
        assert "of 'jobs', attempt 1 ended, 10m" in caplog.text
        await drained(consumer, running, clock)


async def test_when_too_many_go_on_after_their_settlement_nothing_more_is_taken() -> None:
    clock = polybus.ManualClock()
    handler = Settles(clock)
    async with polybus.connect(fresh(JOBS), clock=clock) as bus:
        await bus.publish_many("jobs", [b"ack"] * 10)
        consumer = bus.consumer("jobs", handler, options=LONG)
        running = asyncio.create_task(consumer.run())
        await clock.advance(10_000)
        assert handler.began == [b"ack"] * 4
        assert consumer.problem == "4 calls go on though their messages were settled, or their leases were lost"
        handler.go_on.set()
        await clock.advance(30)
        assert consumer.problem is None
        assert handler.began == [b"ack"] * 10
        await drained(consumer, running, clock)


async def test_one_that_ends_within_a_minute_of_its_ack_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    handler = Settles(clock)
    async with polybus.connect(fresh(JOBS), clock=clock) as bus:
        consumer = bus.consumer("jobs", handler, options=LONG)
        running = asyncio.create_task(consumer.run())
        await bus.publish("jobs", b"ack")
        await clock.advance(59)
        handler.go_on.set()
        await bus.publish_many("jobs", ["a", "b"])
        await clock.advance(1_000)
        assert handler.began == [b"ack", b"a", b"b"]
        assert warned(caplog) == []
        await drained(consumer, running, clock)


@pytest.mark.parametrize("kind", [FaultKind.LEASE_LOST, FaultKind.DENIED])
async def test_another_takes_the_place_of_one_whose_own_ack_was_refused_and_that_goes_on(
    kind: FaultKind, caplog: pytest.LogCaptureFixture
) -> None:
    clock = polybus.ManualClock()
    handler = Settles(clock)

    async def refuse(inner: Any, settlements: Any) -> Any:
        if handler.errors:
            return await inner.settle_batch(settlements)
        return [Fault(kind, "no more") for _ in settlements]

    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    driver.script["settle"] = refuse
    async with polybus.connect(binding, driver=driver, clock=clock) as bus:
        consumer = bus.consumer("jobs", handler, options=LONG)
        running = asyncio.create_task(consumer.run())
        await bus.publish_many("jobs", [b"ack", b"more"])
        await clock.advance(2)
        assert len(handler.errors) == 1
        (line,) = told(caplog)
        assert "1 calls of Settles go on though they were told" in line
        assert b"more" in handler.began
        handler.go_on.set()
        await drained(consumer, running, clock)
