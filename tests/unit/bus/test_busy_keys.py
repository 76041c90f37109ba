"""What waits behind others of its ordering key takes nothing from other keys (contract, D4 and D10)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

import polybus
from polybus.binding import Entity
from polybus.bus.options import ConsumerOptions
from polybus.bus.resolve import resolve
from polybus.driver import ConsumerDriver, Received
from polybus.registry import load
from polybus.testing.proxy import ConsumerProxy, DriverProxy
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "busy"\n[queues.jobs]\n', source="polybus.toml")
SMALL = ConsumerOptions(concurrency=2, prefetch=2)


class Grouped(ConsumerProxy):
    """Hands over all of a group at once, as Pub/Sub and Service Bus sessions do; the body is the key."""

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        batch = await self.inner.receive_batch(count, wait=wait)
        return [msgspec.structs.replace(received, group=received.message.body.decode()) for received in batch]


class GroupedDriver(DriverProxy):
    def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
        return Grouped(inner)


def connect(clock: polybus.ManualClock) -> polybus.Bus:
    binding, _ = resolve(TOPOLOGY)
    return polybus.connect(binding, clock=clock, driver=GroupedDriver(load("memory")(binding, clock)))


async def publish(bus: polybus.Bus, key: str, count: int) -> None:
    await bus.publish_many("jobs", [key] * count)


@pytest.mark.parametrize("fails", [True, False], ids=["waits for its retry", "is being handled"])
async def test_another_key_is_handled_while_a_key_with_many_messages_is_stuck(fails: bool) -> None:
    clock = polybus.ManualClock()
    passed = asyncio.Event()

    async def handler(delivery: polybus.Delivery) -> None:
        if delivery.body == b"quick":
            passed.set()
        elif fails:
            raise polybus.Retry(after=60)
        else:
            await passed.wait()

    async with connect(clock) as bus:
        await publish(bus, "stuck", 8)
        await publish(bus, "quick", 1)
        running = asyncio.create_task(bus.consumer("jobs", handler, options=SMALL).run())
        await clock.settle()
        assert passed.is_set()
        await bus.aclose()
        await running


async def test_what_waits_behind_others_is_bounded() -> None:
    clock = polybus.ManualClock()
    handled = 0

    async def handler(delivery: polybus.Delivery) -> None:
        nonlocal handled
        handled += 1
        await asyncio.Event().wait()

    async with connect(clock) as bus:
        await publish(bus, "stuck", 3_000)
        consumer = bus.consumer("jobs", handler, options=SMALL)
        running = asyncio.create_task(consumer.run())
        for _ in range(100):
            await clock.settle()
        assert handled == 1
        assert consumer.in_flight <= 1_002
        await consumer.drain(0)
        await running
