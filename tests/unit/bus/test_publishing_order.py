"""The order of a key's messages is that of the calls, whatever they wait for (contract, P6)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from bent import DENIED, DOWN, Bent, Publish, Refused, bend, delivered, kind, kinds

import polybus
from polybus.driver import BatchLimits, Prepared
from polybus.errors import FaultKind
from polybus.message import Message


def publish(bus: polybus.Bus, body: bytes, key: str | None = "k") -> asyncio.Task[str]:
    return asyncio.create_task(bus.publish("serial", body, ordering_key=key))


class Hold:
    """Holds every call of a driver until it is opened."""

    def __init__(self, driver: Bent) -> None:
        self.reached, self._opened = asyncio.Event(), asyncio.Event()
        driver.calls = self._call

    async def _call(self, batch: Sequence[Prepared[Any]], publish: Publish) -> Sequence[Any]:
        self.reached.set()
        await self._opened.wait()
        return await publish(batch)

    def open(self) -> None:
        self._opened.set()


async def test_a_call_made_as_room_appears_does_not_overtake_one_that_waits_for_it() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, max_outstanding=2)
    async with bus:
        hold = Hold(driver)
        fillers = [publish(bus, b"filler", f"f{number}") for number in range(2)]
        await hold.reached.wait()
        first = publish(bus, b"1")
        await clock.settle()
        second: list[asyncio.Task[str]] = []
        fillers[0].add_done_callback(lambda done: second.append(publish(bus, b"2")))
        hold.open()
        await asyncio.gather(*fillers)
        await asyncio.gather(first, *second)
        assert [body for body in await delivered(bus, "serial", 4) if body != b"filler"] == [b"1", b"2"]


async def test_calls_made_while_the_publisher_opens_keep_their_order() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    tasks: list[asyncio.Task[str]] = []

    async def call_again_as_it_opens() -> None:
        await asyncio.sleep(0)
        for number in range(1, 40):
            asyncio.get_running_loop().call_later(0, lambda n=number: tasks.append(publish(bus, b"%d" % n)))
            await asyncio.sleep(0)

    driver.opens = call_again_as_it_opens
    async with bus:
        tasks.append(publish(bus, b"0"))
        await clock.settle()
        await asyncio.gather(*tasks)
        assert [int(body) for body in await delivered(bus, "serial", 40)] == list(range(40))
    assert driver.opened == 1


async def test_a_failed_opening_fails_what_waits_and_blocks_its_keys_until_they_are_resumed() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)

    async def refuse() -> None:
        await asyncio.sleep(0)
        raise Refused(DENIED)

    driver.opens = refuse
    async with bus:
        bus.resume("serial", "k")  # before anything was published: nothing to do, and no error
        waiting = [publish(bus, b"1"), publish(bus, b"2"), publish(bus, b"own", None)]
        assert await kinds(*waiting) == [FaultKind.DENIED, FaultKind.KEY_BLOCKED, FaultKind.DENIED]
        driver.opens = None
        assert await kinds(publish(bus, b"3")) == [FaultKind.KEY_BLOCKED]
        assert list(bus.blocked("serial")) == ["k"]
        bus.resume("serial", "k")
        assert await kinds(publish(bus, b"4")) == [None]
        assert await delivered(bus, "serial", 1) == [b"4"]


async def test_an_opening_that_may_succeed_later_is_tried_again_until_the_deadline() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=30.0)

    async def down() -> None:
        raise Refused(DOWN)

    driver.opens = down
    async with bus:
        waiting = publish(bus, b"1")
        await clock.advance(29)
        assert not waiting.done()
        await clock.advance(2)
        [failed] = await asyncio.gather(waiting, return_exceptions=True)
        assert kind(failed) is FaultKind.DEADLINE
        assert "the test cut the way" in str(failed)
        assert driver.opened > 3
        bus.resume("serial", "k")
        waiting = publish(bus, b"2")
        await clock.settle()
        driver.opens = None
        await clock.advance(20)
        assert await kinds(waiting) == [None]


async def test_what_polybus_says_of_an_opening_is_neither_lost_nor_tried_again() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)

    async def misbound() -> None:
        raise polybus.BindingError("settings.url of the binding is missing")

    driver.opens = misbound
    async with bus:
        with pytest.raises(polybus.PublishFailed, match=r"settings\.url of the binding is missing"):
            await bus.publish("jobs", b"1")
    assert driver.opened == 1


async def test_a_refused_message_holds_up_those_after_it_and_none_before_it() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, max_outstanding=1)
    async with bus:
        hold = Hold(driver)
        filler = publish(bus, b"filler", "f")
        await hold.reached.wait()
        before = publish(bus, b"before")
        await clock.settle()
        too_large = publish(bus, b"x" * 11_000_000)
        await clock.settle()
        after = publish(bus, b"after")
        assert await kinds(too_large, after) == [FaultKind.TOO_LARGE, FaultKind.KEY_BLOCKED]
        assert not before.done()
        hold.open()
        assert await kinds(filler, before) == [None, None]


async def test_of_what_waits_for_the_opening_only_what_follows_a_refused_message_fails() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    driver.opens = lambda: asyncio.sleep(0)
    async with bus:
        tasks = [publish(bus, body) for body in (b"before", b"x" * 11_000_000, b"after")]
        tasks.append(publish(bus, b"other", "other"))
        assert await kinds(*tasks) == [None, FaultKind.TOO_LARGE, FaultKind.KEY_BLOCKED, None]


async def test_after_a_failure_what_waits_for_room_fails_too() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, max_outstanding=2)

    async def deny(batch: Sequence[Prepared[Any]], publish: Publish) -> Sequence[Any]:
        await asyncio.sleep(0)
        return [DENIED if each.outgoing.message.body == b"1" else (await publish([each]))[0] for each in batch]

    driver.calls, driver.limits = deny, BatchLimits(10, 1_000_000, repeats_key=False)
    async with bus:
        tasks = [publish(bus, b"%d" % number) for number in range(1, 9)]
        other = publish(bus, b"other", "other")
        found = await kinds(*tasks, other)
        assert found[0] is FaultKind.DENIED
        assert set(found[1:-1]) == {FaultKind.KEY_BLOCKED}
        assert found[-1] is None


async def test_a_call_that_is_cancelled_while_it_waits_is_not_sent_and_changes_nothing_for_others() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, max_outstanding=1)
    async with bus:
        hold = Hold(driver)
        tasks = [publish(bus, b"%d" % number) for number in range(5)]
        await hold.reached.wait()
        await clock.settle()
        for cancelled in (0, 2, 4):  # the first is under way, and is sent all the same
            tasks[cancelled].cancel()
        hold.open()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [task.cancelled() for task in tasks] == [True, False, True, False, True]
        assert await delivered(bus, "serial", 3) == [b"0", b"1", b"3"]
        for number in range(3):
            await bus.publish("serial", b"%d" % number, ordering_key="k")  # there is room, as before


async def test_keys_that_polybus_made_are_never_blocked() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)

    async def deny(batch: Sequence[Prepared[Any]], publish: Publish) -> Sequence[Any]:
        return [DENIED] * len(batch)

    driver.calls = deny
    async with bus:
        outcomes = await bus.publish_many("serial", [b"x"] * 500, outcomes=True)
        outcomes += await bus.publish_many("serial", [Message(b"x", id="chosen")] * 2, outcomes=True)
        assert {kind(outcome) for outcome in outcomes} == {FaultKind.DENIED}
        assert len(bus.blocked("serial")) == 0


async def test_more_blocked_keys_than_are_remembered_block_all_until_they_are_resumed() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock)
    driver.calls = None
    async with bus:
        await bus.publish("serial", b"first", ordering_key="fine")
        huge = b"x" * 11_000_000
        messages = (Message(huge, ordering_key=f"k{number}") for number in range(10_050))
        outcomes = await bus.publish_many("serial", messages, outcomes=True)
        assert {kind(outcome) for outcome in outcomes} == {FaultKind.TOO_LARGE, FaultKind.KEY_BLOCKED}
        blocked = bus.blocked("serial")
        assert (len(blocked), blocked.all, blocked["k0"].kind) == (10_000, True, FaultKind.TOO_LARGE)
        refused = await bus.publish_many("serial", [Message(b"", ordering_key="fine")], outcomes=True)
        assert "bus.resume('serial') lets all pass" in str(refused[0])
        assert await bus.publish("serial", b"own key")
        bus.resume("serial", "fine")
        assert await bus.publish("serial", b"second", ordering_key="fine")
        assert await kinds(publish(bus, b"", "k5")) == [FaultKind.KEY_BLOCKED]
        bus.resume("serial")
        assert await bus.publish("serial", b"third", ordering_key="k5")
        assert (len(bus.blocked("serial")), bus.blocked("serial").all) == (0, False)


async def test_resume_and_blocked_name_a_target_that_is_not_there() -> None:
    bus, _ = bend(polybus.ManualClock())
    async with bus:
        with pytest.raises(polybus.BindingError, match="typo"):
            bus.resume("typo")
        with pytest.raises(polybus.BindingError, match="typo"):
            bus.blocked("typo")


async def test_a_key_goes_on_while_another_of_its_batch_is_tried_again() -> None:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, linger=0.0)

    async def one_is_down(batch: Sequence[Prepared[Any]], publish: Publish) -> Sequence[Any]:
        return [DOWN if each.outgoing.message.body == b"a" else (await publish([each]))[0] for each in batch]

    driver.calls, driver.limits = one_is_down, BatchLimits(10, 1_000_000, repeats_key=False)
    async with bus:
        stuck = publish(bus, b"a", "a")
        others = [publish(bus, b"%d" % number, "b") for number in range(3)]
        await clock.advance(5)
        assert [task.done() for task in (stuck, *others)] == [False, True, True, True]
        await clock.advance(60)
        assert await kinds(stuck, *others) == [FaultKind.DEADLINE, None, None, None]
