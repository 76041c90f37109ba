"""Who was cancelled, and by whom: a handler's own end is its failure, and nobody else's (contract, D15)."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import msgspec
import pytest

import polybus
from polybus.bus.delivery import held_of
from polybus.embedded.memory import Store
from polybus.embedded.plan import local_binding
from polybus.registry import load
from polybus.testing.environment import Recorder
from polybus.testing.faults import Operation
from polybus.testing.faulty_driver import FaultyDriver
from polybus.topology.file import loads

TOPOLOGY = loads(
    '[bus]\nname = "who"\n[queues.jobs]\nlease = "60s"\nmax_attempts = 2\n'
    'backoff = { initial = "1s", maximum = "1s" }\n',
    source="polybus.toml",
)
Handler = Callable[[polybus.Delivery], Awaitable[None]]


def fresh() -> polybus.Binding:
    """Return a binding of a store that is this test's own."""
    return msgspec.structs.replace(local_binding(TOPOLOGY, backend="memory"), settings={"store": Store()})


class Panic(BaseException):
    """What a Rust extension raises where it panics."""


def current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def awaits_a_cancelled_task() -> None:
    inner = asyncio.create_task(asyncio.Event().wait())
    inner.cancel()
    await inner


async def raises_it() -> None:
    raise asyncio.CancelledError


async def cancels_itself() -> None:
    current().cancel()
    await asyncio.Event().wait()


async def cancels_itself_and_fails() -> None:
    current().cancel()
    raise ValueError("before the next await")


async def waits_for_a_thread_that_was_cancelled() -> None:
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.cancel()
    await asyncio.wrap_future(future)


async def raises_a_base_exception() -> None:
    raise Panic


async def raises_a_group_of_them() -> None:
    raise BaseExceptionGroup("several", [Panic(), ValueError()])


async def raises_what_closes_generators() -> None:
    raise GeneratorExit


ODD = [
    awaits_a_cancelled_task,
    raises_it,
    cancels_itself,
    cancels_itself_and_fails,
    waits_for_a_thread_that_was_cancelled,
    raises_a_base_exception,
    raises_a_group_of_them,
    raises_what_closes_generators,
]
named = pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.__name__)


async def handled(clock: polybus.ManualClock, handler: Handler, bodies: list[bytes], concurrency: int) -> list[str]:
    """Handle messages for a minute, and return the reasons of the dead letters; the consumer must outlive it."""
    async with polybus.connect(fresh(), clock=clock) as bus:
        for body in bodies:
            await bus.publish("jobs", body)
        consumer = bus.consumer("jobs", handler, options=polybus.ConsumerOptions(concurrency=concurrency))
        running = asyncio.create_task(consumer.run())
        await clock.advance(60)
        assert not running.done()
        assert consumer.problem is None
        await consumer.drain()
        await running
        return [letter.reason or "" async for letter in bus.dead_letters("jobs").peek()]


@named
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_it_is_a_failed_attempt_of_that_handler_alone(
    odd: Callable[[], Awaitable[None]], concurrency: int
) -> None:
    clock = polybus.ManualClock()
    attempts: list[int] = []
    others: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        if delivery.body != b"odd":
            await asyncio.sleep(0)
            others.append(delivery.body)
            return
        attempts.append(delivery.attempt)
        await odd()

    reasons = await handled(clock, handler, [b"one", b"odd", b"two", b"three"], concurrency)
    assert attempts == [1, 2]
    assert len(reasons) == 1
    assert sorted(others) == [b"one", b"three", b"two"]


async def test_a_handler_that_cancels_itself_and_returns_is_done_and_the_next_is_handled() -> None:
    clock = polybus.ManualClock()
    seen: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        seen.append(delivery.body)
        if delivery.body == b"one":
            current().cancel()

    assert await handled(clock, handler, [b"one", b"two", b"three"], 1) == []
    assert seen == [b"one", b"two", b"three"]


async def test_who_cancels_the_task_of_a_handler_later_meets_no_other_message() -> None:
    clock = polybus.ManualClock()
    done: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        if delivery.body == b"one":
            await asyncio.sleep(0)
            clock.call_later(1.0, current().cancel)  # as a timer does that nobody stopped
        else:
            await clock.sleep(5)
        done.append(delivery.body)

    assert await handled(clock, handler, [b"one", b"two"], 1) == []
    assert done == [b"one", b"two"]


@pytest.mark.parametrize(
    "odd",
    [awaits_a_cancelled_task, raises_it, waits_for_a_thread_that_was_cancelled, raises_a_base_exception],
    ids=lambda odd: odd.__name__,
)
async def test_in_a_block_of_the_users_own_task_it_is_a_failure_and_raised_on(
    odd: Callable[[], Awaitable[None]],
) -> None:
    clock = polybus.ManualClock()
    async with polybus.connect(fresh(), clock=clock) as bus:
        await bus.publish("jobs", b"odd")
        attempts: list[int] = []
        async with bus.consume("jobs") as deliveries:
            for _ in range(2):
                await clock.advance(2)
                delivery = await anext(deliveries)
                attempts.append(delivery.attempt)
                with pytest.raises(BaseException):  # noqa: B017, PT011 - each raises its own
                    async with delivery:
                        await odd()
                assert current().cancelling() == 0
        assert attempts == [1, 2]
        assert len([letter async for letter in bus.dead_letters("jobs").peek()]) == 1


async def test_the_users_cancellation_of_a_block_is_the_users_and_no_failure() -> None:
    clock = polybus.ManualClock()
    async with polybus.connect(fresh(), clock=clock) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"work")
        entered = asyncio.Event()

        async def work() -> None:
            async with await anext(deliveries):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        await clock.settle()
        assert task.cancelled()
        again = await anext(deliveries)
        assert again.body == b"work"
        await again.ack()


async def test_a_timeout_around_a_block_stays_a_timeout() -> None:
    clock = polybus.ManualClock()
    async with polybus.connect(fresh(), clock=clock) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"work")
        delivery = await anext(deliveries)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), delivery:
                await asyncio.Event().wait()
        assert current().cancelling() == 0


@pytest.mark.parametrize("acks", [False, True])
async def test_a_lease_that_a_blocked_loop_lost_is_told_by_the_block_and_by_nothing_after(acks: bool) -> None:
    clock = polybus.ManualClock()

    async def work(delivery: polybus.Delivery) -> None:
        async with delivery:
            stand_still(clock, 90)
            if acks:
                await delivery.ack()

    async with polybus.connect(fresh(), clock=clock) as bus, bus.consume("jobs", concurrency=1) as deliveries:
        await bus.publish("jobs", b"work")
        delivery = await anext(deliveries)
        with pytest.raises(polybus.LeaseLost):
            await work(delivery)
        await asyncio.sleep(0)
        assert current().cancelling() == 0


def stand_still(clock: polybus.ManualClock, seconds: float) -> None:
    """Let time pass without the loop: as a handler does that blocks, or a process that is stopped."""
    clock._now += seconds


async def test_a_lost_lease_cancels_a_block_that_waits_and_is_told_as_such() -> None:
    clock = polybus.ManualClock()
    binding = fresh()
    driver = FaultyDriver(load("memory")(binding, clock), clock)
    async with (
        polybus.connect(binding, clock=clock, driver=driver) as bus,
        bus.consume("jobs", concurrency=1) as deliveries,
    ):
        driver.faults.fail(Operation.EXTEND, polybus.Fault(polybus.FaultKind.UNAVAILABLE, "not now"), times=1_000)
        await bus.publish("jobs", b"work")
        delivery = await anext(deliveries)

        async def work() -> int:
            with pytest.raises(polybus.LeaseLost):
                async with delivery:
                    await asyncio.Event().wait()
            await asyncio.sleep(0)
            return current().cancelling()

        working = asyncio.create_task(work())
        await clock.settle()
        await clock.advance(61)
        assert await working == 0


async def test_a_block_within_a_handler_is_part_of_it() -> None:
    clock = polybus.ManualClock()
    recorder = Recorder()
    states: list[bool] = []
    async with polybus.connect(fresh(), clock=clock, hooks=[recorder]) as bus:
        identity = await bus.publish("jobs", b"work")

        async def handler(delivery: polybus.Delivery) -> None:
            async with delivery:
                pass
            states.append(held_of(delivery).running)

        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        await clock.advance(1)
        await consumer.drain()
        await running
    assert states == [True]
    assert recorder.outcomes == [(identity, "ack")]


async def test_what_one_handler_sets_in_its_context_the_next_does_not_see() -> None:
    clock = polybus.ManualClock()
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []

    async def handler(delivery: polybus.Delivery) -> None:
        seen.append(tenant.get())
        tenant.set(delivery.body.decode())
        if delivery.body != b"one":
            await asyncio.sleep(0)
        seen.append(tenant.get())

    assert await handled(clock, handler, [b"one", b"two", b"three"], 1) == []
    assert seen == ["nobody", "one", "nobody", "two", "nobody", "three"]


@pytest.mark.parametrize("in_group", [False, True])
def test_what_ends_a_process_ends_the_run_and_gives_its_message_back(in_group: bool) -> None:
    clock = polybus.ManualClock()
    waiting: list[int | None] = []

    async def handler(delivery: polybus.Delivery) -> None:
        raise BaseExceptionGroup("both", [ValueError(), SystemExit(3)]) if in_group else SystemExit(3)

    async def main() -> None:
        async with polybus.connect(fresh(), clock=clock) as bus:
            await bus.publish("jobs", b"work")
            try:
                await bus.consumer("jobs", handler).run()
            finally:
                waiting.append((await bus.stats("jobs")).waiting)

    with pytest.raises(SystemExit) as ended:
        asyncio.run(main())
    assert ended.value.code == 3
    assert waiting == [1]
