"""A bus belongs to the process and the event loop that opened it: use elsewhere is refused, never waited for."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable

from drivers import fresh

import polybus

JOBS = '[queues.jobs]\nlease = "60s"\n'


def uses(
    bus: polybus.Bus, delivery: polybus.Delivery, deliveries: polybus.Consumption
) -> list[Callable[[], Awaitable[object]]]:
    async def ignore(delivery: polybus.Delivery) -> None:
        pass

    async def look() -> None:
        async for _ in bus.peek("jobs"):
            pass

    return [
        lambda: bus.publish("jobs", b"elsewhere"),
        lambda: bus.publish_many("jobs", [b"elsewhere"]),
        lambda: bus.stats("jobs"),
        lambda: bus.ping(),
        look,
        lambda: bus.consumer("jobs", ignore).run(),
        lambda: bus.consume("jobs").__aenter__(),
        lambda: bus.dead_letters("jobs").redrive(),
        lambda: deliveries.__anext__(),
        lambda: deliveries.drain(0),
        lambda: delivery.ack(),
        lambda: delivery.nack(),
        lambda: delivery.__aenter__(),
    ]


async def refusals(calls: list[Callable[[], Awaitable[object]]]) -> list[str]:
    said = []
    for call in calls:
        try:
            async with asyncio.timeout(5):
                await call()
            said.append("it was done")
        except polybus.BusClosed as error:
            said.append(str(error))
        except BaseException as error:  # noqa: BLE001 - to be told apart
            said.append(repr(error))
    return said


async def test_every_use_on_another_loop_is_refused() -> None:
    async with polybus.connect(fresh(JOBS), clock=polybus.SystemClock()) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"work")
        delivery = await anext(deliveries)
        told: list[str] = []
        calls = uses(bus, delivery, deliveries)
        thread = threading.Thread(target=lambda: told.extend(asyncio.run(refusals(calls))))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert len(told) == len(calls)
        assert all("another event loop" in each for each in told), told
        await delivery.ack()


def in_child(work: Callable[[], Awaitable[object]]) -> str:
    """Run a coroutine in a forked child, on a loop of its own, and return what it gives, as text."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            os.write(write, repr(asyncio.run(within(work))).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as said:
        text = said.read().decode()
    os.waitpid(child, 0)
    return text


async def within(work: Callable[[], Awaitable[object]]) -> object:
    async with asyncio.timeout(20):
        return await work()


def test_every_use_in_a_fork_is_refused_and_closing_there_does_nothing() -> None:
    async def opened() -> tuple[polybus.Bus, polybus.Delivery, polybus.Consumption]:
        bus = polybus.connect(fresh(JOBS), clock=polybus.SystemClock())
        await bus.__aenter__()
        deliveries = await bus.consume("jobs").__aenter__()
        await bus.publish("jobs", b"work")
        return bus, await anext(deliveries), deliveries

    with asyncio.Runner() as runner:
        bus, delivery, deliveries = runner.run(opened())

        async def use() -> list[str]:
            told = await refusals(uses(bus, delivery, deliveries))
            await bus.aclose()
            return [each for each in told if "is its fork" not in each]

        assert in_child(use) == "[]"
        runner.run(delivery.ack())
        runner.run(bus.aclose())
