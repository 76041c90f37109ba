"""A drain ends its grace and at most 10 s after it began, whatever hangs (contract, D12)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from drivers import Never, Scripted, fresh

import polybus
from polybus.errors import Fault, FaultKind

JOBS = '[queues.jobs]\nlease = "60s"\n'
GRACE = 3.0
BOUND = GRACE + 10.0


async def unavailable(inner: Any, settlements: Sequence[Any]) -> Any:
    return [Fault(FaultKind.UNAVAILABLE, "down")] * len(settlements)


async def refuses_to_extend(inner: Any, received: Sequence[Any], seconds: float) -> Any:
    return [Fault(FaultKind.UNAVAILABLE, "down")] * len(received)


never = "never"
HANGS: dict[str, dict[str, Any]] = {
    "settling never answers": {"settle": never},
    "settling fails while extending works": {"settle": unavailable},
    "nothing works": {"settle": unavailable, "extend": refuses_to_extend},
    "receiving never answers": {"receive": never},
    "stopping never answers": {"stop": never},
    "closing never answers": {"aclose": never},
    "nothing answers": {"receive": never, "settle": never, "extend": never, "stop": never, "aclose": never},
}


async def took(clock: polybus.ManualClock, task: asyncio.Task[Any]) -> float:
    """Let time pass until a task ends, and say how many seconds that were; at most a minute."""
    began = clock.monotonic()
    while not task.done() and clock.monotonic() - began < 60:
        await clock.advance(0.5)
    return clock.monotonic() - began


@pytest.mark.parametrize("script", HANGS.values(), ids=HANGS)
@pytest.mark.parametrize("whole", [False, True], ids=["the consumer", "the bus"])
async def test_a_drain_ends_in_time_whatever_the_backend_does(script: dict[str, Any], whole: bool) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    bus = polybus.connect(binding, clock=clock, driver=driver)
    await bus.__aenter__()

    async def handler(delivery: polybus.Delivery) -> None:
        if delivery.body == b"fails":
            raise ValueError("it fails")

    await bus.publish_many("jobs", [b"works", b"fails"])
    consumer = bus.consumer("jobs", handler, options=polybus.ConsumerOptions(grace=GRACE))
    running = asyncio.create_task(consumer.run())
    hung = Never()
    driver.script.update({name: hung if call is never else call for name, call in script.items()})
    await clock.settle()
    draining = asyncio.create_task(bus.aclose() if whole else consumer.drain())
    assert await took(clock, draining) <= BOUND
    await draining
    assert await took(clock, running) <= 1.0
    await running
    closing = asyncio.create_task(bus.aclose())
    assert await took(clock, closing) <= 10.0
    await closing
    hung.over.set()
    await clock.settle()


async def test_a_drain_goes_on_without_a_handler_that_swallows_its_cancellation_and_names_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = polybus.ManualClock()
    stuck = asyncio.Event()

    async def swallows(delivery: polybus.Delivery) -> None:
        while not stuck.is_set():
            try:
                await stuck.wait()
            except asyncio.CancelledError:
                continue

    async with polybus.connect(fresh(JOBS), clock=clock) as bus:
        identity = await bus.publish("jobs", b"work")
        options = polybus.ConsumerOptions(concurrency=1, grace=GRACE)
        consumer = bus.consumer("jobs", swallows, options=options)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        draining = asyncio.create_task(consumer.drain())
        assert await took(clock, draining) <= BOUND
        assert await took(clock, running) <= 1.0
        await running
        assert (await bus.stats("jobs")).waiting == 1
        assert identity in caplog.text
        assert "swallows" in caplog.text
        stuck.set()
        await clock.settle()
        assert (await bus.stats("jobs")).waiting == 1  # what it returns then counts no more


async def test_a_second_close_waits_for_the_first() -> None:
    clock = polybus.ManualClock()
    go_on, entered = asyncio.Event(), asyncio.Event()
    bus = polybus.connect(fresh(JOBS), clock=clock)
    await bus.__aenter__()

    async def handler(delivery: polybus.Delivery) -> None:
        entered.set()
        await go_on.wait()

    await bus.publish("jobs", b"work")
    running = asyncio.create_task(bus.consumer("jobs", handler).run())
    await entered.wait()
    closes = [asyncio.create_task(bus.aclose()) for _ in range(2)]
    await clock.settle()
    assert [close.done() for close in closes] == [False, False]
    go_on.set()
    await asyncio.gather(*closes, running)
    await bus.aclose()


async def test_a_receive_that_a_cancelled_redrive_began_strands_no_letter() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def receive(inner: Any, count: int, wait: float) -> Any:
        batch = await inner.receive_batch(count, wait=wait)
        reached.set()
        await go_on.wait()
        return batch

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("jobs", b"letter")
        async with bus.consume("jobs") as deliveries:
            await (await anext(deliveries)).dead_letter("for the test")
        driver.script["receive"] = receive
        redriving = asyncio.create_task(bus.dead_letters("jobs").redrive())
        await reached.wait()
        redriving.cancel()
        await clock.settle()
        go_on.set()
        await clock.advance(1)
        assert redriving.cancelled()
        stats = await bus.stats("jobs")
        assert stats.leased == 0
        assert (stats.waiting or 0) + (stats.dead or 0) == 1
