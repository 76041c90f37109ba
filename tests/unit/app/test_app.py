"""Apps on the memory backend: handlers, signals, leases, lifespan and what is refused."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import pytest

import polybus
from polybus import App, Binding, Entity, ManualClock, Message, SteppedClock
from polybus.binding import Kind, Rights
from polybus.embedded.memory import Store

T = TypeVar("T")
SECRET = "4111111111111111"
seen_in_threads: contextvars.ContextVar[str] = contextvars.ContextVar("seen_in_threads", default="")


@dataclasses.dataclass
class Order:
    id: int


def make_binding(**changes: Any) -> Binding:
    subscription = Entity(
        kind=Kind.SUBSCRIPTION, name="billing", address="s", topic="orders", dead_letter="s!dead", max_attempts=3
    )
    return Binding(
        backend="memory",
        bus="shop",
        settings={"store": Store()},
        topics={"orders": Entity(kind=Kind.TOPIC, name="orders", address="t")},
        subscriptions={"billing": msgspec.structs.replace(subscription, **changes)},
        queues={"jobs": Entity(kind=Kind.QUEUE, name="jobs", address="q", dead_letter="q!dead", lease=30.0)},
        services={"biller": Rights(publishes=("orders",), consumes=("billing",)), "idle": Rights()},
    )


async def dead(bus: polybus.Bus, name: str) -> list[polybus.Peeked]:
    return [letter async for letter in bus.dead_letters(name).peek()]


async def until(check: Callable[[], Awaitable[T]]) -> T:
    """Return what `check` gives once it is true."""
    async with asyncio.timeout(20):
        while not (found := await check()):  # noqa: ASYNC110 - threads and the bus's own tasks move, without telling
            await asyncio.sleep(0)
        return found


async def until_idle(app: App) -> None:
    """Return once nothing waits and nothing is held."""

    async def nothing_left() -> bool:
        stats = [await app.bus.stats(handler.source) for handler in app.handlers]
        return not any((one.waiting or 0) + (one.leased or 0) + (one.delayed or 0) for one in stats)

    await until(nothing_left)


def test_the_function_is_returned_unchanged() -> None:
    app = App()

    async def bill(order: Order) -> None: ...

    def clean(order: Order) -> None: ...

    assert app.handler("billing", concurrency=4)(bill) is bill
    assert app.handler("jobs")(clean) is clean
    assert [(h.source, h.function, h.options.concurrency) for h in app.handlers] == [
        ("billing", bill, 4),
        ("jobs", clean, 16),
    ]
    assert "billing" in repr(app)
    assert "test_app" in repr(app.handlers[0])


async def test_coroutines_run_on_the_loop_and_functions_in_threads() -> None:
    app = App(source=make_binding())
    ran: list[tuple[str, object, object, str]] = []

    @app.handler("billing")
    async def bill(order: Order, delivery: polybus.Delivery) -> None:
        ran.append((threading.current_thread().name, order, delivery.attempt, seen_in_threads.get()))
        await app.bus.publish("jobs", b"job")

    @app.handler("jobs")
    def work(body: bytes, delivery: polybus.Delivery) -> None:
        ran.append((threading.current_thread().name, body, delivery.source, seen_in_threads.get()))

    seen_in_threads.set("outside")
    async with app.running():
        await app.bus.publish("orders", Order(7))
        await until_idle(app)
    assert ran[0] == (threading.current_thread().name, Order(7), 1, "outside")
    assert ran[1][0].startswith("polybus jobs")
    assert ran[1][1:] == (b"job", "jobs", "outside")


async def test_blocking_handlers_run_as_many_at_once_as_the_concurrency_says() -> None:
    app = App(source=make_binding())
    together = threading.Barrier(3, timeout=20)

    @app.handler("jobs", concurrency=3)
    def work(body: str) -> None:
        together.wait()

    async with app.running():
        await app.bus.publish_many("jobs", ["a", "b", "c"])
        await until_idle(app)
        assert await dead(app.bus, "jobs") == []
    assert not together.broken


async def test_a_function_that_returns_a_coroutine_is_awaited() -> None:
    app = App(source=make_binding())
    done: list[str] = []

    async def later(body: str) -> None:
        done.append(body)

    @app.handler("jobs")
    def work(body: str) -> Any:
        return later(body)

    async with app.running():
        await app.bus.publish("jobs", "a")
        await until_idle(app)
    assert done == ["a"]


async def test_d11_a_body_that_cannot_be_decoded_is_dead_lettered(caplog: pytest.LogCaptureFixture) -> None:
    app = App(source=make_binding())
    called: list[Order] = []

    @app.handler("billing")
    async def bill(order: Order) -> None:
        called.append(order)

    async with app.running():
        await app.bus.publish("orders", {"id": SECRET})
        await until_idle(app)
        (letter,) = await dead(app.bus, "billing")
    assert called == []
    assert letter.reason == "DecodeError"
    assert letter.description == "the body is not a valid Order: Expected `int`, got `str` at $.id"
    assert letter.message.body == f'{{"id":"{SECRET}"}}'.encode()
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "test_app" in record.getMessage()
    assert SECRET not in caplog.text


async def test_an_error_is_logged_once_and_the_message_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    app = App(source=make_binding(), clock=clock)
    attempts: list[int] = []

    @app.handler("billing")
    async def bill(text: str, delivery: polybus.Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            raise OSError("no connection")

    async with app.running():
        identity = await app.bus.publish("orders", SECRET)
        await clock.settle()
        assert attempts == [1]
        await clock.advance(3600)
    assert attempts == [1, 2]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert record.getMessage().endswith(f"bill failed: source=billing message={identity} attempt=1")
    assert SECRET not in caplog.text


async def test_signals_settle_and_are_no_errors(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    app = App(source=make_binding(), clock=clock)
    attempts: list[int] = []

    @app.handler("billing")
    def bill(text: str, delivery: polybus.Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            raise polybus.Retry("later", after=10)
        raise polybus.DeadLetter("NoSuchCustomer", "customer 5")

    async def delayed() -> bool:
        return (await app.bus.stats("billing")).delayed == 1

    async with app.running():
        await app.bus.publish("orders", "x")
        await until(delayed)
        await clock.advance(9)
        assert attempts == [1]
        await clock.advance(1)
        letters = await until(lambda: dead(app.bus, "billing"))
    assert attempts == [1, 2]
    assert [(letter.reason, letter.description) for letter in letters] == [("NoSuchCustomer", "customer 5")]
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]


async def test_stop_iteration_in_a_thread_is_a_failure_like_any(caplog: pytest.LogCaptureFixture) -> None:
    app = App(source=make_binding(max_attempts=1))

    @app.handler("billing")
    def bill(text: str) -> None:
        next(iter(()))

    async with app.running():
        await app.bus.publish("orders", "x")
        letters = await until(lambda: dead(app.bus, "billing"))
    assert letters[0].reason == "RuntimeError"
    assert "StopIteration" in caplog.text


async def test_d2_a_lost_lease_cancels_a_coroutine(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    app = App(source=make_binding(), clock=clock)
    ends: list[str] = []

    @app.handler("billing", max_lease=100)
    async def bill(text: str, delivery: polybus.Delivery) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ends.append(f"cancelled, lost={delivery.lost}")
            raise

    async with app.running():
        await app.bus.publish("orders", "x")
        await clock.advance(99)
        assert ends == []
        await clock.advance(100)
        assert ends[0] == "cancelled, lost=True"
        await app.drain(grace=0)
    assert "was cancelled, its lease was lost: source=billing" in caplog.text


async def test_d2_a_blocking_handler_sees_that_its_lease_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    clock = SteppedClock()
    app = App(source=make_binding(), clock=clock)
    started, finished = threading.Event(), threading.Event()

    @app.handler("billing", max_lease=100, concurrency=1)
    def bill(text: str, delivery: polybus.Delivery) -> None:
        started.set()
        while not delivery.lost:
            pass
        finished.set()
        raise OSError("too late")

    async def told() -> bool:
        return "failed after its delivery was taken from it" in caplog.text

    async with app.running():
        await app.bus.publish("orders", "x")
        assert await asyncio.to_thread(started.wait, 20)
        clock.advance(200)
        assert await asyncio.to_thread(finished.wait, 20)
        await until(told)
        clock.advance(200)  # the second delivery of it ends as well
        await app.drain(grace=0)
    assert "was left to its thread, its lease was lost" in caplog.text


async def test_d12_a_blocking_call_that_has_not_begun_never_does() -> None:
    app = App(source=make_binding())
    started, go_on = threading.Event(), threading.Event()
    ran: list[str] = []

    @app.handler("jobs", concurrency=1)
    def work(body: str) -> None:
        ran.append(body)
        started.set()
        go_on.wait(20)

    async with app.running() as session:
        await app.bus.publish_many("jobs", ["a", "b"])
        assert await asyncio.to_thread(started.wait, 20)
        session.interrupt()
        await app.drain(grace=0)
        stats = await app.bus.stats("jobs")
    go_on.set()
    assert stats.waiting == 2
    assert ran == ["a"]


async def test_the_lifespan_is_around_the_handlers_and_within_the_bus() -> None:
    app = App(source=make_binding())
    order: list[str] = []

    @app.lifespan
    async def resources(given: App) -> AsyncIterator[None]:
        assert given is app
        await app.bus.publish("orders", "from the lifespan")
        order.append("start")
        yield
        await app.bus.ping()
        order.append("end")

    @app.handler("billing")
    async def bill(text: str) -> None:
        order.append(text)

    async with app.running():
        await until_idle(app)
    assert order == ["start", "from the lifespan", "end"]
    with pytest.raises(polybus.BusClosed, match=r"app\.bus is there while the app runs"):
        _ = app.bus
    assert app.consumers == ()


async def test_a_lifespan_may_be_a_context_manager_and_its_error_is_raised() -> None:
    app = App(source=make_binding())

    @app.lifespan
    @asynccontextmanager
    async def resources(given: App) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    with pytest.raises(OSError, match="no database"):
        async with app.running():
            pytest.fail("it must not run")
    with pytest.raises(polybus.BusClosed):
        _ = app.bus


async def test_an_app_runs_again_after_it_ended_but_not_twice_at_once() -> None:
    app = App(source=make_binding())
    async with app.running():
        with pytest.raises(polybus.ConfigError, match="is running already"):
            async with app.running():
                pass
        await app.bus.ping()
    async with app.running():
        await app.bus.ping()


async def test_a_bus_that_is_given_is_left_open() -> None:
    app = App()
    got: list[Message] = []

    @app.handler("billing")
    async def bill(message: Message) -> None:
        got.append(message)

    async with polybus.connect(make_binding()) as bus:
        async with app.running(bus=bus):
            assert app.bus is bus
            assert [consumer.in_flight for consumer in app.consumers] == [0]
            identity = await bus.publish("orders", "x", attributes={"region": "eu"})
            await until_idle(app)
        await bus.ping()
    assert [(message.id, message.attributes["region"], message.content_type) for message in got] == [
        (identity, "eu", "text/plain")
    ]


@pytest.mark.parametrize(
    ("service", "source", "said"),
    [
        (None, "bilking", "nothing named 'bilking' to consume from .* did you mean 'billing'"),
        (None, "orders", "nothing named 'orders' to consume from"),
        ("idle", "billing", r"service 'idle' has not declared 'billing': at \$\.services\.idle\.consumes"),
        ("nobody", "billing", "service 'nobody' is not declared"),
    ],
)
async def test_a_source_that_is_not_there_or_not_declared_is_refused_at_start(
    service: str | None, source: str, said: str
) -> None:
    app = App(service, source=make_binding())

    @app.handler(source)
    async def bill(order: Order) -> None: ...

    @app.lifespan
    async def resources(given: App) -> AsyncIterator[None]:
        pytest.fail("it must not start")
        yield

    with pytest.raises(polybus.ConfigError, match=said) as caught:
        async with app.running():
            pass
    assert service == "nobody" or f"bill ({__file__}:" in str(caught.value)


async def test_a_service_publishes_what_it_has_declared_alone() -> None:
    async with App("biller", source=make_binding()).running() as session:
        await session.bus.publish("orders", "x")
        with pytest.raises(polybus.NotDeclared, match=r"\$\.services\.biller\.publishes"):
            await session.bus.publish("jobs", "x")


def test_what_is_wrong_with_a_declaration_is_said_at_once() -> None:
    app = App()

    @app.handler("billing")
    async def bill(order: Order) -> None: ...

    async def again(order: Order) -> None: ...

    with pytest.raises(
        polybus.ConfigError, match=rf"again \({__file__}:\d+\): 'billing' is handled by .*bill \({__file__}"
    ):
        app.handler("billing")(again)
    with pytest.raises(polybus.ConfigError, match=r"again .*: concurrency=0: at least 1"):
        app.handler("jobs", concurrency=0)(again)
    with pytest.raises(polybus.ConfigError, match=r"again .*: max_lease=90000"):
        app.handler("jobs", max_lease=90_000)(again)

    async def no_generator(given: App) -> None: ...

    with pytest.raises(polybus.ConfigError, match="write `async def lifespan"):
        app.lifespan(no_generator)  # type: ignore[type-var]

    @app.lifespan
    async def resources(given: App) -> AsyncIterator[None]:
        yield

    with pytest.raises(polybus.ConfigError, match="has one already"):
        app.lifespan(resources)
    assert [handler.function for handler in app.handlers] == [bill]


async def test_draining_an_app_that_does_not_run_does_nothing() -> None:
    await App().drain()
