"""Consumers whose handlers are cancelled: by a lost lease, by their owner, and neither for the other."""

from __future__ import annotations

import asyncio

import pytest

import polybus
from polybus.bus.resolve import resolve
from polybus.errors import Fault, FaultKind
from polybus.registry import load
from polybus.testing.faults import Operation
from polybus.testing.faulty_driver import FaultyDriver
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "cancelled"\n[queues.jobs]\nlease = "60s"\n', source="polybus.toml")
REFUSED = Fault(FaultKind.DENIED, "the test refuses")


def make_bus(clock: polybus.Clock) -> tuple[polybus.Bus, FaultyDriver]:
    binding, _ = resolve(TOPOLOGY)
    driver = FaultyDriver(load("memory")(binding, clock), clock)
    return polybus.connect(binding, clock=clock, driver=driver), driver


async def test_a_lease_lost_while_a_failure_is_settled_does_not_end_the_consumer() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    handled: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        handled.append(delivery.body)
        if delivery.body == b"first":
            raise ValueError("it fails while the way to the backend is cut")

    async with bus:
        settling = driver.faults.hold(Operation.SETTLE)
        driver.faults.fail(Operation.EXTEND, REFUSED, times=100)
        await bus.publish("jobs", b"first")
        consumer = bus.consumer("jobs", handler, options=polybus.ConsumerOptions(concurrency=1, prefetch=1))
        running = asyncio.create_task(consumer.run())
        await settling.reached.wait()
        await clock.advance(61)
        assert not running.done()
        settling.open()
        await bus.publish("jobs", b"second")
        await clock.advance(1)
        assert b"second" in handled
        await consumer.drain()
        await running


async def test_a_handler_that_turns_its_cancellation_into_an_error_leaves_no_trace_in_its_worker() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    requests: list[int] = []

    async def handler(delivery: polybus.Delivery) -> None:
        task = asyncio.current_task()
        assert task is not None
        requests.append(task.cancelling())
        if len(requests) > 1:
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("what a library makes of it") from None

    async with bus:
        driver.faults.fail(Operation.EXTEND, REFUSED, times=1)
        await bus.publish("jobs", b"only")
        consumer = bus.consumer("jobs", handler, options=polybus.ConsumerOptions(concurrency=1, prefetch=1))
        running = asyncio.create_task(consumer.run())
        await clock.advance(61)
        assert requests == [0, 0]
        await consumer.drain()
        await running


async def test_a_consumer_ends_when_cancelled_though_giving_back_fails() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    handled: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        handled.append(delivery.body)
        await asyncio.Event().wait()

    async with bus:
        driver.faults.fail(Operation.SETTLE, REFUSED, times=1)
        await bus.publish("jobs", b"first")
        consumer = bus.consumer("jobs", handler, options=polybus.ConsumerOptions(concurrency=1))
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        running.cancel()
        await clock.advance(1)
        assert running.cancelled()
    assert handled == [b"first"]


async def test_a_cancelled_block_is_cancelled_though_giving_back_fails() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)

    async def consume() -> None:
        async with bus.consume("jobs") as deliveries:
            async for delivery in deliveries:
                async with delivery:
                    await asyncio.Event().wait()

    async with bus:
        driver.faults.fail(Operation.SETTLE, REFUSED, times=1)
        await bus.publish("jobs", b"first")
        consuming = asyncio.create_task(consume())
        await clock.settle()
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consuming


async def test_a_lease_lost_while_a_block_acks_is_told_as_such() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    async with bus:
        settling = driver.faults.hold(Operation.SETTLE)
        driver.faults.fail(Operation.EXTEND, REFUSED, times=100)
        await bus.publish("jobs", b"first")

        async def consume() -> None:
            async with bus.consume("jobs", concurrency=1) as deliveries:
                async for delivery in deliveries:
                    async with delivery:
                        pass

        consuming = asyncio.create_task(consume())
        await settling.reached.wait()
        await clock.advance(61)
        settling.open()
        with pytest.raises(polybus.LeaseLost):
            await consuming


async def test_a_drain_ends_a_handler_that_goes_on_after_its_ack() -> None:
    clock = polybus.ManualClock()
    bus, _ = make_bus(clock)

    async def handler(delivery: polybus.Delivery) -> None:
        await delivery.ack()
        await asyncio.Event().wait()

    async with bus:
        await bus.publish("jobs", b"only")
        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        draining = asyncio.create_task(consumer.drain(5.0))
        await clock.advance(4)
        assert not draining.done()
        await clock.advance(2)
        assert draining.done()
        assert running.done()
        await running
