"""Handlers that swallow their cancellation take no place of others, and are told (contract, D2 and D16)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest
from drivers import Never, fresh, stand_still

import polybus

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
