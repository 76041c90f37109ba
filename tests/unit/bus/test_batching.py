"""When a publisher sends: at once while idle, together while busy."""

from __future__ import annotations

import asyncio

import polybus
from polybus.bus.resolve import resolve
from polybus.registry import load
from polybus.testing.faults import Operation
from polybus.testing.faulty_driver import FaultyDriver
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "batching"\n[queues.jobs]\n', source="polybus.toml")


def make_bus(clock: polybus.Clock, **options: float) -> tuple[polybus.Bus, FaultyDriver]:
    binding, _ = resolve(TOPOLOGY)
    driver = FaultyDriver(load("memory")(binding, clock), clock)
    publisher = polybus.PublisherOptions(**options)  # type: ignore[arg-type]
    return polybus.connect(binding, clock=clock, driver=driver, publisher=publisher), driver


async def test_a_lone_message_does_not_linger() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock, linger=10.0)
    async with bus:
        for _ in range(3):
            await bus.publish("jobs", "one by one")  # the clock stands still: waiting for it would never end
    assert driver.faults.calls[Operation.PUBLISH] == 3


async def test_what_is_published_together_is_sent_together() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    async with bus:
        await asyncio.gather(*(bus.publish("jobs", "together") for _ in range(100)))
    assert driver.faults.calls[Operation.PUBLISH] == 1


async def test_while_a_batch_is_under_way_others_gather_for_the_linger() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock, linger=1.0)
    async with bus:
        gate = driver.faults.hold(Operation.PUBLISH)
        first = asyncio.create_task(bus.publish("jobs", "first"))
        await gate.reached.wait()
        later = []
        for _ in range(5):
            later.append(asyncio.create_task(bus.publish("jobs", "later")))
            await clock.advance(0.1)
        assert driver.faults.calls[Operation.PUBLISH] == 1
        await clock.advance(1.0)
        assert driver.faults.calls[Operation.PUBLISH] == 2
        gate.open()
        await asyncio.gather(first, *later)
    assert driver.faults.calls[Operation.PUBLISH] == 2


async def test_closing_sends_what_lingers() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock, linger=100.0)
    async with bus:
        gate = driver.faults.hold(Operation.PUBLISH)
        tasks = [asyncio.create_task(bus.publish("jobs", "first"))]
        await gate.reached.wait()
        tasks.append(asyncio.create_task(bus.publish("jobs", "second")))
        await clock.settle()
        gate.open()
    await asyncio.gather(*tasks)
    assert [len(task.result()) for task in tasks] == [36, 36]
