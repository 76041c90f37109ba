"""What an error says never keeps a message from its dead letters (contract, D6, D7), and signals are read in groups."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from drivers import Scripted, fresh

import polybus
from polybus.driver import Ack, ToDeadLetters
from polybus.errors import Fault, FaultKind
from polybus.testing.environment import Recorder

JOBS = '[queues.jobs]\nlease = "60s"\nmax_attempts = 1\n[queues.patient]\nmax_attempts = 5\n'


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even its text")


TEXTS = [
    "can't read caf\udce9",
    "a\x00b\x1b[31mc\x7f\u0085\ufffe",
    "x" * 1_000_000,
    "я" * 5_000,
    "😀" * 900,
    '"\\' * 900,
    "",
]


async def bury(binding: polybus.Binding, clock: polybus.ManualClock, error: BaseException, **more: Any) -> None:
    async def handler(delivery: polybus.Delivery) -> None:
        raise error

    async with polybus.connect(binding, clock=clock, **more) as bus:
        await bus.publish("jobs", b"work")
        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        await clock.advance(5)
        assert not running.done()
        await consumer.drain()
        await running


def spent(text: str) -> int:
    return len(json.dumps(text)) - 2


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:12]))
@pytest.mark.parametrize("wrap", [ValueError, lambda text: polybus.DeadLetter(text, text)], ids=["fails", "signals"])
async def test_any_text_of_an_error_reaches_the_dead_letters_within_the_bytes_kept_for_it(text: str, wrap: Any) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    await bury(binding, clock, wrap(text), driver=driver)
    (letter,) = driver.settled
    assert isinstance(letter, ToDeadLetters)
    assert spent(letter.description) <= 1024
    assert len(letter.reason) <= 128
    assert spent(letter.reason) <= 768
    for said in (letter.reason, letter.description):
        said.encode()  # no lone surrogate is left
        assert not any(ord(character) < 0x20 and character not in "\n\t" for character in said)


async def test_an_error_that_has_no_text_is_buried_by_its_name() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    await bury(binding, clock, Unspeakable(), driver=driver)
    (letter,) = driver.settled
    assert isinstance(letter, ToDeadLetters)
    assert (letter.reason, letter.description) == ("Unspeakable", "its __str__ raised RuntimeError")


@pytest.mark.parametrize("kind", [FaultKind.TOO_LARGE, FaultKind.INVALID])
async def test_a_letter_that_is_refused_is_tried_with_less_text(
    kind: FaultKind, caplog: pytest.LogCaptureFixture
) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def settle(inner: Any, settlements: Sequence[Any]) -> Any:
        if any(isinstance(each, ToDeadLetters) and each.description for each in settlements):
            return [Fault(kind, "no room for it")] * len(settlements)
        return await inner.settle_batch(settlements)

    driver.script["settle"] = settle
    await bury(binding, clock, ValueError("a long story"), driver=driver)
    assert [each.description for each in driver.settled if isinstance(each, ToDeadLetters)] == ["a long story", ""]
    assert "tried with less text" in caplog.text
    assert "no room for it" in caplog.text


async def test_one_settlement_that_spoils_a_whole_call_fails_alone() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def settle(inner: Any, settlements: Sequence[Any]) -> Any:
        if any(each.received.message.body == b"bad" for each in settlements):
            raise ValueError("the request is refused")
        return await inner.settle_batch(settlements)

    driver.script["settle"] = settle
    driver.fault = lambda error: Fault(FaultKind.INVALID, str(error))  # type: ignore[method-assign]
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish_many("jobs", [b"good", b"bad", b"fine"])
        acks = [(await anext(deliveries)).ack() for _ in range(3)]
        ends = await asyncio.gather(*acks, return_exceptions=True)
        assert [type(end) for end in ends] == [type(None), polybus.BackendError, type(None)]


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", list(errors))


@pytest.mark.parametrize(
    ("error", "outcome", "seconds"),
    [
        (group(polybus.Retry(after=300)), "nack", 300),
        (group(polybus.Retry(after=10), group(polybus.Retry(after=300))), "nack", 300),
        (group(ValueError(), polybus.Retry(after=300)), "nack", 300),
        (group(polybus.DeadLetter("bad-order", "no customer")), "dead_letter", 0),
        (group(polybus.Retry(), group(polybus.DeadLetter("bad-order"), ValueError())), "dead_letter", 0),
    ],
)
async def test_signals_in_a_group_are_obeyed(error: Exception, outcome: str, seconds: float) -> None:
    clock = polybus.ManualClock()
    recorder = Recorder()
    attempts: list[float] = []
    async with polybus.connect(fresh(JOBS), clock=clock, hooks=[recorder]) as bus:
        identity = await bus.publish("patient", b"work")

        async def handler(delivery: polybus.Delivery) -> None:
            attempts.append(clock.monotonic())
            if delivery.attempt == 1:
                raise error

        consumer = bus.consumer("patient", handler)
        running = asyncio.create_task(consumer.run())
        await clock.advance(seconds - 5 if seconds else 100)
        assert len(attempts) == 1
        await clock.advance(30)
        assert len(attempts) == (2 if seconds else 1)
        assert recorder.outcomes[0] == (identity, outcome)
        await consumer.drain()
        await running


async def test_a_block_absorbs_a_group_of_signals_and_raises_on_what_else_it_holds() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish_many("jobs", [b"one", b"two"])
        async with await anext(deliveries):
            raise group(polybus.DeadLetter("bad-order"))
        with pytest.raises(ExceptionGroup):
            async with await anext(deliveries):
                raise group(polybus.DeadLetter("bad-order"), ValueError())
        assert [each.reason for each in driver.settled if not isinstance(each, Ack)] == ["bad-order", "bad-order"]


class Later(polybus.Retry):
    """As written in a hurry: its constructor doesn't call the one of Retry."""

    def __init__(self, after: Any = ...) -> None:
        if after is not ...:
            self.after = after


class NoSuchCustomer(polybus.DeadLetter):
    def __init__(self, number: int) -> None:
        self.number = number


@pytest.mark.parametrize("in_group", [False, True])
@pytest.mark.parametrize(
    ("after", "seconds"), [(..., 1), (None, 1), ("3", 1), (float("nan"), 1), (7, 7), (-1, 0), (float("inf"), 600)]
)
async def test_a_subclass_of_retry_may_say_what_it_likes(after: Any, seconds: float, in_group: bool) -> None:
    clock = polybus.ManualClock()
    attempts: list[float] = []
    queue = '[queues.jobs]\nlease = "60s"\nmax_attempts = 5\nbackoff = { initial = "1s", maximum = "1s" }\n'
    async with polybus.connect(fresh(queue), clock=clock) as bus:
        await bus.publish("jobs", b"work")

        async def handler(delivery: polybus.Delivery) -> None:
            attempts.append(clock.monotonic())
            if delivery.attempt == 1:
                raise group(polybus.Retry(after=0), Later(after)) if in_group else Later(after)

        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        await clock.advance(700)
        assert not running.done()
        await consumer.drain()
        await running
    first, second = attempts
    if in_group and seconds == 1:  # says nothing: the other's word counts
        assert second == first
    else:
        assert seconds / 2 <= second - first <= seconds


async def test_a_subclass_of_dead_letter_is_buried_by_its_name() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    await bury(binding, clock, NoSuchCustomer(5), driver=driver)
    (letter,) = driver.settled
    assert isinstance(letter, ToDeadLetters)
    assert (letter.reason, letter.description) == ("NoSuchCustomer", "5")
