"""Retries that wait here, because the backend keeps no delay: each is told once."""

from __future__ import annotations

import asyncio

import polybus
from polybus.binding import Entity
from polybus.bus.resolve import resolve
from polybus.feature import Feature
from polybus.registry import load
from polybus.testing.environment import Recorder
from polybus.testing.proxy import DriverProxy
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "held"\n[queues.jobs]\nmax_attempts = 3\n', source="polybus.toml")


class NoDelay(DriverProxy):
    """A backend that can't give a message back with a delay."""

    def features(self, entity: Entity) -> Feature:
        return self.inner.features(entity) & ~Feature.NACK_DELAY


async def test_each_failed_attempt_is_told_once() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    recorder = Recorder()
    driver = NoDelay(load("memory")(binding, clock))
    async with polybus.connect(binding, clock=clock, driver=driver, hooks=[recorder]) as bus:
        identity = await bus.publish("jobs", "never")

        async def handler(delivery: polybus.Delivery) -> None:
            raise ValueError("it never works")

        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        for _ in range(3):
            await clock.advance(600)
        await consumer.drain()
        await running
    assert recorder.outcomes == [(identity, "nack"), (identity, "nack"), (identity, "dead_letter")]


async def test_a_drain_waits_for_a_handler_whose_message_is_tried_again_meanwhile() -> None:
    """In order, the retry is another delivery: the first is not held any more, and its handler goes on all the same."""
    topology = loads('[bus]\nname = "again"\n[queues.jobs]\nordered = true\n', source="polybus.toml")
    clock = polybus.ManualClock()
    ends: list[int] = []
    go_on = asyncio.Event()
    async with polybus.connect(topology, clock=clock) as bus:
        await bus.publish("jobs", "twice", ordering_key="k")

        async def handler(delivery: polybus.Delivery) -> None:
            if delivery.attempt == 1:
                await delivery.nack(delay=1)
                await go_on.wait()
            ends.append(delivery.attempt)

        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        await clock.advance(2)
        assert ends == [2]
        draining = asyncio.create_task(consumer.drain(grace=20))
        await clock.settle()
        assert not draining.done()
        go_on.set()
        await clock.settle()
        await draining
        await running
    assert ends == [2, 1]
