"""Attempts are counted where they are made: a give-back takes along how many there were (contract, D5)."""

from __future__ import annotations

import asyncio

import pytest
from drivers import Scripted, fresh

import polybus
from polybus.binding import Entity
from polybus.bus.delivery import held_of
from polybus.driver import Nack
from polybus.feature import Feature

JOBS = '[queues.jobs]\nlease = "60s"\n[queues.serial]\nordered = true\nlease = "60s"\n'


def nacks(driver: Scripted) -> list[tuple[bytes, int, int | None]]:
    """Return what was given back: body, the attempt as it was received, and the attempts that it takes along."""
    return [
        (each.received.message.body, each.received.attempt, each.attempts)
        for each in driver.settled
        if isinstance(each, Nack)
    ]


async def test_what_no_handler_began_is_given_back_as_no_attempt() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def slow(delivery: polybus.Delivery) -> None:
        await asyncio.Event().wait()

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish_many("jobs", [b"slow", b"innocent"])
        options = polybus.ConsumerOptions(concurrency=1, prefetch=2, grace=1)
        consumer = bus.consumer("jobs", slow, options=options)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        draining = asyncio.create_task(consumer.drain())
        await clock.advance(2)
        await draining
        await running
    assert sorted(nacks(driver)) == [(b"innocent", 1, 0), (b"slow", 1, None)]


async def test_what_an_iteration_brought_is_an_attempt_settled_or_not() -> None:
    """Else what ends the block that iterates, each time, would never be a dead letter."""
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish_many("jobs", [b"poison", b"innocent"])

        async def works() -> None:
            async with bus.consume("jobs", concurrency=1, prefetch=2) as deliveries:
                async for _ in deliveries:
                    await clock.settle()
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await works()
    assert sorted(nacks(driver)) == [(b"innocent", 1, 0), (b"poison", 1, None)]


@pytest.mark.parametrize("waits", [True, False], ids=["while it waits for its retry", "while it is handled again"])
async def test_what_was_retried_in_place_takes_its_attempts_along(waits: bool) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    attempts: list[int] = []

    async def fails(delivery: polybus.Delivery) -> None:
        attempts.append(delivery.attempt)
        if not waits and delivery.attempt == 3:
            await asyncio.Event().wait()
        raise polybus.Retry("not yet", after=1)

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("serial", b"first", ordering_key="k")
        await bus.publish("serial", b"behind", ordering_key="k")
        consumer = bus.consumer("serial", fails, options=polybus.ConsumerOptions(grace=0))
        running = asyncio.create_task(consumer.run())
        await clock.advance(2.4)
        assert attempts[-1] == 3
        draining = asyncio.create_task(consumer.drain())
        await clock.advance(3)
        await draining
        await running
    assert nacks(driver)[0] == (b"first", 1, 3)
    assert all(each == (b"behind", 1, 0) for each in nacks(driver)[1:])


async def test_a_handler_that_gives_its_message_back_made_no_attempt() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"work")
        await held_of(await anext(deliveries)).give_back()
        again = await anext(deliveries)
        assert again.attempt == 1
        await again.nack(delay=0)
        assert (await anext(deliveries)).attempt == 2
    assert nacks(driver)[:2] == [(b"work", 1, 0), (b"work", 1, None)]


async def test_a_poison_message_of_an_ordered_source_is_buried_after_its_attempts_whatever_restarts() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS + "max_attempts = 3\n")
    handled: list[int] = []

    async def fails(delivery: polybus.Delivery) -> None:
        handled.append(delivery.attempt)
        raise polybus.Retry("poison", after=1)

    async with polybus.connect(binding, clock=clock) as bus:
        await bus.publish("serial", b"poison", ordering_key="k")
    for _ in range(4):
        async with polybus.connect(binding, clock=clock) as bus:
            consumer = bus.consumer("serial", fails)
            running = asyncio.create_task(consumer.run())
            await clock.advance(1.2)
            await consumer.drain()
            await running
    assert handled == [1, 2, 3]


class Counting(Scripted):
    """A backend that counts every delivery, as SQS does."""

    def features(self, entity: Entity) -> Feature:
        return super().features(entity) & ~Feature.ATTEMPTS


async def test_nothing_is_held_behind_slow_handlers_where_a_give_back_would_count() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Counting(binding, clock)
    seconds = 30.0

    async def handler(delivery: polybus.Delivery) -> None:
        await clock.sleep(seconds)

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish_many("jobs", [b"work"] * 30)
        consumer = bus.consumer("jobs", handler, options=polybus.ConsumerOptions(concurrency=2))
        running = asyncio.create_task(consumer.run())
        await clock.advance(31)
        assert consumer.in_flight == 2
        seconds = 0.1
        await clock.advance(31)
        seconds = 30.0
        await clock.settle()
        assert (await bus.stats("jobs")).waiting == 0
        await bus.publish_many("jobs", [b"work"] * 10)
        await clock.advance(1)
        assert consumer.in_flight == 4  # until it is seen that handlers have become slow
        await clock.advance(100)
        assert consumer.in_flight == 2
        draining = asyncio.create_task(consumer.drain(0))
        await clock.advance(3)
        await draining
        await running
