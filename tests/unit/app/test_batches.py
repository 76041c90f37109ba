"""Handlers that take several messages at once: what a batch is, what becomes of each of its messages, and its ends."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import polybus
from polybus import App, Binding, Delivery, Entity
from polybus.binding import Kind
from polybus.middleware import Middleware, SyncMiddleware
from polybus.testing import RunningApp, run


@dataclasses.dataclass
class Order:
    id: int


def make_binding(*, ordered: bool = False, **changes: Any) -> Binding:
    return Binding(
        backend="memory",
        bus="shop",
        queues={
            "jobs": Entity(
                kind=Kind.QUEUE,
                name="jobs",
                address="q",
                dead_letter="q!dead",
                lease=30.0,
                ordered=ordered,
                **{"max_attempts": 3, **changes},
            )
        },
    )


@asynccontextmanager
async def running(app: App, **changes: Any) -> AsyncIterator[RunningApp]:
    async with run(app, make_binding(**changes)) as t:
        yield t


async def publish(t: RunningApp, *numbers: int, key: str | None = None) -> list[str]:
    return [await t.publish("jobs", Order(number), ordering_key=key) for number in numbers]


async def left(t: RunningApp) -> tuple[int, int, int]:
    """Return how many messages wait, are leased, and are put off."""
    stats = await t.bus.stats("jobs")
    return stats.waiting or 0, stats.leased or 0, stats.delayed or 0


def numbers(orders: list[Order]) -> list[int]:
    return [order.id for order in orders]


async def test_a_call_begins_with_as_many_as_it_takes_and_with_fewer_once_the_first_has_waited() -> None:
    app, calls = App(), list[list[int]]()

    @app.handler("jobs", max_batch=3, max_wait="2s")
    async def work(orders: list[Order], deliveries: list[Delivery]) -> None:
        assert [delivery.body for delivery in deliveries] == [b'{"id":%d}' % order.id for order in orders]
        calls.append(numbers(orders))

    async with running(app) as t:
        await publish(t, 1, 2, 3, 4)
        await t.idle()
        assert calls == [[1, 2, 3]]
        await t.advance(1.9)
        assert calls == [[1, 2, 3]]
        await t.advance(0.2)
        assert calls == [[1, 2, 3], [4]]
        assert await left(t) == (0, 0, 0)


async def test_a_blocking_handler_takes_a_batch_in_one_thread() -> None:
    app, calls = App(), list[tuple[str, list[int]]]()

    @app.handler("jobs", max_batch=2)
    def work(orders: list[Order]) -> None:
        calls.append((threading.current_thread().name, numbers(orders)))

    async with running(app) as t:
        await publish(t, 1, 2)
        await t.idle()
        assert [orders for _, orders in calls] == [[1, 2]]
        assert calls[0][0].startswith("polybus jobs")
        assert await left(t) == (0, 0, 0)


async def test_without_max_batch_a_list_is_the_body_of_one_message() -> None:
    app, bodies = App(), list[list[Order]]()

    @app.handler("jobs")
    async def work(orders: list[Order]) -> None:
        bodies.append(orders)

    async with running(app) as t:
        await t.publish("jobs", [Order(1), Order(2)])
        await t.idle()
    assert bodies == [[Order(1), Order(2)]]


async def test_a_handler_may_take_the_deliveries_alone_and_settle_them_itself() -> None:
    app, calls = App(), list[int]()

    @app.handler("jobs", max_batch=3)
    async def work(deliveries: list[Delivery]) -> None:
        calls.append(len(deliveries))
        if len(deliveries) == 3:
            await deliveries[0].dead_letter("no good")
            await deliveries[1].nack(delay=5)

    async with running(app) as t:
        ids = await publish(t, 1, 2, 3)
        await t.idle()
        assert [letter.message.id for letter in await t.dead_letters("jobs")] == ids[:1]
        assert await left(t) == (0, 0, 1)
        await t.advance(7)
        assert calls == [3, 1]
        assert await left(t) == (0, 0, 0)


async def test_an_error_fails_all_and_what_is_settled_already_stays_so() -> None:
    app, calls = App(), list[list[int]]()

    @app.handler("jobs", max_batch=3)
    async def work(orders: list[Order], deliveries: list[Delivery]) -> None:
        calls.append(numbers(orders))
        if len(calls) == 1:
            await deliveries[1].ack()
            raise ValueError("all but one")

    async with running(app) as t:
        await publish(t, 1, 2, 3)
        await t.idle()
        await t.advance(10)
        assert sorted(calls[1]) == [1, 3]
        assert await left(t) == (0, 0, 0)


async def test_batch_failed_names_those_that_failed_by_delivery_or_index(caplog: pytest.LogCaptureFixture) -> None:
    app, seen = App(), list[tuple[int, int]]()

    @app.handler("jobs", max_batch=4)
    async def work(orders: list[Order], deliveries: list[Delivery]) -> None:
        seen.extend((order.id, delivery.attempt) for order, delivery in zip(orders, deliveries, strict=True))
        if len(orders) == 4:
            raise polybus.BatchFailed(
                {deliveries[0]: ValueError("no"), 2: polybus.DeadLetter("refused"), 3: polybus.Retry(after=60)}
            )

    async with running(app) as t:
        ids = await publish(t, 1, 2, 3, 4)
        await t.idle()
        [letter] = await t.dead_letters("jobs")
        assert (letter.message.id, letter.reason) == (ids[2], "refused")
        await t.advance(10)
        assert seen[4:] == [(1, 2)]
        await t.advance(60)
        assert seen[4:] == [(1, 2), (4, 2)]
        assert await left(t) == (0, 0, 0)
    assert "ValueError: no" in caplog.text


@pytest.mark.parametrize("failed", [{7: ValueError()}, {0: "no exception"}])
async def test_batch_failed_that_names_another_message_fails_all(failed: Any, caplog: pytest.LogCaptureFixture) -> None:
    app, calls = App(), list[list[int]]()

    @app.handler("jobs", max_batch=2)
    async def work(orders: list[Order]) -> None:
        calls.append(numbers(orders))
        if len(calls) == 1:
            raise polybus.BatchFailed(failed)

    async with running(app) as t:
        await publish(t, 1, 2)
        await t.idle()
        await t.advance(10)
        assert [sorted(call) for call in calls] == [[1, 2], [1, 2]]
    assert "is to have an exception for a delivery of the" in caplog.text


async def test_d11_what_cannot_be_decoded_fails_alone() -> None:
    app, calls = App(), list[list[int]]()

    @app.handler("jobs", max_batch=3)
    async def work(orders: list[Order]) -> None:
        calls.append(numbers(orders))

    async with running(app) as t:
        await publish(t, 1)
        bad = await t.publish("jobs", {"id": "one"})
        await publish(t, 3)
        await t.idle()
        assert calls == [[1, 3]]
        assert [(letter.message.id, letter.reason) for letter in await t.dead_letters("jobs")] == [(bad, "DecodeError")]


async def test_d2_the_leases_of_all_are_kept_while_a_call_runs_and_while_it_is_waited_for() -> None:
    app, release, calls = App(), asyncio.Event(), list[list[int]]()

    @app.handler("jobs", max_batch=2, max_wait="100s")
    async def work(orders: list[Order], deliveries: list[Delivery]) -> None:
        calls.append(numbers(orders))
        await release.wait()
        assert not any(delivery.lost for delivery in deliveries)

    async with running(app) as t:
        await publish(t, 1)
        for _ in range(9):
            await t.clock.advance(10)
        assert (calls, await left(t)) == ([], (0, 1, 0))
        await publish(t, 2)
        for _ in range(20):
            await t.clock.advance(10)
        assert (calls, await left(t)) == ([[1, 2]], (0, 2, 0))
        release.set()
        await t.idle()
        assert (calls, await left(t)) == ([[1, 2]], (0, 0, 0))


async def test_d2_a_lost_lease_is_told_and_the_handler_is_cancelled_once_all_are_lost() -> None:
    app, told = App(), list[list[bool]]()
    gate = asyncio.Event()

    @app.handler("jobs", max_batch=2, max_wait=50, max_lease=60)
    async def work(orders: list[Order], deliveries: list[Delivery]) -> None:
        if told:
            return
        try:
            await asyncio.wait_for(gate.wait(), None)
            told.append([delivery.lost for delivery in deliveries])
            gate.clear()
            await gate.wait()
        except asyncio.CancelledError:
            told.append([delivery.lost for delivery in deliveries])
            raise

    async with running(app) as t:
        await publish(t, 1)
        for _ in range(4):
            await t.clock.advance(10)
        await publish(t, 2)
        for _ in range(3):
            await t.clock.advance(10)  # the first has had its 60 s
        gate.set()
        await t.clock.settle()
        assert told == [[True, False]]
        for _ in range(4):
            await t.clock.advance(10)
        assert told == [[True, False], [True, True]]
        await t.advance(60)
        assert await left(t) == (0, 0, 0)


async def test_d12_a_drain_gives_back_what_no_call_has_begun_with_and_lets_calls_finish() -> None:
    app, release, calls = App(), asyncio.Event(), list[tuple[list[int], list[int]]]()

    @app.handler("jobs", max_batch=2, max_wait=100)
    async def work(orders: list[Order], deliveries: list[Delivery]) -> None:
        calls.append((numbers(orders), [delivery.attempt for delivery in deliveries]))
        await release.wait()

    binding = make_binding()
    async with run(app, binding) as t:
        await publish(t, 1, 2, 3)
        await t.clock.settle()
        assert await left(t) == (0, 3, 0)
        draining = asyncio.ensure_future(app.drain(30))
        await t.clock.settle()
        assert await left(t) == (1, 2, 0)
        release.set()
        await t.clock.settle()
        await draining
        assert await left(t) == (1, 0, 0)
        assert calls == [([1, 2], [1, 1])]
        async with t.bus.consume("jobs") as deliveries:
            async for delivery in deliveries:
                assert delivery.attempt == 1  # no attempt was made
                await delivery.ack()
                break


async def test_d12_what_still_runs_at_the_end_of_the_grace_is_cancelled_and_given_back_once_it_has_ended() -> None:
    app, ends = App(), list[str]()

    @app.handler("jobs", max_batch=2)
    async def work(orders: list[Order]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # its clean-up
            ends.append("cleaned up")

    async with running(app) as t:
        await publish(t, 1, 2)
        await t.clock.settle()
        draining = asyncio.ensure_future(app.drain(5))
        await t.clock.advance(5)
        await draining
        assert ends == ["cleaned up"]
        assert await left(t) == (2, 0, 0)


async def test_calls_run_at_once_as_many_as_the_concurrency_says() -> None:
    app, release, calls = App(), asyncio.Event(), list[list[int]]()

    @app.handler("jobs", max_batch=2, concurrency=2, max_wait=1)
    async def work(orders: list[Order]) -> None:
        calls.append(numbers(orders))
        await release.wait()

    async with running(app) as t:
        await publish(t, *range(7))
        await t.clock.advance(5)
        assert calls == [[0, 1], [2, 3]]
        release.set()
        await t.advance(2)
        assert calls == [[0, 1], [2, 3], [4, 5], [6]]


async def test_d10_the_messages_of_a_key_are_handled_in_order_and_those_behind_a_failed_one_wait_for_it() -> None:
    app, done = App(), list[int]()
    failed = False

    @app.handler("jobs", max_batch=3, max_wait=1)
    async def work(orders: list[Order], deliveries: list[Delivery]) -> None:
        nonlocal failed
        for place, order in enumerate(orders):
            if order.id == 2 and not failed:
                failed = True
                raise polybus.BatchFailed({place: ValueError("once")})
            done.append(order.id)

    async with running(app, ordered=True) as t:
        await publish(t, 1, 2, 3, key="a")
        await publish(t, 10, key="b")
        for _ in range(10):
            await t.advance(2)
        assert [number for number in done if number < 10] == [1, 2, 3]
        assert 10 in done
        assert await left(t) == (0, 0, 0)


async def test_a_cancellation_of_the_handlers_own_is_a_failed_attempt() -> None:
    app, attempts = App(), list[int]()

    @app.handler("jobs", max_batch=1)
    async def work(orders: list[Order], deliveries: list[Delivery]) -> None:
        attempts.append(deliveries[0].attempt)
        if len(attempts) == 1:
            raise asyncio.CancelledError

    async with running(app) as t:
        await publish(t, 1)
        await t.idle()
        await t.advance(10)
        assert attempts == [1, 2]


async def test_a_call_that_swallows_its_cancellation_is_told_of_and_another_takes_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, release, calls = App(), asyncio.Event(), list[list[int]]()

    @app.handler("jobs", max_batch=1, max_lease=30)
    async def work(orders: list[Order]) -> None:
        calls.append(numbers(orders))
        while len(calls) == 1 and not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with running(app) as t:
        await publish(t, 1)
        for _ in range(8):
            await t.clock.advance(5)
        assert calls == [[1], [1]]
        assert "goes on though it was cancelled; another takes its place" in caplog.text
        release.set()
        await t.idle()


def declare(**options: Any) -> Callable[[Any], Any]:
    return App().handler("jobs", **options)


def test_what_cannot_be_served_is_refused_by_name() -> None:
    async def plain(order: Order) -> None: ...

    async def bare(orders: list) -> None: ...  # type: ignore[type-arg]

    async def one(orders: list[Order], delivery: Delivery) -> None: ...

    async def good(orders: list[Order]) -> None: ...

    def blocking(orders: list[Order]) -> None: ...

    for function, options, said in (
        (plain, {"max_batch": 2}, "is not a list"),
        (bare, {"max_batch": 2}, "is not a list"),
        (one, {"max_batch": 2}, "nothing fills its parameter"),
        (good, {"max_batch": 0}, "max_batch=0: 1 to 10,000"),
        (good, {"max_batch": 2, "max_wait": "1h"}, "max_wait='1h': 0 to 300 s"),
        (good, {"max_wait": 1}, "give max_batch, too"),
        (good, {"max_batch": 2, "concurrency": 0}, "concurrency=0: at least 1"),
        (blocking, {"max_batch": 2, "executor": "process"}, "takes one message at a time"),
    ):
        with pytest.raises(polybus.ConfigError, match=said):
            declare(**options)(function)


class Marking(Middleware):
    """Passes bodies on with a mark, and fails for some of them by itself."""

    async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
        if delivery.body == b"bad":
            raise ValueError("not let in")
        await proceed(delivery.with_message(polybus.Message(delivery.body + b"!", id=delivery.id)))


async def test_middleware_is_around_each_message_of_a_batch(caplog: pytest.LogCaptureFixture) -> None:
    app, seen = App(middleware=[Marking()]), []

    @app.handler("jobs", max_batch=3, max_wait=1)
    async def handle(bodies: list[bytes]) -> None:
        seen.append(sorted(bodies))
        raise polybus.BatchFailed({bodies.index(b"b!"): RuntimeError("b")})

    async with running(app, max_attempts=1) as t:
        for body in (b"a", b"bad", b"b"):
            await t.publish("jobs", body)
        await t.advance(2)
        buried = sorted(letter.message.body for letter in await t.dead_letters("jobs"))
    assert seen == [[b"a!", b"b!"]]
    assert buried == [b"b", b"bad"]
    assert [record.getMessage().split(":")[0] for record in caplog.records if record.levelname == "ERROR"] == [
        f"middleware of handler {app.handlers[0].name} failed",
        f"handler {app.handlers[0].name} failed",
    ]


async def test_blocking_middleware_around_a_batch_is_refused() -> None:
    class Blocking(SyncMiddleware):
        def handle(self, delivery: Delivery, proceed: Callable[[Delivery], None]) -> None:
            proceed(delivery)

    app = App(middleware=[Blocking()])

    @app.handler("jobs", max_batch=3)
    def handle(bodies: list[bytes]) -> None: ...

    with pytest.raises(polybus.ConfigError, match="Blocking is a SyncMiddleware"):
        async with running(app):
            pass
