"""Middleware around publishing and around a bus's consumers: its order, what it may change, and what not."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bent import DENIED, bend, delivered, kind, kinds

import polybus
from polybus.errors import FaultKind
from polybus.message import Message, Sent
from polybus.middleware import Middleware, Publication, SyncMiddleware
from polybus.telemetry import NoHooks, Publishing

Proceed = Callable[[Publication], Awaitable[str]]
tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")


class Named(Middleware):
    """Notes what it sees on the way in and out."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen

    async def publish(self, outgoing: Publication, proceed: Proceed) -> str:
        self.seen.append(f"{self.name} in")
        id = await proceed(outgoing.replace(body=outgoing.message.body + self.name.encode()))
        self.seen.append(f"{self.name} out")
        return id

    async def handle(self, delivery: polybus.Delivery, proceed: Callable[[polybus.Delivery], Awaitable[None]]) -> None:
        self.seen.append(f"{self.name} takes")
        await proceed(delivery)
        self.seen.append(f"{self.name} is done")


class Gate(Middleware):
    """Holds messages by their bodies until they are let pass; fails those that it is told to."""

    def __init__(self, *held: bytes) -> None:
        self.held = {body: asyncio.Event() for body in held}
        self.fails: dict[bytes, Exception] = {}
        self.answers: set[bytes] = set()
        self.reached: list[bytes] = []
        self.arrived = asyncio.Event()

    async def publish(self, outgoing: Publication, proceed: Proceed) -> str:
        body = outgoing.message.body
        self.reached.append(body)
        self.arrived.set()
        if body in self.held:
            await self.held[body].wait()
        if body in self.fails:
            raise self.fails[body]
        if body in self.answers:
            return "mine"
        return await proceed(outgoing)


def publish(bus: polybus.Bus, body: bytes, key: str | None = "k") -> asyncio.Task[str]:
    return asyncio.create_task(bus.publish("serial", body, ordering_key=key))


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


async def test_the_first_is_the_outermost_around_publishing_and_handling() -> None:
    seen: list[str] = []
    bus, _ = bend(polybus.SystemClock(), [Named("a", seen), Named("b", seen)])
    async with bus:
        await bus.publish("jobs", b"-")
        assert seen == ["a in", "b in", "b out", "a out"]
        seen.clear()
        handled = asyncio.Event()

        async def handle(delivery: polybus.Delivery) -> None:
            seen.append(delivery.body.decode())
            handled.set()

        consumer = bus.consumer("jobs", handle)
        run = asyncio.create_task(consumer.run())
        await handled.wait()
        await consumer.drain()
        await run
    assert seen == ["a takes", "b takes", "-ab", "b is done", "a is done"]


async def test_what_it_is_given_has_an_id_bytes_and_a_copy_of_the_attributes() -> None:
    found: list[Publication] = []
    attributes = {"a": "1"}

    class Look(Middleware):
        async def publish(self, outgoing: Publication, proceed: Proceed) -> str:
            found.append(outgoing)
            attributes["a"] = "2"
            return await proceed(outgoing)

    bus, _ = bend(polybus.SystemClock(), [Look()])
    async with bus:
        id = await bus.publish("jobs", {"total": 1}, attributes=attributes, delay="1s")
    [given] = found
    assert (given.target, given.delay, given.message.id) == ("jobs", 1.0, id)
    assert (given.message.body, given.message.content_type) == (b'{"total":1}', "application/json")
    assert given.message.attributes == {"a": "1"}
    assert given.replace(target="serial", body=b"x") == Publication("serial", _with(given.message, body=b"x"), 1.0)
    with pytest.raises(TypeError):
        given.replace(bodies=b"")


def _with(message: Message, **changes: Any) -> Message:
    import msgspec

    return msgspec.structs.replace(message, **changes)


async def test_it_may_answer_by_itself_and_then_nothing_is_sent() -> None:
    gate = Gate()
    gate.answers = {b"no"}
    bus, driver = bend(polybus.SystemClock(), [gate])
    async with bus:
        assert await bus.publish("jobs", b"no") == "mine"
        assert await bus.publish_many("jobs", [b"no", b"yes", b"no"]) == ["mine", await _id_of(bus), "mine"]
    assert driver.sent == [[b"yes"]]


async def _id_of(bus: polybus.Bus) -> str:
    async with bus.consume("jobs") as deliveries, await anext(aiter(deliveries)) as delivery:
        return delivery.id


async def test_it_may_send_a_message_elsewhere_and_what_that_refuses_is_raised() -> None:
    class Elsewhere(Middleware):
        async def publish(self, outgoing: Publication, proceed: Proceed) -> str:
            return await proceed(outgoing.replace(target=outgoing.message.body.decode()))

    bus, _ = bend(polybus.SystemClock(), [Elsewhere()])
    async with bus:
        await bus.publish("jobs", b"serial")
        assert await delivered(bus, "serial", 1) == [b"serial"]
        with pytest.raises(polybus.BindingError):
            await bus.publish("jobs", b"nowhere")
        with pytest.raises(polybus.BindingError):
            await bus.publish("nowhere", b"jobs")


async def test_another_try_of_one_call_is_the_same_message_to_the_backend() -> None:
    class Twice(Middleware):
        async def publish(self, outgoing: Publication, proceed: Proceed) -> str:
            await proceed(outgoing)
            return await proceed(outgoing)

    tokens: list[str] = []

    async def call(batch: Any, publish: Any) -> Any:
        tokens.extend(prepared.outgoing.dedup_id for prepared in batch)
        return await publish(batch)

    bus, driver = bend(polybus.SystemClock(), [Twice()])
    driver.calls = call
    async with bus:
        id = await bus.publish("jobs", b"")
        assert tokens == [id, id]
        tokens.clear()
        await bus.publish("jobs", Message(b"", id="chosen"))
        assert tokens[0] == tokens[1] != "chosen"  # an id that a caller chose names no call (contract, P5)


async def test_one_that_returns_no_id_is_named() -> None:
    class Forgets(Middleware):
        async def publish(self, outgoing: Publication, proceed: Proceed) -> str:
            await proceed(outgoing)
            return None  # type: ignore[return-value]

    bus, _ = bend(polybus.SystemClock(), [Forgets()])
    async with bus:
        with pytest.raises(TypeError, match=r"Forgets\.publish returned NoneType"):
            await bus.publish("jobs", b"")


async def test_what_is_no_middleware_is_refused() -> None:
    for wrong in (Named, lambda outgoing, proceed: proceed(outgoing), object()):
        with pytest.raises(polybus.ConfigError, match="middleware is an object of"):
            polybus.connect(_topology(), middleware=[wrong])  # type: ignore[list-item]


async def test_one_that_only_handles_leaves_publishing_as_it_is() -> None:
    class Handles(Middleware):
        async def handle(self, delivery: Any, proceed: Any) -> None:
            await proceed(delivery)

    bus, _ = bend(polybus.SystemClock(), [Handles()])
    plain, _ = bend(polybus.SystemClock())
    for each in (bus, plain):
        assert not {"publish", "publish_many"} & set(vars(each))


async def test_hooks_see_what_is_sent() -> None:
    seen: list[tuple[bytes, object]] = []

    class Listens(NoHooks):
        def publishing(self, event: Publishing) -> Callable[[Sent | polybus.Fault], None]:
            return lambda outcome: seen.append((event.message.body, outcome))

    async with polybus.connect(_topology(), hooks=[Listens()], middleware=[Named("a", [])]) as bus:
        id = await bus.publish("jobs", b"-")
    assert seen == [(b"-a", Sent(id))]


def _topology(name: str = "hooked") -> Any:
    from polybus.topology.file import loads

    return loads(f'[bus]\nname = "{name}"\n[queues.jobs]\n', source="polybus.toml")


# Blocking middleware --------------------------------------------------------------------------------------------------


class Blocking(SyncMiddleware):
    def __init__(self) -> None:
        self.threads: list[int] = []
        self.errors: list[str] = []

    def publish(self, outgoing: Publication, proceed: Callable[[Publication], str]) -> str:
        self.threads.append(threading.get_ident())
        tenant.set("ada")
        try:
            return proceed(outgoing.replace(attributes={"by": "thread"}))
        except Exception as error:
            self.errors.append(type(error).__name__)
            raise


class Variable(Middleware):
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def publish(self, outgoing: Publication, proceed: Proceed) -> str:
        self.seen.append(tenant.get())
        return await proceed(outgoing)


async def test_blocking_ones_run_in_threads_and_what_they_set_is_seen_further_in() -> None:
    blocking, variable = Blocking(), Variable()
    bus, _ = bend(polybus.SystemClock(), [blocking, variable, Blocking()])
    async with bus:
        await bus.publish("jobs", b"a")
        async with bus.consume("jobs") as deliveries, await anext(aiter(deliveries)) as delivery:
            assert delivery.attributes["by"] == "thread"
    assert blocking.threads != [threading.get_ident()]
    assert variable.seen == ["ada"]
    assert tenant.get() == "none"


async def test_blocking_ones_get_the_errors_of_what_is_further_in() -> None:
    blocking = Blocking()
    bus, driver = bend(polybus.SystemClock(), [blocking])
    driver.calls = _deny
    async with bus:
        with pytest.raises(polybus.PublishFailed):
            await bus.publish("jobs", b"a")
    assert blocking.errors == ["PublishFailed"]


async def _deny(batch: Any, publish: Any) -> Any:
    return [DENIED] * len(batch)


async def test_a_thread_whose_call_was_given_up_does_not_proceed() -> None:
    began, go_on = asyncio.Event(), threading.Event()
    ended: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    class Slow(SyncMiddleware):
        def publish(self, outgoing: Publication, proceed: Callable[[Publication], str]) -> str:
            loop.call_soon_threadsafe(began.set)
            go_on.wait(30)
            try:
                return proceed(outgoing)
            except polybus.BusClosed as error:
                loop.call_soon_threadsafe(ended.put_nowait, str(error))
                raise

    bus, driver = bend(polybus.SystemClock(), [Slow()])
    async with bus:
        task = asyncio.create_task(bus.publish("jobs", b"a"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert "was given up" in await ended.get()
    assert driver.sent == []


async def test_a_cancellation_reaches_what_a_thread_waits_for() -> None:
    gate = Gate(b"a")
    bus, driver = bend(polybus.SystemClock(), [Blocking(), gate])
    async with bus:
        task = asyncio.create_task(bus.publish("jobs", b"a"))
        await gate.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert driver.sent == []


def test_the_blocking_bus_has_it_too() -> None:
    blocking = Blocking()
    with polybus.sync.connect(_topology("blocking"), middleware=[blocking]) as bus:
        bus.publish("jobs", b"a")
        assert bus.publish_many("jobs", [b"b", b"c"])
        with bus.consume("jobs") as deliveries, next(deliveries) as delivery:
            assert delivery.attributes["by"] == "thread"
    assert len(blocking.threads) == 3


# Order (contract, P6) -------------------------------------------------------------------------------------------------


async def test_the_order_of_a_key_is_that_of_the_calls_however_long_middleware_takes() -> None:
    gate = Gate(b"1", b"3")
    bus, _ = bend(polybus.SystemClock(), [gate])
    async with bus:
        tasks = [publish(bus, b"%d" % number) for number in range(1, 5)]
        other = publish(bus, b"other", "x")
        await other  # a key of its own waits for nothing
        await settle()
        assert gate.reached == [b"1", b"2", b"3", b"4", b"other"]  # middleware works on all of them at once
        gate.held[b"3"].set()
        await settle()
        assert not any(task.done() for task in tasks)
        gate.held[b"1"].set()
        await asyncio.gather(*tasks)
        assert await delivered(bus, "serial", 5) == [b"other", b"1", b"2", b"3", b"4"]


async def test_one_that_answers_by_itself_does_not_let_later_ones_overtake_earlier_ones() -> None:
    gate = Gate(b"1")
    gate.answers = {b"2"}
    bus, _ = bend(polybus.SystemClock(), [gate])
    async with bus:
        first, second, third = publish(bus, b"1"), publish(bus, b"2"), publish(bus, b"3")
        assert await second == "mine"
        await settle()
        gate.held[b"1"].set()
        await asyncio.gather(first, third)
        assert await delivered(bus, "serial", 2) == [b"1", b"3"]


async def test_a_failure_in_middleware_holds_up_later_ones_of_its_key_and_none_before() -> None:
    gate = Gate(b"1")
    gate.fails = {b"2": ValueError("not this")}
    bus, _ = bend(polybus.SystemClock(), [gate])
    async with bus:
        first, second, third = publish(bus, b"1"), publish(bus, b"2"), publish(bus, b"3")
        await settle()
        gate.held[b"1"].set()
        await first
        with pytest.raises(ValueError, match="not this"):
            await second
        assert await kinds(third) == [FaultKind.KEY_BLOCKED]
        assert await kinds(publish(bus, b"other", "x")) == [None]
        bus.resume("serial", "k")
        await publish(bus, b"4")
        assert set(await delivered(bus, "serial", 3)) == {b"1", b"other", b"4"}


async def test_a_cancelled_call_holds_up_nothing() -> None:
    gate = Gate(b"1")
    bus, _ = bend(polybus.SystemClock(), [gate])
    async with bus:
        first, second = publish(bus, b"1"), publish(bus, b"2")
        await settle()
        first.cancel()
        await second
        assert await delivered(bus, "serial", 1) == [b"2"]


async def test_one_may_publish_to_the_same_target_and_key() -> None:
    class Announces(Middleware):
        async def publish(self, outgoing: Publication, proceed: Proceed) -> str:
            if outgoing.message.body != b"announced":
                await bus.publish("serial", b"announced", ordering_key="k")
            return await proceed(outgoing)

    bus, _ = bend(polybus.SystemClock(), [Announces()])
    async with bus:
        await bus.publish("serial", b"1", ordering_key="k")
        await bus.publish_many("serial", [Message(b"2", ordering_key="k"), Message(b"3", ordering_key="x")])
        found = await delivered(bus, "serial", 6)
    assert found.count(b"announced") == 3
    assert [body for body in found if body in (b"1", b"2")] == [b"1", b"2"]


# Many -----------------------------------------------------------------------------------------------------------------


async def test_many_have_an_outcome_each() -> None:
    gate = Gate()
    gate.fails = {b"2": ValueError("not this")}
    bus, _ = bend(polybus.SystemClock(), [gate])
    async with bus:
        outcomes = await bus.publish_many("jobs", [b"1", b"2", object(), b"3"], outcomes=True)
        assert [kind(outcome) for outcome in outcomes] == [None, FaultKind.INVALID, FaultKind.INVALID, None]
        assert sorted(await delivered(bus, "jobs", 2)) == [b"1", b"3"]
        with pytest.raises(polybus.PublishFailed) as failed:
            await bus.publish_many("jobs", [b"1", b"2"])
        assert isinstance(failed.value.__cause__, ValueError)
        with pytest.raises(TypeError, match="takes an iterable"):
            await bus.publish_many("jobs", b"1")


async def test_many_are_sent_in_batches() -> None:
    bus, driver = bend(polybus.ManualClock(), [Named("", [])], linger=0.0)
    async with bus:
        await bus.publish_many("jobs", [b"%d" % number for number in range(50)])
    assert len(driver.sent) < 10


async def test_many_keep_their_order_and_what_is_published_meanwhile_comes_after_them() -> None:
    gate = Gate(b"1", b"2")
    bus, _ = bend(polybus.SystemClock(), [gate])
    async with bus:
        first = publish(bus, b"1")
        await settle()
        many = asyncio.create_task(
            bus.publish_many("serial", [Message(body, ordering_key="k") for body in (b"2", b"3", b"4")])
        )
        await settle()
        after, elsewhere = publish(bus, b"5"), publish(bus, b"6", "x")
        await settle()
        gate.held[b"2"].set()
        await settle()
        gate.held[b"1"].set()
        await asyncio.gather(first, many, after, elsewhere)
        found = await delivered(bus, "serial", 6)
    assert [body for body in found if body != b"6"] == [b"1", b"2", b"3", b"4", b"5"]


async def test_in_one_call_a_failure_holds_up_what_follows_of_its_key() -> None:
    gate = Gate(b"1")
    gate.fails = {b"2": ValueError("not this")}
    bus, _ = bend(polybus.SystemClock(), [gate])
    async with bus:
        batch = [Message(body, ordering_key="k") for body in (b"1", b"2", b"3")]
        many = asyncio.create_task(bus.publish_many("serial", batch, outcomes=True))
        await settle()
        gate.held[b"1"].set()
        assert [kind(outcome) for outcome in await many] == [None, FaultKind.INVALID, FaultKind.KEY_BLOCKED]


async def test_many_are_taken_as_there_is_room_for_them() -> None:
    made: list[int] = []
    gate = Gate(b"0")

    def messages() -> Any:
        for number in range(20):
            made.append(number)
            yield b"0"

    bus, _ = bend(polybus.SystemClock(), [gate], max_outstanding=3)
    async with bus:
        many = asyncio.create_task(bus.publish_many("jobs", messages()))
        await settle()
        assert made == [0, 1, 2, 3]
        gate.held[b"0"].set()
        assert len(await many) == 20


async def test_many_are_bounded_in_bytes_too_and_one_is_always_let_in() -> None:
    gate = Gate(b"long enough")
    made: list[int] = []

    def messages() -> Any:
        for number in range(5):
            made.append(number)
            yield b"long enough"

    bus, _ = bend(polybus.SystemClock(), [gate], max_outstanding_bytes=5)
    async with bus:
        many = asyncio.create_task(bus.publish_many("jobs", messages(), outcomes=True))
        await settle()
        assert made == [0, 1]
        gate.held[b"long enough"].set()
        await many


async def test_an_iterable_that_fails_says_what_was_sent_before() -> None:
    def messages() -> Any:
        yield b"1"
        yield object()
        raise RuntimeError("no more")

    bus, _ = bend(polybus.SystemClock(), [Gate()])
    async with bus:
        with pytest.raises(RuntimeError, match="no more") as failed:
            await bus.publish_many("jobs", messages())
        assert failed.value.__notes__ == ["of the messages to 'jobs' before, 1 were sent and 1 failed"]
        assert await delivered(bus, "jobs", 1) == [b"1"]


async def test_where_nothing_gets_through_the_rest_of_many_fails_with_the_first() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, [Gate()], max_outstanding=2, deadline=10)
    made: list[int] = []

    def messages() -> Any:
        for number in range(100):
            made.append(number)
            yield b"%d" % number

    driver.calls = _hang
    async with bus:
        many = asyncio.create_task(bus.publish_many("jobs", messages(), outcomes=True))
        for _ in range(30):
            await clock.advance(1.0)
        outcomes = await many
    assert len(outcomes) == 100
    assert all(isinstance(outcome, polybus.Fault) for outcome in outcomes)


async def _hang(batch: Any, publish: Any) -> Any:
    await asyncio.Event().wait()


async def test_many_that_are_cancelled_end_at_once() -> None:
    gate = Gate(b"2")
    bus, _ = bend(polybus.SystemClock(), [gate])
    async with bus:
        many = asyncio.create_task(bus.publish_many("serial", [Message(b"2", ordering_key="k")] * 3))
        await settle()
        many.cancel()
        with pytest.raises(asyncio.CancelledError):
            await many
        await publish(bus, b"1")
        assert await delivered(bus, "serial", 1) == [b"1"]


async def test_a_closed_bus_raises_what_it_does_without() -> None:
    gate = Gate(b"1")
    bus, _ = bend(polybus.SystemClock(), [gate])
    with pytest.raises(polybus.BusClosed):
        await bus.publish("jobs", b"1")
    async with bus:
        task = asyncio.create_task(bus.publish("jobs", b"1"))
        await settle()
    gate.held[b"1"].set()
    with pytest.raises(polybus.BusClosed):
        await task
