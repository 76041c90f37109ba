"""What a driver answers wrongly must not keep a drain from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

import polybus
from polybus.binding import Entity
from polybus.bus.resolve import resolve
from polybus.driver import ConsumerDriver, Settlement
from polybus.errors import Fault
from polybus.registry import load
from polybus.testing.proxy import ConsumerProxy, DriverProxy
from polybus.topology.file import loads

from .drivers import Scripted, fresh

TOPOLOGY = loads('[bus]\nname = "settling"\n[queues.jobs]\n', source="polybus.toml")


class Silent(DriverProxy):
    """A backend with a bug: it gives no answers when it settles."""

    def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
        return _Consumer(inner)


class _Consumer(ConsumerProxy):
    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return []


async def test_a_driver_that_answers_too_little_is_named_and_the_drain_ends() -> None:
    clock = polybus.ManualClock()
    binding, _ = resolve(TOPOLOGY)
    async with polybus.connect(binding, clock=clock, driver=Silent(load("memory")(binding, clock))) as bus:
        await bus.publish("jobs", b"only")
        async with bus.consume("jobs") as deliveries:
            delivery = await anext(deliveries)
            acking = asyncio.create_task(delivery.ack())
            await clock.advance(1)
            assert acking.done()
            with pytest.raises(polybus.BackendError, match="a bug of this backend"):
                await acking


async def test_a_call_that_hangs_is_cut_off_at_the_end_of_its_own_leases_not_of_another_calls() -> None:
    clock = polybus.ManualClock()
    binding = fresh('[queues.jobs]\nlease = "30s"\n')
    driver = Scripted(binding, clock)
    cut: list[float] = []

    async def hang(inner: ConsumerDriver[Any], settlements: Sequence[Settlement[Any]]) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut.append(clock.monotonic() - began)
            raise

    began = clock.monotonic()
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"answered")
        await (await anext(deliveries)).ack()
        await clock.advance(10)
        driver.script["settle"] = hang
        await bus.publish("jobs", b"hangs")
        acking = asyncio.create_task((await anext(deliveries)).ack())
        await clock.advance(29)
        assert (cut, acking.done()) == ([], False)
        await clock.advance(1)
        assert cut == [40]
        with pytest.raises(polybus.LeaseLost):
            await acking
        del driver.script["settle"]
    assert clock.next_due() is None, "a timer outlives the bus"
