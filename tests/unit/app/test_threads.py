"""Blocking handlers: threads that are replaced, bounded, and have a context for each call."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

import polybus
from polybus import App, Binding, Entity, SteppedClock
from polybus.app.executor import MOST_GIVEN_UP
from polybus.binding import Kind
from polybus.embedded.memory import Store

tenant: contextvars.ContextVar[str | None] = contextvars.ContextVar("tenant", default=None)


def make_binding(**changes: Any) -> Binding:
    entity = Entity(kind=Kind.QUEUE, name="jobs", address="q", dead_letter="q!dead", lease=30.0, max_attempts=3)
    return Binding(
        backend="memory",
        bus="shop",
        settings={"store": Store()},
        queues={"jobs": msgspec.structs.replace(entity, **changes)},
    )


async def until(check: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 - threads move, without telling
            await asyncio.sleep(0.001)


class Hanging:
    """A handler that hangs until it is let go: whenever the body is `hang`, at the first attempt where it is `once`."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.seen: list[tuple[str, int]] = []

    def __call__(self, body: str, delivery: polybus.Delivery) -> None:
        self.seen.append((body, delivery.attempt))
        if body == "hang" or (body == "once" and delivery.attempt == 1):
            self.let_go.wait(60)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    handler = Hanging()
    yield handler
    handler.let_go.set()


async def test_a_thread_that_hangs_is_replaced(hanging: Hanging, caplog: pytest.LogCaptureFixture) -> None:
    clock = SteppedClock()
    app = App(source=make_binding(max_attempts=1), clock=clock)
    app.handler("jobs", concurrency=2, max_lease=1)(hanging)
    async with app.running():
        await app.bus.publish_many("jobs", ["once", "once"])
        await until(lambda: len(hanging.seen) == 2)
        clock.advance(31)  # the leases of both are over
        await until(lambda: caplog.text.count("its lease was lost") == 2)
        await app.bus.publish_many("jobs", ["fine", "fine"])
        await until(lambda: hanging.seen.count(("fine", 1)) == 2)
        clock.advance(2)
        await until(lambda: "calls of handler " in caplog.text)
        assert app.problem is None
        await app.drain(grace=0)
    (told, *_) = [r.getMessage() for r in caplog.records if "that were given up still run" in r.getMessage()]
    assert "calls of handler " in told
    assert "Hanging" in told


async def test_what_waits_behind_hanging_calls_is_neither_lost_nor_counted(hanging: Hanging) -> None:
    clock = SteppedClock()
    app = App(source=make_binding(max_attempts=1000), clock=clock)
    app.handler("jobs", concurrency=1, max_lease=1)(hanging)
    async with app.running():
        await app.bus.publish_many("jobs", ["hang", "fine"])
        await until(lambda: hanging.seen)
        await until(lambda: app.consumers[0].in_flight == 2)  # one waits for the thread
        for _ in range(4):  # near the end of the leases of both, what nobody has begun is given back, and comes again
            clock.advance(7)
            await asyncio.sleep(0.05)
        clock.advance(3)  # the lease of the one that hangs is over; the other's is not
        await until(lambda: len(hanging.seen) >= 2)
        await app.drain(grace=0)
    assert hanging.seen[:2] == [("hang", 1), ("fine", 1)]


async def test_when_too_many_hang_nothing_more_is_taken_and_no_attempt_is_counted(
    hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppedClock()
    caplog.set_level(logging.INFO)
    app = App(source=make_binding(max_attempts=1000), clock=clock)
    app.handler("jobs", concurrency=1, max_lease=1)(hanging)
    async with app.running():
        await until(lambda: app.problem is None)
        await app.bus.publish("jobs", "hang")
        for hung in range(1, MOST_GIVEN_UP + 1):
            await until(lambda wanted=hung: len(hanging.seen) == wanted)
            if hung == MOST_GIVEN_UP:
                await app.bus.publish_many("jobs", ["fine", "fine"])
            clock.advance(31)  # it is lost, and comes again
        await until(lambda: app.problem is not None)
        assert app.problem == f"jobs: out of threads: {MOST_GIVEN_UP} calls that were given up still run"
        for _ in range(3):  # whatever time passes, nothing is taken
            clock.advance(31)
            await asyncio.sleep(0.01)
        assert len(hanging.seen) == MOST_GIVEN_UP
        stats = await app.bus.stats("jobs")
        assert (stats.waiting, stats.leased) == (3, 0)
        hanging.let_go.set()
        await until(lambda: [attempt for body, attempt in hanging.seen if body == "fine"])
        await until(lambda: app.problem is None)
    assert "out of threads" in caplog.text
    assert "has threads again" in caplog.text


async def test_where_the_system_gives_no_thread_the_delivery_waits_and_no_attempt_is_counted(
    monkeypatch: pytest.MonkeyPatch, hanging: Hanging
) -> None:
    clock = SteppedClock()
    app = App(source=make_binding(), clock=clock)
    app.handler("jobs", concurrency=1)(hanging)
    start, refused = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if not thread.name.startswith("polybus jobs"):
            return start(thread)
        refused.append(thread)
        raise RuntimeError("can't start new thread")

    async with app.running():
        monkeypatch.setattr(threading.Thread, "start", refuse)
        await app.bus.publish("jobs", "fine")
        await until(lambda: app.problem is not None and "out of threads" in app.problem)
        assert app.problem == "jobs: out of threads: can't start new thread"
        monkeypatch.setattr(threading.Thread, "start", start)
        clock.advance(2)
        await until(lambda: hanging.seen)
        await until(lambda: app.problem is None)
    assert hanging.seen == [("fine", 1)]


async def test_d2_a_thread_that_begins_when_the_lease_is_over_begins_no_handler(
    monkeypatch: pytest.MonkeyPatch, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    """As where the process is stopped between the two, or the machine has no time for the thread."""
    clock = SteppedClock()
    app = App(source=make_binding(), clock=clock)
    app.handler("jobs", concurrency=1)(hanging)
    start, late = threading.Thread.start, []

    def stands_still(thread: threading.Thread) -> None:
        if thread.name.startswith("polybus jobs") and not late:
            late.append(thread)
            clock.advance(31)
        start(thread)

    async with app.running():
        monkeypatch.setattr(threading.Thread, "start", stands_still)
        await app.bus.publish("jobs", "fine")
        await until(lambda: hanging.seen)
    assert hanging.seen == [("fine", 2)]
    assert "attempt 1, was lost" in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


async def test_a_thread_that_hangs_after_its_own_ack_is_replaced_once_max_lease_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = SteppedClock()
    app = App(source=make_binding(), clock=clock)
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    let_go = threading.Event()

    @app.handler("jobs", concurrency=1, max_lease=600)
    def work(body: str, delivery: polybus.Delivery) -> None:
        if body == "hang":
            asyncio.run_coroutine_threadsafe(delivery.ack(), loop).result()
            seen.append(body)
            let_go.wait(60)
        seen.append(body)

    try:
        async with app.running():
            await app.bus.publish("jobs", "hang")
            await until(lambda: seen)
            clock.advance(61)
            stuck = "jobs: all 1 calls at once go on after they settled their messages"
            await until(lambda: app.problem == stuck)
            assert "work go on after they settled their messages, the longest since 1m" in caplog.text
            await app.bus.publish("jobs", "fine")
            clock.advance(600)
            await until(lambda: seen == ["hang", "fine"])
            assert app.problem is None
            await app.drain(grace=0)
    finally:
        let_go.set()


async def test_d12_a_blocking_handler_sees_the_end_of_a_drains_grace() -> None:
    app = App(source=make_binding())
    started, finished = threading.Event(), threading.Event()

    @app.handler("jobs", grace=0)
    def work(body: str, delivery: polybus.Delivery) -> None:
        started.set()
        while not delivery.lost:
            time.sleep(0.001)
        finished.set()

    async with app.running():
        await app.bus.publish("jobs", "a")
        await until(started.is_set)
    await until(finished.is_set)


async def test_each_call_has_a_context_of_its_own() -> None:
    app = App(source=make_binding())
    seen: list[tuple[str | None, int]] = []

    @app.handler("jobs", concurrency=1)
    def work(body: str) -> None:
        seen.append((tenant.get(), decimal.getcontext().prec))
        tenant.set(body)
        decimal.getcontext().prec = 4

    async with app.running():
        await app.bus.publish_many("jobs", ["a", "b", "c"])
        await until(lambda: len(seen) == 3)
    assert seen == [(None, decimal.getcontext().prec)] * 3


async def test_threads_are_daemons_and_end_with_the_app() -> None:
    app = App(source=make_binding())
    threads: list[threading.Thread] = []

    @app.handler("jobs", concurrency=3)
    def work(body: str) -> None:
        threads.append(threading.current_thread())

    async with app.running():
        for body in ("a", "b", "c"):
            await app.bus.publish("jobs", body)
        await until(lambda: len(threads) == 3)
    assert all(thread.daemon for thread in threads)
    await until(lambda: not any(thread.is_alive() for thread in threads))


async def test_a_cancelled_future_in_a_thread_is_an_ordinary_failure(caplog: pytest.LogCaptureFixture) -> None:
    import concurrent.futures

    app = App(source=make_binding(max_attempts=1))

    @app.handler("jobs")
    def work(body: str) -> None:
        raise concurrent.futures.CancelledError

    async with app.running():
        await app.bus.publish("jobs", "a")
        await until(lambda: "failed" in caplog.text)
        async with asyncio.timeout(20):
            while not (letters := [letter async for letter in app.bus.dead_letters("jobs").peek()]):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    assert letters[0].reason == "CancelledError"
    assert [record.levelno for record in caplog.records if "failed" in record.getMessage()] == [logging.ERROR]
