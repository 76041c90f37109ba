"""A driver that breaks a rule of its interface is named, and neither hangs nor silences anyone."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import pytest
from drivers import Scripted, fresh

import polybus
from polybus.driver import BatchLimits
from polybus.errors import Fault, FaultKind

JOBS = '[queues.jobs]\nlease = "60s"\n'


async def cancelled(*_: object) -> Any:
    raise asyncio.CancelledError


async def panics(*_: object) -> Any:
    raise ValueError("boom")


class Mute(Scripted):
    """A driver whose `fault` has a bug, too."""

    answer: Any = None

    def fault(self, error: Exception) -> Fault:
        if self.answer is None:
            raise KeyError(type(error))
        return self.answer  # type: ignore[no-any-return]


async def ignore(delivery: polybus.Delivery) -> None:
    pass


@pytest.mark.parametrize("answers", [[], None, ["no"], [None, None], 7], ids=repr)
async def test_wrong_answers_to_a_settlement_fail_it_and_say_so(answers: Any) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def settle(inner: Any, settlements: Any) -> Any:
        return answers

    driver.script["settle"] = settle
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"work")
        with pytest.raises(polybus.BackendError, match="a bug of this backend"):
            await (await anext(deliveries)).ack()


async def test_a_settlement_that_ends_cancelled_by_itself_fails_and_nobody_waits_for_it() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    driver.script["settle"] = cancelled
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        await bus.publish("jobs", b"work")
        with pytest.raises(polybus.BackendError, match="ended cancelled"):
            await (await anext(deliveries)).ack()


@pytest.mark.parametrize("answer", [None, 7], ids=["fault raises", "fault gives a number"])
async def test_a_receive_that_nobody_can_name_is_tried_again_and_said(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Mute(binding, clock)
    driver.answer = answer
    driver.script["receive"] = panics
    handled: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        handled.append(delivery.body)

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        await clock.advance(5)
        assert consumer.problem is not None
        assert "a bug of this backend" in consumer.problem
        assert "a bug of this backend" in caplog.text
        del driver.script["receive"]
        await bus.publish("jobs", b"work")
        await clock.advance(10)
        assert handled == [b"work"]
        assert consumer.problem is None
        await consumer.drain()
        await running


async def test_a_receive_that_ends_cancelled_again_and_again_ends_the_consumer() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    driver.script["receive"] = cancelled
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        consumer = bus.consumer("jobs", ignore)
        running = asyncio.create_task(consumer.run())
        await clock.advance(10)
        assert running.done()
        with pytest.raises(polybus.BackendError, match="a bug of this backend"):
            await running
        assert consumer.problem is not None
        assert consumer.problem.startswith("ended: BackendError")


@pytest.mark.parametrize("answer", [None, "odd", [1]], ids=repr)
async def test_a_receive_that_gives_no_messages_is_named(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def receive(inner: Any, count: int, wait: float) -> Any:
        return answer

    driver.script["receive"] = receive
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        consumer = bus.consumer("jobs", ignore)
        running = asyncio.create_task(consumer.run())
        await clock.advance(1)
        assert "not messages; a bug of this backend" in caplog.text
        await consumer.drain()
        await running


async def test_more_than_was_asked_for_is_said_once_and_handled(caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def receive(inner: Any, count: int, wait: float) -> Any:
        return await inner.receive_batch(count * 50, wait=wait)

    driver.script["receive"] = receive
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish_many("jobs", [b"work"] * 20)
        consumer = bus.consumer("jobs", ignore, options=polybus.ConsumerOptions(concurrency=1, prefetch=2))
        running = asyncio.create_task(consumer.run())
        await clock.advance(5)
        assert (await bus.stats("jobs")).waiting == 0
        assert consumer.in_flight == 0
        assert caplog.text.count("where 2 were asked for; a bug of this backend") == 1
        await consumer.drain()
        await running


async def test_a_receive_that_never_waits_is_no_busy_loop(caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    calls = 0

    async def receive(inner: Any, count: int, wait: float) -> Any:
        nonlocal calls
        calls += 1
        return []

    driver.script["receive"] = receive
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        consumer = bus.consumer("jobs", ignore)
        running = asyncio.create_task(consumer.run())
        await clock.advance(10)
        assert calls < 50
        assert caplog.text.count("again and again; a bug of this backend") == 1
        await consumer.drain()
        await running


async def test_an_intake_that_somebody_cancels_ends_the_consumer_with_an_error() -> None:
    clock = polybus.ManualClock()
    async with polybus.connect(fresh(JOBS), clock=clock) as bus:
        consumer = bus.consumer("jobs", ignore)
        running = asyncio.create_task(consumer.run())
        await clock.settle()
        for task in asyncio.all_tasks():
            if task.get_name().startswith("polybus intake"):
                task.cancel()
        await clock.settle()
        assert running.done()
        with pytest.raises(polybus.BackendError, match="cancelled by somebody else"):
            await running


async def test_an_outage_is_told_each_minute_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="polybus")
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def receive(inner: Any, count: int, wait: float) -> Any:
        raise ConnectionError

    driver.fault = lambda error: Fault(FaultKind.UNAVAILABLE, "down")  # type: ignore[method-assign]
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        consumer = bus.consumer("jobs", ignore)
        assert consumer.problem == "nothing was received yet"
        running = asyncio.create_task(consumer.run())
        await clock.advance(2)
        assert consumer.problem is None
        driver.script["receive"] = receive
        await clock.advance(20)
        caplog.clear()
        await clock.advance(300)
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert 4 <= len(told) <= 6
        assert all("receiving from 'jobs' fails since" in line and "tries" in line for line in told)
        assert consumer.problem is not None
        assert "unavailable: down" in consumer.problem
        del driver.script["receive"]
        await clock.advance(30)
        assert consumer.problem is None
        last = caplog.records[-1]
        assert last.levelno == logging.INFO
        assert "works again after 5m" in last.getMessage()
        await consumer.drain()
        await running


async def test_a_backend_that_does_not_answer_is_told_each_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def receive(inner: Any, count: int, wait: float) -> Any:
        await asyncio.Event().wait()

    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        consumer = bus.consumer("jobs", ignore, options=polybus.ConsumerOptions(grace=0))
        running = asyncio.create_task(consumer.run())
        await clock.advance(2)
        driver.script["receive"] = receive
        await clock.advance(200)
        assert 2 <= caplog.text.count("no answer since") <= 3
        assert consumer.problem is not None
        draining = asyncio.create_task(consumer.drain())
        await clock.advance(10)
        await draining
        await running


class Panic(BaseException):
    """What a Rust extension raises where it panics."""


async def breaks(*_: object) -> Any:
    raise Panic


@pytest.mark.parametrize("ends", [cancelled, breaks])
@pytest.mark.parametrize("part", ["consumer", "driver"])
async def test_a_close_that_ends_cancelled_or_worse_is_an_error_of_the_backend(ends: Any, part: str) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)
    bus = polybus.connect(binding, clock=clock, driver=driver)
    await bus.__aenter__()
    consumer = bus.consumer("jobs", ignore)
    running = asyncio.create_task(consumer.run())
    await clock.advance(2)
    if part == "driver":
        driver.aclose = ends  # type: ignore[method-assign]
        await consumer.drain()
        await running
    else:
        driver.script["aclose"] = ends
        for ending in (consumer.drain(), running):
            with pytest.raises(polybus.BackendError, match=r"closing the consumer of 'jobs' .* a bug of this backend"):
                await ending
    with pytest.raises(polybus.BackendError, match=rf"closing the .*{part} .* a bug of this backend"):
        await bus.aclose()


class Part:
    """What a driver gives for a publisher or consumer, with all of its calls, none of which may be needed."""

    limits: Any = BatchLimits(10, 1_000_000)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    receive_batch = settle_batch = extend_batch = stop = aclose = prepare = publish_batch = panics


class NoSettling(Part):
    settle_batch = publish_batch = None


class NoLimits(Part):
    limits = None


class NothingAtOnce(Part):
    limits = BatchLimits(0, 1_000_000)


class Broken(Part):
    @property
    def limits(self) -> Any:
        raise OSError("no connection")


odd_parts = pytest.mark.parametrize(
    "part",
    [None, 7, NoSettling(), NoLimits(), NothingAtOnce(), Broken()],
    ids=lambda part: repr(part) if part in (None, 7) else type(part).__name__,
)


@odd_parts
async def test_what_is_no_consumer_is_refused_as_it_is_opened(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def give(*_: object, **__: object) -> Any:
        return part

    monkeypatch.setattr(driver, "open_consumer", give)
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        await bus.publish("jobs", b"work")
        with pytest.raises(polybus.BackendError, match=r"'jobs': the driver gave a .* a bug of this backend"):
            await bus.consumer("jobs", ignore).run()
        with pytest.raises(polybus.BackendError, match="a bug of this backend"):
            async with bus.consume("jobs"):
                pass


@odd_parts
async def test_what_is_no_publisher_is_refused_as_it_is_opened(part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def give(*_: object) -> Any:
        return part

    monkeypatch.setattr(driver, "open_publisher", give)
    async with polybus.connect(binding, clock=clock, driver=driver) as bus:
        with pytest.raises(polybus.PublishFailed, match=r"'jobs': the driver gave a .* a bug of this backend"):
            await bus.publish("jobs", b"work")


async def test_each_who_waits_gets_an_error_of_its_own() -> None:
    clock = polybus.ManualClock()
    binding = fresh(JOBS)
    driver = Scripted(binding, clock)

    async def denied(*_: object) -> Any:
        raise polybus.BackendError(Fault(FaultKind.DENIED, "no right"))

    async def take(deliveries: Any) -> BaseException:
        with pytest.raises(polybus.BackendError, match="no right") as raised:
            await anext(deliveries)
        return raised.value

    driver.script["receive"] = denied
    async with polybus.connect(binding, clock=clock, driver=driver) as bus, bus.consume("jobs") as deliveries:
        errors = await asyncio.gather(*(take(deliveries) for _ in range(20)))
        errors += [await take(deliveries) for _ in range(20)]
    assert len({id(error) for error in errors}) == len(errors)
    assert max(len(traceback.extract_tb(error.__traceback__)) for error in errors) < 10
