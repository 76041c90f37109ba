"""Receipts, attempts and tokens, of both embedded backends at the driver (contract, D2, D5, P5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from polybus.driver import Ack, Nack, Outgoing, Received, Settlement, ToDeadLetters
from polybus.errors import FaultKind
from polybus.feature import Feature
from polybus.message import Message

from .conftest import DAY, Rig, bodies, kinds, message, take

LOST = FaultKind.LEASE_LOST

SETTLEMENTS: dict[str, Callable[[Received[Any]], Settlement[Any]]] = {
    "ack": Ack,
    "nack": Nack,
    "nack with a delay": lambda received: Nack(received, 5.0),
    "dead-letter": lambda received: ToDeadLetters(received, "why"),
}


class TestStaleReceipts:
    async def two_leases(self, rig: Rig) -> tuple[Received[Any], Received[Any]]:
        """Lease a message, let that end, and lease it again, at the same attempt."""
        one, two = await rig.consumer("jobs"), await rig.consumer("jobs")
        await rig.publish("jobs", message("a"))
        (first,) = await take(one)
        assert await one.settle_batch([Nack(first, attempts=0)]) == [None]
        (second,) = await take(two)
        assert first.attempt == second.attempt == 1
        return first, second

    @pytest.mark.parametrize("what", SETTLEMENTS)
    async def test_one_of_another_lease_is_refused_though_the_attempt_is_the_same(self, rig: Rig, what: str) -> None:
        first, second = await self.two_leases(rig)
        consumer = await rig.consumer("jobs")
        assert kinds(await consumer.settle_batch([SETTLEMENTS[what](first)])) == [LOST]
        assert kinds(await consumer.extend_batch([first], 500)) == [LOST]
        await rig.clock.advance(59)
        assert kinds(await consumer.settle_batch([Ack(second)])) == [None]

    @pytest.mark.parametrize("what", SETTLEMENTS)
    @pytest.mark.parametrize("stale_first", [True, False])
    async def test_nor_is_it_taken_for_the_good_one_beside_it(self, rig: Rig, what: str, stale_first: bool) -> None:
        first, second = await self.two_leases(rig)
        one, two = await rig.consumer("jobs"), await rig.consumer("jobs")
        stale, good = one.settle_batch([SETTLEMENTS[what](first)]), two.settle_batch([Ack(second)])
        if stale_first:
            answers = await asyncio.gather(stale, good)
        else:
            answers = list(reversed(await asyncio.gather(good, stale)))
        assert [kinds(answer) for answer in answers] == [[LOST], [None]]
        await rig.clock.advance(61)
        assert await take(one) == []
        assert await take(await rig.consumer("jobs", dead=True)) == []

    async def test_nor_in_one_call(self, rig: Rig) -> None:
        first, second = await self.two_leases(rig)
        consumer = await rig.consumer("jobs")
        assert kinds(await consumer.extend_batch([first, second], 60)) == [LOST, None]
        assert kinds(await consumer.settle_batch([Nack(first), Ack(second), Nack(second)])) == [LOST, None, LOST]
        assert await take(consumer) == []


class TestAttempts:
    async def test_what_is_given_back_takes_its_attempts_along(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"))
        seen = []
        for attempts in (0, 0, 7, None, 3):
            (one,) = await take(consumer)
            seen.append(one.attempt)
            assert await consumer.settle_batch([Nack(one, attempts=attempts)]) == [None]
        (one,) = await take(consumer)
        assert [*seen, one.attempt] == [1, 1, 1, 8, 9, 4]

    async def test_they_survive_a_delay_and_come_with_a_lease_that_ends(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", message("a", "k"))
        (one,) = await take(consumer)
        assert await consumer.settle_batch([Nack(one, 5.0, 4)]) == [None]
        await rig.clock.advance(5)
        (one,) = await take(consumer)
        assert (one.attempt, one.redelivered) == (5, True)
        await rig.clock.advance(30)
        (one,) = await take(consumer)
        assert one.attempt == 6

    async def test_what_no_handler_began_counts_as_new(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"))
        for _ in range(40):  # more than the backend allows deliveries
            (one,) = await take(consumer)
            assert (one.attempt, one.redelivered) == (1, False)
            assert await consumer.settle_batch([Nack(one, attempts=one.attempt - 1)]) == [None]

    async def test_the_feature_says_so(self, rig: Rig) -> None:
        assert Feature.ATTEMPTS in rig.driver.features(rig.entity("jobs"))
        assert Feature.ATTEMPTS in rig.driver.features(rig.entity("jobs").dead_letters)


class TestTokens:
    async def test_one_names_one_copy_at_each_of_its_deliveries(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish(
            "jobs", Outgoing(Message(b"a", id="x"), token="1"), Outgoing(Message(b"b", id="x"), token="2")
        )
        first = await take(consumer)
        assert bodies(first) == [b"a", b"b"]
        assert len({one.token for one in first}) == 2
        assert all(one.token.isascii() and one.token.isprintable() and len(one.token) <= 120 for one in first)
        await consumer.settle_batch([Nack(one) for one in first])
        again = await take(consumer)
        assert {one.message.body: one.token for one in again} == {one.message.body: one.token for one in first}

    async def test_two_letters_of_one_id_both_come_back(self, rig: Rig) -> None:
        consumer, dead = await rig.consumer("jobs"), await rig.consumer("jobs", dead=True)
        await rig.publish(
            "jobs", Outgoing(Message(b"a", id="x"), token="1"), Outgoing(Message(b"b", id="x"), token="2")
        )
        await consumer.settle_batch([ToDeadLetters(one, "why") for one in await take(consumer)])
        letters = await take(dead)
        back = await (await rig.admin()).open_return(rig.entity("jobs"))
        for _ in range(2):  # the second is a retry, and changes nothing
            await rig.publish(back, *(Outgoing(one.message, moves=one.moves + 1, token=one.token) for one in letters))
        assert sorted(bodies(await take(consumer))) == [b"a", b"b"]


class TestExpiry:
    async def test_what_is_leased_is_not_deleted(self, rig: Rig) -> None:
        consumer, admin, jobs = await rig.consumer("jobs"), await rig.admin(), rig.entity("jobs")
        await rig.publish("jobs", *(message(name) for name in ("acked", "given back", "buried", "lost")))
        await rig.clock.advance(DAY - 10)
        acked, back, buried, _ = await take(consumer)
        await rig.clock.advance(20)
        await rig.publish("tiny", message("by the way"))  # who commits looks for what expired
        assert (await admin.stats(jobs)).leased == 4
        answers = await consumer.settle_batch([Ack(acked), Nack(back), ToDeadLetters(buried, "why")])
        assert answers == [None, None, None]
        assert await take(consumer) == []
        assert bodies(await take(await rig.consumer("jobs", dead=True))) == [b"buried"]
        await rig.clock.advance(60)
        assert await take(consumer) == []
        stats = await admin.stats(jobs)
        assert (stats.waiting, stats.leased, stats.delayed) == (0, 0, 0)

    async def test_it_can_be_extended_meanwhile(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"))
        await rig.clock.advance(DAY - 10)
        (one,) = await take(consumer)
        for _ in range(5):
            await rig.clock.advance(50)
            assert kinds(await consumer.extend_batch([one], 60)) == [None]
        assert await consumer.settle_batch([Ack(one)]) == [None]

    async def test_what_is_deleted_is_told_with_its_count_once_a_minute(
        self, rig: Rig, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, "polybus")
        jobs, lines = await rig.consumer("jobs"), await rig.consumer("lines")
        await rig.publish("jobs", *(message(str(n)) for n in range(7)))
        await rig.publish("lines", message("a", "k"))
        await rig.clock.advance(DAY + 1)
        assert await take(jobs) == []
        assert len(await take(lines)) == 1  # kept for a week
        (line,) = caplog.messages
        assert "7 messages of queue 'jobs' expired" in line
        for _ in range(3):
            await rig.publish("jobs", message("b"))
        await rig.clock.advance(DAY + 1)
        assert await take(jobs) == []
        assert "3 messages of queue 'jobs' expired" in caplog.messages[1]
        assert len(caplog.messages) == 2
