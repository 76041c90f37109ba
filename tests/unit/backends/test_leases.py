"""Leases, delays, and waiting for them, of both embedded backends at the driver (docs/contract.md)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polybus.driver import Ack, LeaseUntil, Nack, Outgoing, ToDeadLetters
from polybus.errors import FaultKind

from .conftest import DAY, Rig, bodies, kinds, message, take


class TestLeases:
    async def test_a_leased_message_is_with_one_consumer(self, rig: Rig) -> None:
        one, two = await rig.consumer("jobs"), await rig.consumer("jobs")
        await rig.publish("jobs", *(message(str(n)) for n in range(20)))
        got = [await take(one, 8), await take(two, 8), await take(one, 8), await take(two, 8)]
        assert [len(batch) for batch in got] == [8, 8, 4, 0]
        assert len({r.message.id for batch in got for r in batch}) == 20

    async def test_what_is_not_settled_comes_again_when_its_lease_ends(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"))
        before = rig.clock.monotonic()
        (first,) = await take(consumer)
        assert first.lease_until == before + 60
        await rig.clock.advance(59.5)
        assert await take(consumer) == []
        await rig.clock.advance(0.5)
        (second,) = await take(consumer)
        assert (second.attempt, second.redelivered) == (2, True)
        assert kinds(await consumer.settle_batch([Ack(first)])) == [FaultKind.LEASE_LOST]
        assert await consumer.settle_batch([Ack(second)]) == [None]
        await rig.clock.advance(61)
        assert await take(consumer) == []

    async def test_a_late_ack_is_lost_though_nobody_has_it(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"))
        (late,) = await take(consumer)
        await rig.clock.advance(60)
        for settlement in (Ack(late), Nack(late), ToDeadLetters(late, "r")):
            assert kinds(await consumer.settle_batch([settlement])) == [FaultKind.LEASE_LOST]
        assert kinds(await consumer.extend_batch([late], 60)) == [FaultKind.LEASE_LOST]
        assert bodies(await take(consumer)) == [b"a"]

    async def test_settling_twice_finds_no_lease(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"), message("b"), message("c"))
        a, b, c = await take(consumer)
        assert await consumer.settle_batch([Ack(a), Nack(b, 5), ToDeadLetters(c, "r")]) == [None] * 3
        assert kinds(await consumer.settle_batch([Ack(a), Ack(b), Ack(c)])) == [FaultKind.LEASE_LOST] * 3
        await rig.clock.advance(5)
        assert bodies(await take(consumer)) == [b"b"]

    async def test_one_batch_may_hold_a_delivery_twice(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"))
        (a,) = await take(consumer)
        assert kinds(await consumer.settle_batch([Ack(a), Nack(a)])) == [None, FaultKind.LEASE_LOST]
        assert await take(consumer) == []

    async def test_extending_keeps_and_shortens(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"), message("b"), message("c"))
        a, b, c = await take(consumer)
        await rig.clock.advance(50)
        assert await consumer.settle_batch([Ack(c)]) == [None]
        answers = await consumer.extend_batch([a, c], 60)
        assert answers[0] == LeaseUntil(rig.clock.monotonic() + 60)
        assert kinds(answers) == [None, FaultKind.LEASE_LOST]
        assert await consumer.extend_batch([b], 1) == [LeaseUntil(rig.clock.monotonic() + 1)]
        await rig.clock.advance(1)
        assert bodies(await take(consumer)) == [b"b"]
        await rig.clock.advance(58)
        assert await take(consumer) == []
        await rig.clock.advance(1)
        assert bodies(await take(consumer)) == [b"a"]

    async def test_nack_gives_back_at_once_or_after_its_delay(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"), message("b"), message("c"))
        a, b, c = await take(consumer)
        assert await consumer.settle_batch([Nack(a), Nack(b, 600), Ack(c)]) == [None] * 3
        (again,) = await take(consumer)
        assert (again.message.body, again.attempt) == (b"a", 2)
        await rig.clock.advance(599)
        assert bodies(await take(consumer)) == [b"a"]
        await rig.clock.advance(1)
        assert bodies(await take(consumer)) == [b"b"]

    async def test_a_delayed_message_comes_when_its_delay_is_over(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", Outgoing(message("later"), delay=30), message("now"))
        assert bodies(await take(consumer)) == [b"now"]
        await rig.clock.advance(29)
        assert await take(consumer) == []
        await rig.clock.advance(1)
        assert bodies(await take(consumer)) == [b"later"]

    async def test_what_is_past_its_retention_is_gone(self, rig: Rig) -> None:
        consumer, admin = await rig.consumer("jobs"), await rig.admin()
        await rig.publish("jobs", message("old"), Outgoing(message("delayed"), delay=900))
        await rig.clock.advance(DAY - 1)
        await rig.publish("jobs", message("young"))
        await rig.clock.advance(1)
        assert (await admin.stats(rig.entity("jobs"))).waiting == 1
        assert [peeked.message.body for peeked in await admin.peek(rig.entity("jobs"), 10)] == [b"young"]
        assert bodies(await take(consumer)) == [b"young"]

    async def test_the_last_delivery_ends_among_the_dead_letters(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("poison"))
        for attempt in range(1, 26):
            (one,) = await take(consumer)
            assert one.attempt == attempt
            await rig.clock.advance(60)
        assert await take(consumer) == []
        (letter,) = await take(await rig.consumer("jobs", dead=True))
        assert (letter.message.body, letter.reason, letter.moves) == (b"poison", "MaxAttemptsExceeded", 1)


class TestWaiting:
    async def test_a_publish_wakes_who_waits(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        waiting = asyncio.ensure_future(consumer.receive_batch(10, wait=20))
        await rig.clock.settle()
        await rig.publish("jobs", message("a"))
        assert bodies(await waiting) == [b"a"]

    async def test_without_messages_the_wait_ends(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        waiting = asyncio.ensure_future(consumer.receive_batch(10, wait=20))
        await _advance_until_done(rig, waiting, 20)
        assert await waiting == []

    @pytest.mark.parametrize("what", ["delay", "nack", "lease"])
    async def test_what_falls_due_wakes_who_waits(self, rig: Rig, what: str) -> None:
        one, two = await rig.consumer("jobs"), await rig.consumer("jobs")
        await rig.publish("jobs", Outgoing(message("a"), delay=7 if what == "delay" else 0))
        if what != "delay":
            (first,) = await take(one)
            if what == "nack":
                await one.settle_batch([Nack(first, 7)])
            else:
                await one.extend_batch([first], 7)
        waiting = asyncio.ensure_future(two.receive_batch(10, wait=20))
        started = rig.clock.time()
        await _advance_until_done(rig, waiting, 20)
        assert bodies(await waiting) == [b"a"]
        assert 7 <= rig.clock.time() - started < 20

    async def test_each_message_wakes_another(self, rig: Rig) -> None:
        consumers = [await rig.consumer("jobs") for _ in range(4)]
        waiting = [asyncio.ensure_future(consumer.receive_batch(1, wait=20)) for consumer in consumers]
        await rig.clock.settle()
        await rig.publish("jobs", *(message(str(n)) for n in range(4)))
        assert sorted(bodies([one for batch in await asyncio.gather(*waiting) for one in batch])) == [
            b"0",
            b"1",
            b"2",
            b"3",
        ]

    async def test_stop_ends_a_wait_and_settling_goes_on(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"))
        (a,) = await take(consumer)
        waiting = asyncio.ensure_future(consumer.receive_batch(10, wait=20))
        await rig.clock.settle()
        assert list(await consumer.stop()) == []
        assert await waiting == []
        assert await consumer.settle_batch([Ack(a)]) == [None]

    async def test_a_cancelled_wait_takes_nothing(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await take(consumer)
        waiting = asyncio.ensure_future(consumer.receive_batch(10, wait=20))
        await rig.clock.settle()
        await asyncio.sleep(0.05)  # SQLite's thread answers meanwhile; before or after, nothing is taken
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await rig.publish("jobs", message("a"))
        assert bodies(await take(consumer)) == [b"a"]


async def _advance_until_done(rig: Rig, waiting: asyncio.Future[Any], seconds: int) -> None:
    """Move the clock in steps, giving threads the time to answer, until it is done or the time is over."""
    for _ in range(seconds * 2):
        for _ in range(20):
            await asyncio.sleep(0.0005)
            if waiting.done():
                return
        await rig.clock.advance(0.5)
