"""Nothing is handled, acked or given back on a lease that is over by our own clock (contract, D2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from drivers import Scripted, ScriptedConsumer, fresh, stand_still

import polybus
from polybus.driver import Ack, BatchLimits, LeaseUntil, Received
from polybus.errors import BackendError, Fault, FaultKind

LEASE = 60.0
JOBS = '[queues.jobs]\nlease = "60s"\n[queues.serial]\nordered = true\nlease = "60s"\n'
ONE = polybus.ConsumerOptions(concurrency=1, prefetch=4)
sources = pytest.mark.parametrize("source", ["jobs", "serial"])


@sources
async def test_what_was_prefetched_when_the_loop_stood_still_is_not_handled(
    source: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    handled: list[tuple[bytes, int, bool]] = []

    async def handler(delivery: polybus.Delivery) -> None:
        handled.append((delivery.body, delivery.attempt, delivery.redelivered))
        if len(handled) == 1:
            stand_still(clock, 1.5 * LEASE)

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        for body in (b"one", b"two", b"three"):
            await bus.publish(source, body, ordering_key="k" if source == "serial" else None)
        consumer = bus.consumer(source, handler, options=ONE)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        await clock.advance(5)
        await consumer.drain()
        await running
    # Each that was held is lost with the lease, the first too; all come again, in order, and say so.
    again = [(b"one", 2, True), (b"two", 2, True), (b"three", 2, True)]
    assert handled[0] == (b"one", 1, False)
    assert (handled[1:] if source == "serial" else sorted(handled[1:])) == (
        again if source == "serial" else sorted(again)
    )
    lost = [record.getMessage() for record in caplog.records if "was lost after" in record.getMessage()]
    assert len(lost) == 3
    assert all("1m30s" in line and "attempt 1" in line and source in line for line in lost)


@sources
async def test_a_handler_is_told_of_its_lost_lease_before_another_has_the_message(source: str) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    seen: list[tuple[str, int]] = []

    async def receive(inner: Any, count: int, wait: float) -> Sequence[Received[Any]]:
        if seen:  # the message comes again before the timer of its lease has had its turn
            del driver.script["receive"]
            stand_still(clock, 1.5 * LEASE)
        batch: Sequence[Received[Any]] = await inner.receive_batch(count, wait=wait)
        return batch

    async def handler(delivery: polybus.Delivery) -> None:
        seen.append(("begun", delivery.attempt))
        if delivery.attempt > 1:
            return
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(("lost" if delivery.lost else "cancelled", delivery.attempt))

    driver.script["receive"] = receive
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish(source, b"one", ordering_key="k" if source == "serial" else None)
        consumer = bus.consumer(source, handler, options=polybus.ConsumerOptions(concurrency=2, prefetch=4))
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        await clock.advance(LEASE / 2)  # until the next receive
        await clock.advance(1)
        await consumer.drain()
        await running
    assert seen == [("begun", 1), ("lost", 1), ("begun", 2)]


@sources
async def test_what_comes_with_its_lease_over_is_not_handled_and_told_once_a_minute(
    source: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    handled: list[int] = []
    late = True

    async def receive(inner: Any, count: int, wait: float) -> Sequence[Received[Any]]:
        batch: Sequence[Received[Any]] = await inner.receive_batch(count, wait=wait)
        if not late:
            return batch
        return [msgspec.structs.replace(each, lease_until=clock.monotonic() - 3.0) for each in batch]

    async def handler(delivery: polybus.Delivery) -> None:
        handled.append(delivery.attempt)

    driver.script["receive"] = receive
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish(source, b"one", ordering_key="k" if source == "serial" else None)
        consumer = bus.consumer(source, handler)
        running = asyncio.create_task(consumer.run())
        await clock.advance(30)
        await bus.publish("jobs", b"another") if source == "jobs" else None
        await clock.advance(20)
        assert handled == []
        assert driver.settled == []  # it isn't ours to settle
        said = [r for r in caplog.records if "already over" in r.getMessage()]
        assert [record.levelno for record in said] == [logging.WARNING]
        assert "clock is ahead" in said[0].getMessage()
        late = False
        await clock.advance(2 * LEASE)
        assert handled == ([2, 2] if source == "jobs" else [2])
        await consumer.drain()
        await running


async def test_an_answer_that_came_one_and_a_half_leases_late_is_not_handled() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    attempts: list[int] = []
    held = True

    async def receive(inner: Any, count: int, wait: float) -> Sequence[Received[Any]]:
        nonlocal held
        batch: Sequence[Received[Any]] = await inner.receive_batch(count, wait=wait)
        if batch and held:
            held = False
            await clock.sleep(1.5 * LEASE)
        return batch

    async def handler(delivery: polybus.Delivery) -> None:
        attempts.append(delivery.attempt)

    driver.script["receive"] = receive
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("jobs", b"one")
        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        await clock.advance(3 * LEASE)
        assert attempts == [2]
        await consumer.drain()
        await running


async def test_a_handler_that_ends_after_its_lease_acks_nothing_and_the_next_goes_on() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    bodies: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        bodies.append(delivery.body)
        if delivery.attempt == 1 and delivery.body == b"slow":
            stand_still(clock, LEASE + 1)

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("jobs", b"slow")
        consumer = bus.consumer("jobs", handler, options=polybus.ConsumerOptions(concurrency=1))
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        await bus.publish("jobs", b"next")
        await clock.advance(5)
        assert sorted(bodies) == [b"next", b"slow", b"slow"]
        assert all(isinstance(each, Ack) for each in driver.settled)
        assert sorted(each.received.attempt for each in driver.settled) == [1, 2]
        slow = [each.received.attempt for each in driver.settled if each.received.message.body == b"slow"]
        assert slow == [2]
        await consumer.drain()
        await running


async def test_a_block_is_not_entered_on_a_lease_that_is_over() -> None:
    clock = polybus.ManualClock()
    async with polybus.connect(fresh(JOBS), clock=clock) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"one")
        delivery = await anext(deliveries)
        stand_still(clock, LEASE + 1)
        with pytest.raises(polybus.LeaseLost):
            await delivery.__aenter__()
        assert delivery.lost


@pytest.mark.parametrize(
    ("granted", "lost"), [(-1.0, True), (20.0, False)], ids=["over by the answer's own word", "good"]
)
async def test_an_extension_counts_by_what_was_granted(granted: float, lost: bool) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def extend(inner: Any, received: Sequence[Received[Any]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        return [LeaseUntil(clock.monotonic() + granted)] * len(received)

    driver.script["extend"] = extend
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"one")
        delivery = await anext(deliveries)
        await clock.advance(LEASE / 2 + 1)
        assert delivery.lost is lost


async def test_an_extension_that_is_not_answered_is_asked_for_again_within_the_lease() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    calls = 0

    async def extend(inner: Any, received: Sequence[Received[Any]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        answer: Sequence[LeaseUntil | Fault] = await inner.extend_batch(received, seconds)
        return answer

    driver.script["extend"] = extend
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"one")
        delivery = await anext(deliveries)
        await clock.advance(LEASE + 5)
        assert calls >= 2
        assert not delivery.lost
        await delivery.ack()


@pytest.mark.parametrize("answers", [[], None, [None], ["yes", "no"]], ids=["few", "none", "odd", "many"])
async def test_wrong_answers_to_an_extension_are_said_and_lose_the_lease_aloud(
    answers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def extend(inner: Any, received: Any, seconds: float) -> Any:
        return answers

    driver.script["extend"] = extend
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"one")
        delivery = await anext(deliveries)
        await clock.advance(LEASE + 1)
        assert delivery.lost
    assert "a bug of this backend" in caplog.text
    assert f"the lease of message {delivery.id} of 'jobs', attempt 1, was lost after 1m00s" in caplog.text


@pytest.mark.parametrize("answer", ["raises", "answers", "cancelled", "hangs"])
async def test_why_a_lease_could_not_be_extended_is_said(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def extend(inner: Any, received: Any, seconds: float) -> Any:
        match answer:
            case "raises":
                raise BackendError(Fault(FaultKind.UNAVAILABLE, "the way is down"))
            case "answers":
                return [Fault(FaultKind.THROTTLED, "the way is down")] * len(received)
            case "cancelled":
                raise asyncio.CancelledError
            case _:
                await asyncio.Event().wait()
        return None

    driver.script["extend"] = extend
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"one")
        await anext(deliveries)
        await clock.advance(LEASE + 1)
    [line] = [each.message for each in caplog.records if "was lost" in each.message]
    why = {"cancelled": "was cut off, though nobody here did it", "hangs": "no answer within"}
    assert "it could not be extended; last: " in line
    assert why.get(answer, "the way is down") in line


async def test_a_settlement_that_is_not_answered_ends_with_the_lease_and_not_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def settle(inner: Any, settlements: Any) -> Any:
        await asyncio.Event().wait()

    driver.script["settle"] = settle
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs", grace=0) as deliveries:
        await bus.publish("jobs", b"one")
        delivery = await anext(deliveries)
        await clock.advance(10)
        acking = asyncio.create_task(delivery.ack())
        await clock.advance(LEASE - 11)
        assert not acking.done()
        await clock.advance(2)
        assert acking.done()
        with pytest.raises(polybus.LeaseLost):
            await acking
        del driver.script["settle"]
    assert "may have been done" in caplog.text
    assert [record.levelno for record in caplog.records if "was lost after" in record.getMessage()] == [logging.WARNING]


async def test_an_ack_that_can_not_be_written_in_time_is_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def settle(inner: Any, settlements: Sequence[Any]) -> Any:
        return [Fault(FaultKind.UNAVAILABLE, "locked")] * len(settlements)

    async def handler(delivery: polybus.Delivery) -> None:
        pass

    driver.script["settle"] = settle
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("jobs", b"one")
        consumer = bus.consumer("jobs", handler, options=polybus.ConsumerOptions(grace=0))
        running = asyncio.create_task(consumer.run())
        await clock.advance(LEASE + 1)
        said = [record for record in caplog.records if "was lost after" in record.getMessage()]
        assert [record.levelno for record in said] == [logging.WARNING]
        assert "unavailable: locked" in said[0].getMessage()
        del driver.script["settle"]
        draining = asyncio.create_task(consumer.drain())
        await clock.advance(12)
        await draining
        await running


@pytest.mark.parametrize("how", ["on arrival", "while it is handled", "as it is settled"])
async def test_the_driver_is_told_what_is_given_up_unsettled(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """What it has at hand of the same group comes again behind that; a driver that fails at it breaks nothing else."""
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    told: list[tuple[bytes, int]] = []
    handled: list[int] = []

    async def receive(inner: Any, count: int, wait: float) -> Sequence[Received[Any]]:
        batch: Sequence[Received[Any]] = await inner.receive_batch(count, wait=wait)
        over = how == "on arrival" and not told
        return [msgspec.structs.replace(each, lease_until=-1.0) for each in batch] if over else batch

    async def settle(inner: Any, settlements: Sequence[Any]) -> Sequence[Fault | None]:
        if how == "as it is settled" and not told:
            return [Fault(FaultKind.LEASE_LOST, "the test says so")] * len(settlements)
        answers: Sequence[Fault | None] = await inner.settle_batch(settlements)
        return answers

    def lost(received: Received[Any]) -> None:
        told.append((received.message.body, received.attempt))
        raise RuntimeError("a slip of the driver's")

    async def handler(delivery: polybus.Delivery) -> None:
        handled.append(delivery.attempt)
        if how == "while it is handled" and not told:
            stand_still(clock, 1.5 * LEASE)

    driver.script.update(receive=receive, settle=settle, lost=lost)
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("serial", b"one", ordering_key="k")
        consumer = bus.consumer("serial", handler)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        await clock.advance(2 * LEASE)
        await consumer.drain()
        await running
    assert told == [(b"one", 1)]
    assert handled[-1] == 2
    assert "can't be told of a lost delivery" in caplog.text


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("turns", range(6))
async def test_what_was_to_be_settled_when_the_loop_stood_still_is_not_settled_any_more(
    turns: int, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    late: list[Any] = []

    async def settle(inner: Any, settlements: Sequence[Any]) -> Any:
        late.extend(each for each in settlements if each.received.lease_until <= clock.monotonic())
        return await inner.settle_batch(settlements)

    def later(left: int) -> None:
        if left:
            asyncio.get_running_loop().call_soon(later, left - 1)
        else:
            stand_still(clock, 1.5 * LEASE)

    async def handler(delivery: polybus.Delivery) -> None:
        if delivery.attempt == 1:
            later(turns)
            if fails:
                raise ValueError

    driver.script["settle"] = settle
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("jobs", b"one")
        consumer = bus.consumer("jobs", handler, options=ONE)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        await clock.advance(5)
        await consumer.drain()
        await running
        assert (await bus.stats("jobs")).waiting == 0
    assert not late
    if turns == 1:
        assert "stood still until" in caplog.text


async def test_what_was_to_be_extended_when_the_loop_stood_still_is_not_extended_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    asked: list[bool] = []

    async def extend(inner: Any, received: Sequence[Received[Any]], seconds: float) -> Any:
        asked.extend(each.lease_until > clock.monotonic() for each in received)
        stand_still(clock, LEASE)  # before the other call has begun
        return await inner.extend_batch(received, seconds)

    driver.script["extend"] = extend
    monkeypatch.setattr(ScriptedConsumer, "limits", BatchLimits(1, 1_000_000))
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs", grace=0) as deliveries:
        await bus.publish_many("jobs", [b"one", b"two"])
        first, second = await anext(deliveries), await anext(deliveries)
        await clock.advance(LEASE / 2 + 1)
        assert asked == [True]
        assert first.lost
        assert second.lost


async def test_d3_what_eager_tasks_answer_at_once_is_settled_and_extended() -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory", None))  # from Python 3.12 on
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    handled: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        handled.append(delivery.body)
        await clock.sleep(2 * LEASE)

    async with polybus.connect(binding, clock=clock) as bus:
        for source in ("jobs", "serial"):
            key = "k" if source == "serial" else None
            for n in range(3):
                await bus.publish(source, b"%d" % n, ordering_key=key)
            consumer = bus.consumer(source, handler, options=ONE)
            running = asyncio.create_task(consumer.run())
            await clock.advance(7 * LEASE)
            await consumer.drain()
            await running
            assert handled == [b"0", b"1", b"2"]
            handled.clear()
            stats = await bus.stats(source)
            assert (stats.waiting, stats.leased) == (0, 0)


async def test_what_is_acked_while_it_is_extended_is_not_lost() -> None:
    """The backend has settled it when it comes to the extension, and says that there is no such lease."""
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    asked, acked, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def extend(inner: Any, received: Sequence[Received[Any]], seconds: float) -> Any:
        asked.set()
        await acked.wait()
        answers = await inner.extend_batch(received, seconds)
        asyncio.get_running_loop().call_soon(told.set)
        return answers

    async def settle(inner: Any, settlements: Sequence[Any]) -> Any:
        answers = await inner.settle_batch(settlements)
        acked.set()
        await told.wait()
        return answers

    driver.script |= {"extend": extend, "settle": settle}
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("jobs", b"x")
        async with bus.consume("jobs") as deliveries:
            delivery = await anext(deliveries)
            await clock.advance(31)
            await asked.wait()
            await delivery.ack()
            assert delivery.settled
            assert not delivery.lost
