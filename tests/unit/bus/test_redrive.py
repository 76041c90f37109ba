"""A redrive that is interrupted gives back what it didn't put back, and holds nothing."""

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

QUEUES = "".join(f"[queues.{name}]\n" for name in ("jobs", "other", "third", "fourth", "fifth", "sixth"))
TOPOLOGY = loads(f'[bus]\nname = "redrive"\n{QUEUES}', source="polybus.toml")
REFUSED = Fault(FaultKind.DENIED, "the test refuses")


def make_bus(clock: polybus.Clock) -> tuple[polybus.Bus, FaultyDriver]:
    binding, _ = resolve(TOPOLOGY)
    driver = FaultyDriver(load("memory")(binding, clock), clock)
    return polybus.connect(binding, clock=clock, driver=driver), driver


async def bury(bus: polybus.Bus, name: str, count: int) -> None:
    await bus.publish_many(name, [b"letter"] * count)
    async with bus.consume(name) as deliveries:
        for _ in range(count):
            await (await anext(deliveries)).dead_letter("Test")


async def test_letters_that_are_not_chosen_are_given_back_together() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    async with bus:
        await bury(bus, "jobs", 120)
        before = driver.faults.calls[Operation.SETTLE]
        assert await bus.dead_letters("jobs").redrive(match=lambda message: False) == 0
        assert driver.faults.calls[Operation.SETTLE] - before < 10
        assert (await bus.stats("jobs")).dead == 120


async def test_what_fails_while_letters_are_given_back_leaves_no_receiver_behind() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    async with bus:
        await bury(bus, "other", 2)
        driver.faults.fail(Operation.SETTLE, REFUSED)
        stopped = driver.faults.stopped
        assert await bus.dead_letters("other").redrive(match=lambda message: False) == 0
        assert driver.faults.stopped == stopped + 1


async def test_the_backend_s_refusal_is_what_a_redrive_raises() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    async with bus:
        await bury(bus, "third", 1)
        driver.faults.fail(Operation.PUBLISH, REFUSED)
        driver.faults.fail(Operation.SETTLE, Fault(FaultKind.LEASE_LOST, "the test took it"))
        with pytest.raises(polybus.BackendError, match="the test refuses"):
            await asyncio.wait_for(bus.dead_letters("third").redrive(), 30)


async def test_a_letter_that_was_put_back_but_not_removed_counts_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    async with bus:
        await bury(bus, "fourth", 3)
        driver.faults.fail(Operation.SETTLE, Fault(FaultKind.LEASE_LOST, "the test took it"))
        assert await asyncio.wait_for(bus.dead_letters("fourth").redrive(), 30) == 3
        assert "put back and is still among the dead letters" in caplog.text
        stats = await bus.stats("fourth")
        assert (stats.waiting, stats.dead) == (3, 1)


async def test_a_refusal_to_remove_a_letter_is_raised_once_the_others_are_removed() -> None:
    clock = polybus.ManualClock()
    bus, driver = make_bus(clock)
    async with bus:
        await bury(bus, "fifth", 3)
        driver.faults.fail(Operation.SETTLE, REFUSED)
        with pytest.raises(polybus.BackendError, match="the test refuses"):
            await asyncio.wait_for(bus.dead_letters("fifth").redrive(), 30)
        stats = await bus.stats("fifth")
        assert (stats.waiting, stats.dead) == (3, 1)


async def test_an_edit_that_fails_puts_nothing_of_its_batch_back() -> None:
    clock = polybus.ManualClock()
    bus, _ = make_bus(clock)
    edited = 0

    def edit(message: polybus.Message) -> polybus.Message:
        nonlocal edited
        edited += 1
        if edited == 3:
            raise ValueError("the test can't edit this one")
        return message

    async with bus:
        await bury(bus, "sixth", 3)
        with pytest.raises(ValueError, match="can't edit"):
            await asyncio.wait_for(bus.dead_letters("sixth").redrive(edit=edit), 30)
        stats = await bus.stats("sixth")
        assert (stats.waiting, stats.dead) == (0, 3)
