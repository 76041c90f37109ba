"""Middleware around an app's handlers: on the loop, in threads, in functions, and what it may do to a delivery."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

import polybus
from polybus import App, Delivery, Message
from polybus.middleware import Middleware, Publication, SyncMiddleware
from polybus.telemetry import NoHooks, Processing
from polybus.testing import run
from polybus.topology.file import loads

Proceed = Callable[[Delivery], Awaitable[None]]
span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="none")
TOPOLOGY = loads(
    '[bus]\nname = "around"\n[queues.jobs]\nmax_attempts = 2\n[queues.other]\nmax_attempts = 1\n[queues.out]\n',
    source="polybus.toml",
)


class Named(Middleware):
    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    async def handle(self, delivery: Delivery, proceed: Proceed) -> None:
        self.seen.append(f"{self.name} takes {delivery.body.decode()}")
        try:
            await proceed(delivery.with_message(Message(delivery.body + self.name.encode(), id=delivery.id)))
        except Exception as error:
            self.seen.append(f"{self.name}: {type(error).__name__}")
            raise
        self.seen.append(f"{self.name} is done")


class Blocking(SyncMiddleware):
    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen
        self.threads: list[str] = []

    def handle(self, delivery: Delivery, proceed: Callable[[Delivery], None]) -> None:
        self.threads.append(threading.current_thread().name)
        self.seen.append(f"{self.name} takes {delivery.body.decode()}")
        proceed(delivery.with_message(Message(delivery.body + self.name.encode(), id=delivery.id)))
        self.seen.append(f"{self.name} is done")


async def test_the_apps_is_around_each_handlers_own_the_first_outermost() -> None:
    seen: list[str] = []
    app = App(middleware=[Named("a", seen)])
    assert app.middleware(second := Named("b", seen)) is second

    @app.handler("jobs", middleware=[Named("c", seen), Named("d", seen)])
    async def handle(body: str, delivery: Delivery) -> None:
        seen.append(f"handles {body}")
        assert delivery.attempt == 1
        assert delivery.source == "jobs"
        assert delivery.message.body == b"-abcd"

    @app.handler("other")
    async def other(body: str) -> None:
        seen.append(f"handles {body}")

    async with run(app, TOPOLOGY) as t:
        await t.publish("jobs", "-")
        await t.idle()
        takes = [line for line in seen if "takes" in line or "handles" in line]
        assert takes == ["a takes -", "b takes -a", "c takes -ab", "d takes -abc", "handles -abcd"]
        assert seen[5:] == ["d is done", "c is done", "b is done", "a is done"]
        seen.clear()
        await t.publish("other", "+")
        await t.idle()
        assert "handles +ab" in seen


async def test_what_the_app_publishes_passes_through_its_middleware() -> None:
    class Stamp(Middleware):
        async def publish(self, outgoing: Publication, proceed: Callable[[Publication], Awaitable[str]]) -> str:
            return await proceed(outgoing.replace(attributes={"stamp": outgoing.target}))

    app = App(middleware=[Stamp()])

    @app.handler("jobs")
    async def handle(body: bytes) -> None:
        await app.bus.publish("out", body)

    async with run(app, TOPOLOGY) as t:
        await t.publish("jobs", b"x")
        await t.idle()
        assert [message.attributes for message in t.published("out")] == [{"stamp": "out"}]


async def test_returning_without_proceeding_acks() -> None:
    class Answers(Middleware):
        async def handle(self, delivery: Delivery, proceed: Proceed) -> None:
            return

    app = App(middleware=[Answers()])

    @app.handler("jobs")
    async def handle(body: bytes) -> None:
        raise AssertionError("not to be called")

    async with run(app, TOPOLOGY) as t:
        await t.publish("jobs", b"x")
        await t.idle()
        stats = await t.bus.stats("jobs")
        assert (stats.waiting, stats.dead) == (0, 0)


@pytest.mark.parametrize("blocking", [False, True])
async def test_raising_is_a_failure_as_of_the_handler(blocking: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fail(delivery: Delivery) -> None:
        raise {
            b"fail": ValueError("no"),
            b"dead": polybus.DeadLetter("Unwanted", "by middleware"),
            b"retry": polybus.Retry(after=5),
        }[delivery.body]

    class Raises(Middleware):
        async def handle(self, delivery: Delivery, proceed: Proceed) -> None:
            fail(delivery)

    class RaisesInThreads(SyncMiddleware):
        def handle(self, delivery: Delivery, proceed: Callable[[Delivery], None]) -> None:
            fail(delivery)

    app = App(middleware=[RaisesInThreads() if blocking else Raises()])

    @app.handler("jobs")
    async def handle(body: bytes) -> None: ...

    caplog.set_level(logging.INFO, "polybus.app")
    async with run(app, TOPOLOGY) as t:
        await t.publish("jobs", b"dead")
        await t.idle()
        assert [letter.reason for letter in await t.dead_letters("jobs")] == ["Unwanted"]
        await t.publish("jobs", b"fail")
        await t.idle()
        assert any("failed" in record.message and record.exc_info for record in caplog.records)
        await t.advance("5m")
        assert [letter.reason for letter in await t.dead_letters("jobs")] == ["Unwanted", "ValueError"]
        await t.publish("jobs", b"retry")
        await t.idle()
        assert (await t.bus.stats("jobs")).delayed or (await t.bus.stats("jobs")).leased


async def test_a_dead_letter_is_the_message_as_it_came() -> None:
    seen: list[str] = []
    app = App(middleware=[Named("a", seen)])

    @app.handler("other")
    async def handle(body: dict[str, int]) -> None: ...

    async with run(app, TOPOLOGY) as t:
        await t.publish("other", b"{}")  # with the middleware's letter it is no JSON
        await t.idle()
        [letter] = await t.dead_letters("other")
        assert (letter.message.body, letter.reason) == (b"{}", "DecodeError")
        assert seen == ["a takes {}", "a: Undecodable"]


async def test_blocking_ones_next_to_a_blocking_handler_share_its_thread() -> None:
    seen: list[str] = []
    outer, inner, innermost = Blocking("a", seen), Blocking("c", seen), Blocking("d", seen)
    app = App(middleware=[outer, Named("b", seen), inner])
    handled: list[str] = []

    @app.handler("jobs", middleware=[innermost])
    def handle(body: str) -> None:
        handled.append(threading.current_thread().name)
        seen.append(f"handles {body}")

    async with run(app, TOPOLOGY) as t:
        await t.publish("jobs", "-")
        await t.idle()
    assert inner.threads == innermost.threads == handled
    assert outer.threads != handled
    assert threading.main_thread().name not in outer.threads
    takes = [line for line in seen if "takes" in line or "handles" in line]
    assert takes == ["a takes -", "b takes -a", "c takes -ab", "d takes -abc", "handles -abcd"]


async def test_blocking_ones_around_a_coroutine_run_in_threads() -> None:
    seen: list[str] = []
    blocking = Blocking("a", seen)
    app = App(middleware=[blocking])
    tasks: list[object] = []

    class Task(Middleware):
        async def handle(self, delivery: Delivery, proceed: Proceed) -> None:
            tasks.append(asyncio.current_task())
            await proceed(delivery)

    app._middleware.insert(0, Task())

    @app.handler("jobs")
    async def handle(body: str) -> None:
        tasks.append(asyncio.current_task())
        seen.append(f"handles {body}")

    async with run(app, TOPOLOGY) as t:
        await t.publish("jobs", "-")
        await t.idle()
    assert seen == ["a takes -", "handles -a", "a is done"]
    assert blocking.threads != [threading.current_thread().name]
    assert tasks[0] is tasks[1]  # whose cancellation is that of the delivery


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_lost_lease_cancels_what_is_under_way(blocking: bool) -> None:
    ends: list[str] = []
    began, ended = asyncio.Event(), asyncio.Event()

    class Ends(Middleware):
        async def handle(self, delivery: Delivery, proceed: Proceed) -> None:
            try:
                await proceed(delivery)
            except BaseException as error:
                ends.append(type(error).__name__)
                ended.set()
                raise

    middleware = [Ends(), Blocking("a", [])] if blocking else [Ends()]
    app = App(middleware=middleware)

    @app.handler("jobs", max_lease=10)
    async def handle(body: bytes) -> None:
        began.set()
        await asyncio.Event().wait()

    async with run(app, TOPOLOGY) as t:
        await t.publish("jobs", b"x")
        await began.wait()
        await t.clock.advance(200)
        await ended.wait()
    assert ends[0] == "CancelledError"


async def test_hooks_are_around_middleware() -> None:
    seen: list[object] = []

    class Spans(NoHooks):
        def processing(self, event: Processing) -> AbstractContextManager[None]:
            seen.append(event.message.body)
            return self._span()

        @contextmanager
        def _span(self) -> Iterator[None]:
            token = span.set("processing")
            yield
            span.reset(token)

    class Looks(SyncMiddleware):
        def handle(self, delivery: Delivery, proceed: Callable[[Delivery], None]) -> None:
            seen.append(span.get())
            proceed(delivery)

    app = App(hooks=[Spans()], middleware=[Looks(), Named("a", [])])

    @app.handler("jobs")
    def handle(body: bytes) -> None:
        seen.append(span.get())

    async with run(app, TOPOLOGY) as t:
        await t.publish("jobs", b"x")
        await t.idle()
    assert seen == [b"x", "processing", "processing"]


async def test_a_given_bus_keeps_its_own_around_the_apps() -> None:
    seen: list[str] = []
    app = App(middleware=[Named("b", seen)])

    @app.handler("jobs")
    async def handle(body: str) -> None:
        seen.append(f"handles {body}")
        done.set()

    done = asyncio.Event()
    async with polybus.connect(TOPOLOGY, middleware=[Named("a", seen)]) as bus, app.running(bus=bus):
        await bus.publish("jobs", "-")
        await done.wait()
    assert [line for line in seen if "done" not in line] == ["a takes -", "b takes -a", "handles -ab"]


async def test_what_is_wrong_is_refused_as_it_is_declared() -> None:
    app = App()
    with pytest.raises(polybus.ConfigError, match="the class Named"):
        app.middleware(Named)  # type: ignore[type-var]
    with pytest.raises(polybus.ConfigError, match="middleware is an object"):
        app.handler("jobs", middleware=[print])(_nothing)  # type: ignore[list-item]
    app.handler("jobs")(_nothing)
    async with run(app, TOPOLOGY):
        with pytest.raises(polybus.ConfigError, match="from its start on"):
            app.middleware(Named("late", []))


async def _nothing(body: bytes) -> None: ...
