"""Each publish ends by its deadline, and one bad message fails one, whatever the driver does (contract, P2 and P5)."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from bent import DENIED, DOWN, Bent, Publish, Refused, bend, delivered, kind, kinds
from drivers import stand_still

import polybus
from polybus.driver import BatchLimits, Prepared, PublisherDriver
from polybus.errors import Fault, FaultKind
from polybus.message import Message, Sent
from polybus.testing.proxy import DriverProxy, PublisherProxy

Batch = Sequence[Prepared[Any]]


async def never(*_: object) -> Any:
    await asyncio.Event().wait()


class Stubborn:
    """Hangs, and goes on when it is cancelled, until the test is over."""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    async def __call__(self, *_: object) -> Any:
        while not self._over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self._over.wait()

    def end(self) -> None:
        self._over.set()


@pytest.fixture
async def stubborn() -> AsyncIterator[Stubborn]:
    hanging = Stubborn()
    yield hanging
    hanging.end()
    await asyncio.sleep(0)


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_driver_that_never_answers_ends_each_message_by_its_own_deadline(
    stubborn: Stubborn, swallows: bool
) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=10.0, max_outstanding=3)
    driver.calls = stubborn if swallows else never
    async with bus:
        first = asyncio.create_task(bus.publish("serial", b"1", ordering_key="k"))
        await clock.advance(4)
        second = asyncio.create_task(bus.publish("serial", b"2", ordering_key="other"))
        waiting = [asyncio.create_task(bus.publish("serial", b"more", ordering_key=f"{n}")) for n in range(3)]
        await clock.advance(5.9)
        assert not first.done()
        await clock.advance(0.2)
        assert first.done()
        assert not second.done()
        await clock.advance(4)
        assert await kinds(first, second) == [FaultKind.TIMEOUT] * 2
        assert set(await kinds(*waiting)) <= {FaultKind.TIMEOUT, FaultKind.DEADLINE}
        with pytest.raises(polybus.PublishFailed, match="may have been done"):
            await first
        assert await kinds(asyncio.create_task(bus.publish("serial", b"3", ordering_key="k"))) == [
            FaultKind.KEY_BLOCKED
        ]
        driver.calls = None
        bus.resume("serial")
        assert await bus.publish("serial", b"4", ordering_key="k")
        closing = asyncio.create_task(bus.aclose())
        await clock.advance(20)
        assert closing.done()
    await closing


async def test_a_last_try_that_is_not_answered_tells_what_the_one_before_failed_with() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=10.0)
    tries = 0

    async def once_refused(*_: object) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Refused(DOWN)
        await never()

    driver.calls = once_refused
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.advance(5)
        assert tries == 2
        await clock.advance(6)
        with pytest.raises(polybus.PublishFailed) as failed:
            await publishing
    [fault] = failed.value.faults
    assert fault.kind is FaultKind.TIMEOUT
    assert str(fault).endswith(f"it may have been done; the try before it: {DOWN}")


async def test_an_opening_that_never_ends_is_bounded_too(stubborn: Stubborn) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=10.0)
    driver.opens = stubborn
    async with bus:
        waiting = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.advance(11)
        assert await kinds(waiting) == [FaultKind.DEADLINE]
        waiting = asyncio.create_task(bus.publish("jobs", b"2"))
        await clock.settle()
        closing = asyncio.create_task(bus.aclose())
        await clock.advance(20)
        assert closing.done()
        assert await kinds(waiting) == [FaultKind.DEADLINE]
    await closing


async def test_a_late_answer_releases_no_order() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=10.0)
    answer = asyncio.Event()

    async def late(batch: Batch, publish: Publish) -> Sequence[Any]:
        while not answer.is_set():
            try:
                await answer.wait()
            except asyncio.CancelledError:
                continue
        return await publish(batch)

    driver.calls = late
    async with bus:
        first = asyncio.create_task(bus.publish("serial", b"1", ordering_key="k"))
        await clock.advance(11)
        assert await kinds(first) == [FaultKind.TIMEOUT]
        bus.resume("serial", "k")
        hold, held = asyncio.Event(), asyncio.Event()

        async def hold_call(batch: Batch, publish: Publish) -> Sequence[Any]:
            held.set()
            await hold.wait()
            return await publish(batch)

        driver.calls = hold_call
        second = asyncio.create_task(bus.publish("serial", b"2", ordering_key="k"))
        await held.wait()
        third = asyncio.create_task(bus.publish("serial", b"3", ordering_key="k"))
        answer.set()  # of the first call, while the second is under way: the third still waits for that
        await clock.settle()
        assert driver.sent[1:] == [[b"2"]]
        hold.set()
        assert await kinds(second, third) == [None, None]


async def test_a_loop_that_stands_still_again_and_again_gives_an_answer_one_turn_and_no_more() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=10.0)
    driver.calls = never
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.settle()
        for _ in range(3):
            stand_still(clock, 12.0)
            await clock.advance(0.0)
        assert publishing.done(), "each time that the loop stands still it waits again"
        assert await kinds(publishing) == [FaultKind.TIMEOUT]


async def cancelled(batch: Batch, publish: Publish) -> Any:
    raise asyncio.CancelledError


async def nothing(batch: Batch, publish: Publish) -> Any:
    return None


async def too_few(batch: Batch, publish: Publish) -> Any:
    return []


async def too_many(batch: Batch, publish: Publish) -> Any:
    return [Sent("1"), Sent("2"), Sent("3")]


async def junk(batch: Batch, publish: Publish) -> Any:
    return [None] * len(batch)


async def panics(batch: Batch, publish: Publish) -> Any:
    raise Panic


class Panic(BaseException):
    """What no driver may raise."""


@pytest.mark.parametrize("breaks", [cancelled, nothing, too_few, too_many, junk, panics])
async def test_a_driver_that_breaks_the_rules_fails_its_messages_and_is_named(breaks: Any) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    driver.calls = breaks
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.advance(5)
        assert publishing.done()
        with pytest.raises(polybus.PublishFailed, match="a bug of this backend"):
            await publishing


def raising(error: BaseException) -> Callable[[Any], Any]:
    def fails(_: Any) -> Any:
        raise error

    return fails


@pytest.mark.parametrize(
    "fault", [lambda error: 1 / 0, lambda error: None, raising(asyncio.CancelledError()), raising(Panic())]
)
async def test_a_driver_whose_fault_fails_fails_its_messages(fault: Callable[[Exception], Any]) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)

    async def boom(batch: Batch, publish: Publish) -> Any:
        raise ValueError("boom")

    driver.calls, driver.fault = boom, fault  # type: ignore[method-assign]
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.advance(5)
        with pytest.raises(polybus.PublishFailed, match=r"fault\(\) (raised|gave).* for ValueError"):
            await publishing


@pytest.mark.parametrize("error", [asyncio.CancelledError(), Panic(), GeneratorExit()])
async def test_what_prepare_ends_with_is_no_cancellation_of_its_caller(error: BaseException) -> None:
    class Odd(PublisherProxy):
        prepare = staticmethod(raising(error))

    class Driver(DriverProxy):
        def publisher(self, inner: PublisherDriver[Any], target: Any) -> PublisherDriver[Any]:
            return Odd(inner)

    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    bus._connection.given = Driver(driver)
    async with bus:
        for _ in range(2):  # while the publisher opens, and once it is open
            publishing = asyncio.create_task(bus.publish("jobs", b"1"))
            await clock.settle()
            assert publishing.done(), "it waits for its deadline"
            with pytest.raises(polybus.PublishFailed, match=r"prepare\(\) raised .*a bug of this backend"):
                await publishing


async def test_a_message_that_prepare_stumbles_over_fails_alone() -> None:
    class Stumbles(PublisherProxy):
        def prepare(self, outgoing: Any) -> Any:
            if outgoing.message.body == b"bad":
                raise RuntimeError("it stumbles")
            return self.inner.prepare(outgoing)

    class Driver(DriverProxy):
        def publisher(self, inner: PublisherDriver[Any], target: Any) -> PublisherDriver[Any]:
            return Stumbles(inner)

    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    bus._connection.given = Driver(driver)
    async with bus:
        for _ in range(2):  # while it opens, and afterwards
            outcomes = await bus.publish_many("jobs", [b"good", b"bad", b"good"], outcomes=True)
            assert [kind(outcome) for outcome in outcomes] == [None, FaultKind.INVALID, None]
            assert "RuntimeError" in str(outcomes[1])


def poisoned(driver: Bent, fault: Fault) -> None:
    """Let every call that holds the body `poison` fail as a whole."""

    async def call(batch: Batch, publish: Publish) -> Any:
        if any(prepared.outgoing.message.body == b"poison" for prepared in batch):
            raise Refused(fault)
        return await publish(batch)

    driver.calls = call


WHOLE = (FaultKind.INVALID, FaultKind.TOO_LARGE, FaultKind.INTERNAL, FaultKind.UNAVAILABLE, FaultKind.TIMEOUT)


@pytest.mark.parametrize("count", [2, 10, 1_000])
@pytest.mark.parametrize("why", WHOLE)
async def test_one_message_that_fails_its_whole_call_fails_alone(why: FaultKind, count: int) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    poisoned(driver, Fault(why, "the test refuses the whole request"))
    bodies = [b"%d" % number for number in range(count)]
    bodies[count // 2] = b"poison"
    async with bus:
        sending = asyncio.create_task(bus.publish_many("jobs", bodies, outcomes=True))
        await clock.advance(61)
        outcomes = await sending
        failed = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Fault)]
        assert failed == [count // 2]
        assert kind(outcomes[count // 2]) is (FaultKind.DEADLINE if why.retryable else why)
        assert len(driver.sent) < 60
        assert sorted(await delivered(bus, "jobs", count - 1)) == sorted(set(bodies) - {b"poison"})


@pytest.mark.parametrize("repeats", [True, False])
async def test_taken_apart_a_key_stays_in_order_and_ends_at_its_bad_message(repeats: bool) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    poisoned(driver, Fault(FaultKind.INVALID, "the test refuses the whole request"))
    driver.limits = BatchLimits(100, 1_000_000, repeats_key=repeats)
    messages = [Message(b"%s%d" % (key.encode(), n), ordering_key=key) for n in range(12) for key in "abc"]
    messages[3 * 7 + 1] = Message(b"poison", ordering_key="b")
    async with bus:
        sending = asyncio.create_task(bus.publish_many("serial", messages, outcomes=True))
        await clock.advance(1)
        outcomes = await sending
        for key in "abc":
            of_key = [kind(out) for out, each in zip(outcomes, messages, strict=True) if each.ordering_key == key]
            good = 7 if key == "b" else 12
            assert of_key[:good] == [None] * good
            assert of_key[good:] == [FaultKind.INVALID, *[FaultKind.KEY_BLOCKED] * 4][: 12 - good]
        found = await delivered(bus, "serial", 31)
        for key in b"abc":
            numbers = [int(body[1:]) for body in found if body[0] == key]
            assert numbers == list(range(7 if key == ord("b") else 12))


@pytest.mark.parametrize("why", [FaultKind.DENIED, FaultKind.NOT_FOUND, FaultKind.UNAUTHENTICATED, FaultKind.THROTTLED])
async def test_what_is_said_of_the_target_is_not_asked_again_for_each_message(why: FaultKind) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=5.0)

    async def refuse(batch: Batch, publish: Publish) -> Any:
        raise Refused(Fault(why, "the test refuses the target"))

    driver.calls = refuse
    async with bus:
        sending = asyncio.create_task(bus.publish_many("jobs", [b"x"] * 10, outcomes=True))
        await clock.advance(6)
        assert len(await sending) == 10
        assert {len(call) for call in driver.sent} == {10}


async def test_calls_that_are_over_make_room_for_others(stubborn: Stubborn) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=10.0, batches_in_flight=1)
    driver.calls = stubborn
    async with bus:
        lost = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.advance(11)
        assert await kinds(lost) == [FaultKind.TIMEOUT]
        driver.calls = None
        assert await bus.publish("jobs", b"2")
        closing = asyncio.create_task(bus.aclose())
        await clock.advance(20)
        await closing


async def test_a_publisher_that_can_not_be_closed_is_left_to_itself(
    stubborn: Stubborn, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(PublisherProxy):
        async def aclose(self) -> None:
            await stubborn()

    class Driver(DriverProxy):
        def publisher(self, inner: PublisherDriver[Any], target: Any) -> PublisherDriver[Any]:
            return Stuck(inner)

    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    bus._connection.given = Driver(driver)
    async with bus:
        await bus.publish("jobs", b"1")
        closing = asyncio.create_task(bus.aclose())
        await clock.advance(10)
        await closing
    assert "closing the publisher to 'jobs' is left to itself" in caplog.text


async def test_what_fails_on_the_way_is_tried_again_within_the_deadline() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    answers = iter([DOWN, DOWN, None])

    async def flaky(batch: Batch, publish: Publish) -> Any:
        fault = next(answers)
        return [fault] * len(batch) if fault is not None else await publish(batch)

    driver.calls = flaky
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.advance(5)
        assert await kinds(publishing) == [None]
        driver.calls = lambda batch, publish: _answer([DENIED])
        assert await kinds(asyncio.create_task(bus.publish("jobs", b"2"))) == [FaultKind.DENIED]


async def _answer(outcomes: list[Any]) -> list[Any]:
    return outcomes


class Jumping(polybus.ManualClock):
    """A clock that jumps as where the process was paused: then the timers are first, before what came meanwhile."""

    def jump(self, seconds: float) -> None:
        self._now += seconds
        while self.next_due() == 0.0:
            heapq.heappop(self._timers).run()


async def test_an_answer_that_came_while_the_process_was_paused_counts() -> None:
    clock = Jumping()
    bus, driver = bend(clock, deadline=10.0)
    answer = asyncio.Event()

    async def answered(batch: Batch, publish: Publish) -> Any:
        await answer.wait()
        for _ in range(20):  # as many turns of the loop as a socket, a client and a driver may take
            await asyncio.sleep(0)
        return await publish(batch)

    driver.calls = answered
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.settle()
        answer.set()
        clock.jump(30)
        await clock.advance(0)
        assert await kinds(publishing) == [None]
        answer.clear()
        lost = asyncio.create_task(bus.publish("jobs", b"2"))
        await clock.settle()
        clock.jump(30)
        await clock.advance(1)
        assert await kinds(lost) == [FaultKind.TIMEOUT]


async def test_an_outage_is_logged_as_it_begins_goes_on_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "polybus")
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=300.0)
    down = True

    async def call(batch: Batch, publish: Publish) -> Any:
        if down:
            raise Refused(DOWN)
        return await publish(batch)

    driver.calls = call
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.advance(150)
        down = False
        await clock.advance(20)
        assert await kinds(publishing) == [None]
    lines = [record.message for record in caplog.records if record.message.startswith("publishing to 'jobs'")]
    assert len(lines) == 4
    assert "failed, next try in" in lines[0]
    assert "unavailable: the test cut the way" in lines[0]
    assert "fails since" in lines[1]
    assert "works again after" in lines[-1]


async def test_one_failed_call_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    first = iter([True])

    async def call(batch: Batch, publish: Publish) -> Any:
        if next(first, False):
            raise Refused(DOWN)
        return await publish(batch)

    driver.calls = call
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"1"))
        await clock.advance(1)
        assert await kinds(publishing) == [None]
    assert not caplog.records
