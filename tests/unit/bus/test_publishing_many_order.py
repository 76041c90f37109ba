"""The messages of one `publish_many` come before those of every later call (contract, P6), however long they wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from bent import DENIED, Refused, bend, delivered

import polybus
from polybus.errors import Fault, FaultKind, PublishFailed
from polybus.message import Message


def keyed(*numbers: int) -> list[Message]:
    return [Message(b"%d" % number, {}, "k") for number in numbers]


def many(bus: polybus.Bus, *numbers: int) -> asyncio.Task[list[str]]:
    return asyncio.create_task(bus.publish_many("serial", keyed(*numbers)))


def one(bus: polybus.Bus, number: int) -> asyncio.Task[str]:
    return asyncio.create_task(bus.publish("serial", b"%d" % number, ordering_key="k"))


async def test_a_later_call_waits_behind_all_of_them_while_the_publisher_opens() -> None:
    clock = polybus.ManualClock()
    bus, _ = bend(clock)
    async with bus:
        calls = [many(bus, 0, 1, 2, 3), one(bus, 4), many(bus, 5, 6), one(bus, 7)]
        await asyncio.gather(*calls)
        assert [int(body) for body in await delivered(bus, "serial", 8)] == list(range(8))


async def test_a_later_call_waits_behind_all_of_them_while_there_is_no_room() -> None:
    clock = polybus.ManualClock()
    bus, _ = bend(clock, max_outstanding=2)
    async with bus:
        await bus.publish("serial", b"opened", ordering_key="other")
        calls = [many(bus, *range(10)), one(bus, 10), many(bus, *range(11, 20)), one(bus, 20)]
        await asyncio.gather(*calls)
        bodies = await delivered(bus, "serial", 22)
        assert [int(body) for body in bodies if body != b"opened"] == list(range(21))


async def test_a_long_call_that_lets_others_run_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polybus.bus.bus.TURN", 3)
    clock = polybus.ManualClock()
    bus, _ = bend(clock)
    async with bus:
        await bus.publish("serial", b"opened", ordering_key="other")
        calls = [many(bus, *range(10)), one(bus, 10)]
        await asyncio.gather(*calls)
        bodies = await delivered(bus, "serial", 12)
        assert [int(body) for body in bodies if body != b"opened"] == list(range(11))


async def test_a_cancelled_call_lets_those_behind_it_pass() -> None:
    clock = polybus.ManualClock()
    bus, _ = bend(clock, max_outstanding=1)
    async with bus:
        first, second = many(bus, 0, 1, 2, 3), one(bus, 4)
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        bodies = await delivered(bus, "serial", 1)
        assert bodies[-1] == b"4"


async def test_messages_that_raise_as_they_are_made_let_those_behind_pass() -> None:
    def made() -> Iterator[Message]:
        yield from keyed(0, 1)
        raise OSError("the file ends here")

    clock = polybus.ManualClock()
    bus, _ = bend(clock)
    async with bus:
        first, second = asyncio.create_task(bus.publish_many("serial", made())), one(bus, 2)
        with pytest.raises(OSError, match="the file ends here"):
            await first
        await second
        assert [int(body) for body in await delivered(bus, "serial", 3)] == [0, 1, 2]


async def test_where_the_publisher_cant_be_opened_the_whole_call_fails_with_it_at_once() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    opened = 0

    async def refuse() -> None:
        nonlocal opened
        opened += 1
        await asyncio.sleep(0)
        raise Refused(DENIED)

    driver.opens = refuse
    async with bus:
        with pytest.raises(PublishFailed) as failed:
            await bus.publish_many("jobs", [b"x"] * 50)
        outcomes = failed.value.outcomes
        assert [outcome.kind for outcome in outcomes if isinstance(outcome, Fault)] == [FaultKind.DENIED] * 50
        assert opened == 1


async def test_a_call_that_waits_in_vain_for_room_ends_by_one_deadline() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, max_outstanding=1, deadline=10.0)
    async with bus:
        await bus.publish("jobs", b"opened")

        async def hang(batch: object, publish: object) -> list[object]:
            await asyncio.Event().wait()
            return []

        driver.calls = hang
        call = asyncio.create_task(bus.publish_many("jobs", [b"x"] * 50, outcomes=True))
        await clock.advance(21.0)
        assert call.done()
        assert all(isinstance(outcome, Fault) for outcome in call.result())
