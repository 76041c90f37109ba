"""Deliveries whose invocation is cancelled: by the end of its time, by its owner, and neither for the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shop import binding

from polybus import ConsumerOptions, Delivery, ManualClock
from polybus.driver import Received, ToDeadLetters
from polybus.errors import Fault
from polybus.message import Message
from polybus.serverless.inlet import Inlet, Verdict
from polybus.telemetry import Hooks, NoHooks, Settled

Handler = Callable[[Delivery], Awaitable[None]]


class Outcomes(NoHooks):
    def __init__(self) -> None:
        self.all: list[str] = []

    def settled(self, event: Settled) -> None:
        self.all.append(event.outcome)


def inlet(clock: ManualClock, handler: Handler, *, max_attempts: int = 5, hooks: Hooks | None = None) -> Inlet:
    source = binding("aws", max_attempts=max_attempts).source("billing")
    return Inlet(source, handler, ConsumerOptions(), backend="aws", clock=clock, hooks=hooks)


def received(clock: ManualClock, seconds: float = 60.0) -> Received[str]:
    return Received(Message(b"{}", id="m1"), 1, clock.monotonic() + seconds, "receipt")


async def fails(delivery: Delivery) -> None:
    raise ValueError("it fails")


def endless() -> tuple[asyncio.Event, Callable[[ToDeadLetters[str]], Awaitable[Fault | None]]]:
    """Give a way to bury letters that never ends by itself, and the event that says it has begun."""
    sending = asyncio.Event()

    async def bury(letter: ToDeadLetters[str]) -> Fault | None:
        sending.set()
        await asyncio.Event().wait()
        raise AssertionError("it was cut off")

    return sending, bury


async def test_time_that_ends_while_a_dead_letter_is_sent_ends_the_delivery_and_not_its_caller() -> None:
    clock, hooks = ManualClock(), Outcomes()
    sending, bury = endless()
    call = asyncio.create_task(inlet(clock, fails, max_attempts=1, hooks=hooks).deliver(received(clock), bury))
    await sending.wait()
    await clock.advance(61)
    assert await call is Verdict.AGAIN
    assert hooks.all == ["lease_lost"]
    assert call.cancelling() == 0


async def test_a_drain_while_a_dead_letter_is_sent_ends_the_delivery_and_not_its_caller() -> None:
    clock = ManualClock()
    sending, bury = endless()
    place = inlet(clock, fails, max_attempts=1)
    call = asyncio.create_task(place.deliver(received(clock), bury))
    await sending.wait()
    draining = asyncio.create_task(place.drain(5))
    await clock.advance(6)
    await draining
    assert await call is Verdict.AGAIN
    assert call.cancelling() == 0


async def test_the_owners_cancellation_goes_through_while_a_dead_letter_is_sent() -> None:
    clock = ManualClock()
    sending, bury = endless()
    place = inlet(clock, fails, max_attempts=1)
    call = asyncio.create_task(place.deliver(received(clock), bury))
    await sending.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert place.in_flight == 0


async def test_a_handler_that_turns_its_cancellation_into_an_error_leaves_no_trace_in_its_caller() -> None:
    clock, begun = ManualClock(), asyncio.Event()
    requests: list[int] = []

    async def handler(delivery: Delivery) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("what a library makes of it") from None

    async def call() -> Verdict:
        verdict = await inlet(clock, handler).deliver(received(clock))
        task = asyncio.current_task()
        assert task is not None
        requests.append(task.cancelling())
        return verdict

    calling = asyncio.create_task(call())
    await begun.wait()
    await clock.advance(61)
    assert await calling is Verdict.AGAIN
    assert requests == [0]


async def test_a_drain_is_not_held_up_by_a_handler_that_goes_on_after_its_ack() -> None:
    clock, begun = ManualClock(), asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        await delivery.ack()
        begun.set()
        await asyncio.Event().wait()

    place = inlet(clock, handler)
    call = asyncio.create_task(place.deliver(received(clock)))
    await begun.wait()
    draining = asyncio.create_task(place.drain(5))
    await clock.advance(6)
    await draining
    assert await call is Verdict.DONE


async def test_what_waits_for_a_slot_when_a_drain_begins_is_not_handled() -> None:
    clock, begun = ManualClock(), asyncio.Event()
    handled: list[str] = []

    async def handler(delivery: Delivery) -> None:
        handled.append(delivery.id)
        begun.set()
        await asyncio.Event().wait()

    source = binding("aws").source("billing")
    place = Inlet(source, handler, ConsumerOptions(concurrency=1), backend="aws", clock=clock, hooks=None)
    first = asyncio.create_task(place.deliver(received(clock)))
    await begun.wait()
    second = asyncio.create_task(place.deliver(received(clock)))
    await clock.settle()
    draining = asyncio.create_task(place.drain(5))
    await clock.advance(6)
    await draining
    assert (await first, await second) == (Verdict.AGAIN, Verdict.AGAIN)
    assert handled == ["m1"]
