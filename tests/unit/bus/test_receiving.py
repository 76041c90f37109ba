"""What a receiver keeps, and whom it lets wait."""

from __future__ import annotations

import asyncio
import gc

from drivers import fresh

import polybus
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "receiving"\n[queues.idle]\n[queues.keyed]\nordered = true\n', source="polybus.toml")


async def test_a_key_that_waits_for_its_retry_does_not_hold_up_the_others() -> None:
    clock = polybus.ManualClock()
    handled: list[str | None] = []

    async def handler(delivery: polybus.Delivery) -> None:
        handled.append(delivery.ordering_key)
        if delivery.ordering_key == "failing":
            raise polybus.Retry("not yet", after=600)

    async with polybus.connect(TOPOLOGY, clock=clock) as bus:
        consumer = bus.consumer("keyed", handler, options=polybus.ConsumerOptions(concurrency=2, prefetch=4))
        running = asyncio.create_task(consumer.run())
        for number in range(20):
            await bus.publish("keyed", f"{number}", ordering_key="failing")
        await clock.advance(1)
        await bus.publish("keyed", "passes", ordering_key="other")
        await clock.advance(30)
        assert handled == ["failing", "other"]
        await consumer.drain()
        await running


async def test_waiting_in_vain_leaves_nothing_behind() -> None:
    clock = polybus.ManualClock()
    async with polybus.connect(TOPOLOGY, clock=clock) as bus, bus.consume("idle") as deliveries:
        before = 0
        for turn in range(200):
            waiting = asyncio.create_task(anext(deliveries))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            del waiting
            if turn == 100:
                gc.collect()
                before = sum(isinstance(each, asyncio.Future) for each in gc.get_objects())
        gc.collect()
        assert sum(isinstance(each, asyncio.Future) for each in gc.get_objects()) <= before


async def test_what_nobody_takes_in_time_is_not_kept() -> None:
    clock = polybus.ManualClock()
    binding = fresh('[queues.jobs]\nlease = "10s"\nmax_attempts = 100\n')
    async with (
        polybus.connect(binding, clock=clock) as bus,
        bus.consume("jobs", concurrency=1, prefetch=4, max_lease=15) as deliveries,
    ):
        await bus.publish_many("jobs", [b"%d" % number for number in range(4)])
        # Nobody takes what came: the leases end, and it comes again, and again.
        await clock.advance(500)
        held = [each for each in gc.get_objects() if type(each) is polybus.Delivery and each.source == "jobs"]
        assert len(held) <= 8
        assert (await anext(deliveries)).attempt > 20
