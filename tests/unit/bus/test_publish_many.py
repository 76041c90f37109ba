"""What becomes of each of many messages (contract, P2), and of the caller who doesn't wait."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import pytest
from bent import DENIED, DOWN, Refused, bend, delivered, kind

import polybus
from polybus.errors import Fault, FaultKind
from polybus.message import Message, Sent
from polybus.telemetry import NoHooks, Publishing


@dataclasses.dataclass
class Order:
    price: float
    lines: list[Any]


BAD = [
    pytest.param(object(), TypeError, "Encoding objects of type object is unsupported: at \\$", id="object"),
    pytest.param({"a": [1, {"b": 1j}]}, TypeError, r"complex.*at \$\.a\[1\]\.b", id="nested"),
    pytest.param({"a b": object()}, TypeError, r"at \$\[\.\.\.\]", id="a key that may be content"),
    pytest.param("\ud800", ValueError, "lone surrogate at 0", id="surrogate"),
    pytest.param(
        {"name": ["caf\udce9"]}, ValueError, r"surrogates not allowed: at \$\.name\[0\]", id="surrogate within"
    ),
    pytest.param(float("nan"), ValueError, "no NaN and no infinity.*at \\$$", id="nan"),
    pytest.param({"a": None, "b": [float("-inf")]}, ValueError, r"infinity.*at \$\.b\[0\]", id="infinity"),
    pytest.param(Order(float("nan"), []), ValueError, r"at \$\.price", id="dataclass"),
    pytest.param(Order(1.0, [object()]), TypeError, r"at \$\.lines\[0\]", id="within a dataclass"),
    pytest.param(Message("text"), TypeError, "body of a Message.*must be bytes, not str", id="body of text"),  # type: ignore[arg-type]
    pytest.param(Message(b"", ["a"]), TypeError, "must be a mapping, not list", id="attributes"),  # type: ignore[arg-type]
    pytest.param(Message(b"", id=7), TypeError, "id .*must be str, not int", id="id"),  # type: ignore[arg-type]
    pytest.param(Message(b"", id="\ud800"), ValueError, "id .*lone surrogate", id="surrogate in the id"),
    pytest.param(Message(b"", ordering_key="k"), polybus.UnsupportedFeature, "declare it", id="undeclared key"),
]


@pytest.mark.parametrize(("bad", "error", "says"), BAD)
async def test_one_that_can_not_be_sent_fails_alone(bad: object, error: type[Exception], says: str) -> None:
    bus, driver = bend(polybus.ManualClock())
    async with bus:
        with pytest.raises(error, match=says) as raised:
            await bus.publish("jobs", bad)
        assert "'jobs'" in str(raised.value)
        outcomes = await bus.publish_many("jobs", ["a", bad, "b"], outcomes=True)
        assert [kind(outcome) for outcome in outcomes] == [None, FaultKind.INVALID, None]
        assert str(raised.value) in str(outcomes[1])
        with pytest.raises(polybus.PublishFailed) as failed:
            await bus.publish_many("jobs", ["c", bad, "d"])
        assert [type(outcome) for outcome in failed.value.outcomes] == [Sent, Fault, Sent]
        assert type(failed.value.__cause__) is error
        assert await delivered(bus, "jobs", 4) == [b"a", b"b", b"c", b"d"]
    assert all(len(call) == 2 for call in driver.sent)


async def test_what_is_none_within_json_is_sent() -> None:
    bus, _ = bend(polybus.ManualClock())
    async with bus:
        await bus.publish("jobs", {"a": None, "text": "NaN null Infinity", "b": [1.5, True]})
        [body] = await delivered(bus, "jobs", 1)
    assert msgspec.json.decode(body) == {"a": None, "text": "NaN null Infinity", "b": [1.5, True]}


async def test_a_body_within_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    bus, _ = bend(polybus.ManualClock())
    async with bus:
        with pytest.raises(ValueError, match="nested too deeply"):
            await bus.publish("jobs", endless)


async def test_a_body_whose_own_code_fails_fails_alone() -> None:
    class Model:
        def model_dump_json(self) -> str:
            raise LookupError("the model's own error")

    bus, _ = bend(polybus.ManualClock())
    async with bus:
        outcomes = await bus.publish_many("jobs", ["a", Model(), "b"], outcomes=True)
    assert [kind(outcome) for outcome in outcomes] == [None, FaultKind.INVALID, None]
    assert "LookupError: the model's own error" in str(outcomes[1])


async def test_one_that_can_not_be_sent_holds_up_its_key() -> None:
    bus, _ = bend(polybus.ManualClock())
    messages = [Message(b"1", ordering_key="k"), Message("2", ordering_key="k"), Message(b"3", ordering_key="k")]  # type: ignore[arg-type]
    async with bus:
        outcomes = await bus.publish_many("serial", [*messages, Message(b"4", ordering_key="o")], outcomes=True)
    assert [kind(outcome) for outcome in outcomes] == [None, FaultKind.INVALID, FaultKind.KEY_BLOCKED, None]


class Pair(NamedTuple):
    a: int
    b: int


class Struct(msgspec.Struct):
    a: int


@pytest.mark.parametrize(
    "one", [{"a": 1}, "ab", b"ab", bytearray(b"ab"), memoryview(b"ab"), Message(b"ab"), Pair(1, 2), Struct(1), 5]
)
async def test_one_body_is_not_several(one: Any) -> None:
    bus, driver = bend(polybus.ManualClock())
    async with bus:
        with pytest.raises(TypeError):
            await bus.publish_many("jobs", one)
    assert driver.sent == []


async def test_cancelled_it_ends_at_once_and_what_was_taken_is_sent() -> None:
    ended: list[Sent | Fault] = []

    class Listens(NoHooks):
        def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
            return ended.append

    clock = polybus.ManualClock()
    bus, driver = bend(clock, max_outstanding=3)
    bus._connection.hooks = Listens()
    hold = asyncio.Event()
    made: list[int] = []

    async def held(batch: Any, publish: Any) -> Any:
        await hold.wait()
        return await publish(batch)

    def many() -> Iterator[bytes]:
        for number in range(100):
            made.append(number)
            yield b"%d" % number

    driver.calls = held
    async with bus:
        sending = asyncio.create_task(bus.publish_many("jobs", many()))
        await clock.settle()
        sending.cancel()
        await clock.settle()
        assert sending.cancelled()
        assert len(made) == 4  # what had no room was not even made, but the one that waited for it
        assert [kind(outcome) for outcome in ended] == [FaultKind.CANCELLED]
        hold.set()
        assert await delivered(bus, "jobs", 3) == [b"0", b"1", b"2"]
        assert [kind(outcome) for outcome in ended] == [FaultKind.CANCELLED, None, None, None]


async def test_it_holds_no_more_than_fits_while_the_publisher_opens() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    opened = asyncio.Event()
    driver.opens = opened.wait
    made: list[int] = []

    def many() -> Iterator[bytes]:
        for number in range(100):
            made.append(number)
            yield b"%d" % number

    async with bus:
        sending = asyncio.create_task(bus.publish_many("jobs", many()))
        await clock.settle()
        assert len(made) == 1
        opened.set()
        assert len(await sending) == 100
        assert await delivered(bus, "jobs", 100) == [b"%d" % number for number in range(100)]


async def test_an_iterable_that_fails_says_what_became_of_those_before() -> None:
    def broken() -> Iterator[str]:
        yield "a"
        yield "b"
        raise RuntimeError("the caller's own")

    bus, _ = bend(polybus.ManualClock())
    async with bus:
        with pytest.raises(RuntimeError, match="the caller's own") as raised:
            await bus.publish_many("jobs", broken())
        assert raised.value.__notes__ == ["of the messages to 'jobs' before, 2 were sent and 0 failed"]
        assert await delivered(bus, "jobs", 2) == [b"a", b"b"]


async def test_a_bus_that_closes_meanwhile_tells_what_was_not_sent() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, max_outstanding=2)
    hold = asyncio.Event()

    async def held(batch: Any, publish: Any) -> Any:
        await hold.wait()
        return await publish(batch)

    driver.calls = held
    async with bus:
        sending = asyncio.create_task(bus.publish_many("jobs", [b"x"] * 10, outcomes=True))
        await clock.settle()
        closing = asyncio.create_task(bus.aclose())
        await clock.settle()
        hold.set()
        await closing
        outcomes = await sending
    assert [kind(outcome) for outcome in outcomes] == [None] * 3 + [FaultKind.CANCELLED] * 7


async def test_all_fail_with_what_the_opening_failed_with() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)

    async def refuse() -> None:
        raise Refused(DENIED)

    driver.opens = refuse
    async with bus:
        outcomes = await bus.publish_many("jobs", [b"x"] * 3, outcomes=True)
    assert [kind(outcome) for outcome in outcomes] == [FaultKind.DENIED] * 3


# Deduplication belongs to one call (contract, P5) ---------------------------------------------------------------------


@pytest.mark.parametrize("queue", ["jobs", "serial"])
async def test_a_received_message_that_is_published_again_is_a_new_one(queue: str) -> None:
    bus, _ = bend(polybus.ManualClock())
    async with bus:
        first = await bus.publish(queue, b"again", attributes={"a": "b"})
        async with bus.consume(queue) as deliveries:
            delivery = await anext(deliveries)
            again = await bus.publish(queue, delivery.message)
            await delivery.ack()
            second = await anext(deliveries)
            await second.ack()
    assert first != again == second.id
    assert (second.body, dict(second.attributes), second.redelivered) == (b"again", {"a": "b"}, False)


async def test_the_same_id_twice_is_two_messages() -> None:
    bus, _ = bend(polybus.ManualClock())
    async with bus:
        for queue in ("jobs", "serial"):
            message = Message(b"twice", id="order 17")
            assert await bus.publish_many(queue, [message, message]) == ["order 17"] * 2
            await bus.publish(queue, message)
            assert await delivered(bus, queue, 3) == [b"twice"] * 3


async def test_a_retry_is_no_second_message() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    tries = 0

    async def lost(batch: Any, publish: Any) -> Any:
        nonlocal tries
        tries += 1
        outcomes = await publish(batch)
        if tries == 1:
            raise Refused(DOWN)
        return outcomes

    driver.calls = lost
    async with bus:
        for message in (b"once", Message(b"once", id="chosen")):
            tries = 0
            publishing = asyncio.create_task(bus.publish("jobs", message))
            await clock.advance(1)
            await publishing
            assert (await bus.stats("jobs")).waiting == 1
            await delivered(bus, "jobs", 1)


async def test_attributes_that_change_after_the_call_change_nothing() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    driver.opens = lambda: asyncio.sleep(0)
    attributes = {"a": "as it was"}
    async with bus:
        publishing = asyncio.create_task(bus.publish("jobs", b"", attributes=attributes))
        await asyncio.sleep(0)
        attributes["a"] = "changed"
        await publishing
        async with bus.consume("jobs") as deliveries:
            delivery = await anext(deliveries)
            found: Mapping[str, str] = delivery.attributes
            await delivery.ack()
    assert dict(found) == {"a": "as it was"}
