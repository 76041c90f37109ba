"""Dead letters, redrive, and what operators see and do, of both embedded backends at the driver (docs/contract.md)."""

from __future__ import annotations

import pytest

from polybus.driver import Ack, Nack, Outgoing, ToDeadLetters
from polybus.errors import BackendError, FaultKind
from polybus.feature import Feature
from polybus.message import Message

from .conftest import DAY, Rig, bodies, kinds, message, take


class TestDeadLetters:
    async def test_a_letter_is_the_message_and_why(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        sent = message("bad", "k", region="eu")
        await rig.publish("lines", sent)
        (one,) = await take(consumer)
        await rig.clock.advance(5)
        assert await consumer.settle_batch([ToDeadLetters(one, "BadOrder", "no \ud800 price")]) == [None]
        (letter,) = await take(await rig.consumer("lines", dead=True))
        assert letter.message == one.message
        assert (letter.reason, letter.description, letter.moves) == ("BadOrder", "no ? price", 1) or (
            letter.description == "no \ud800 price"
        )
        assert (letter.attempt, letter.redelivered, letter.group) == (1, True, None)

    async def test_letters_are_leased_given_back_and_acked_like_any(self, rig: Rig) -> None:
        await _dead_letter(rig, "jobs", message("a"), message("b"))
        dead = await rig.consumer("jobs", dead=True)
        a, b = await take(dead)
        assert await dead.settle_batch([Nack(a), Ack(b)]) == [None, None]
        (again,) = await take(dead)
        assert (again.message.body, again.attempt, again.reason) == (b"a", 2, "why")
        assert kinds(await dead.settle_batch([ToDeadLetters(again, "r")])) == [FaultKind.INVALID]
        assert await dead.settle_batch([Ack(again)]) == [None]
        await rig.clock.advance(61)
        assert await take(dead) == []

    async def test_letters_have_no_limit_of_deliveries_but_their_retention(self, rig: Rig) -> None:
        await _dead_letter(rig, "jobs", message("a"))
        dead = await rig.consumer("jobs", dead=True)
        for _ in range(40):
            assert len(await take(dead)) == 1
            await rig.clock.advance(60)
        await rig.clock.advance(2 * DAY - 40 * 60 - 1)
        assert len(await take(dead)) == 1
        await rig.clock.advance(60)
        assert await take(dead) == []

    async def test_redrive_reaches_its_own_subscription_alone(self, rig: Rig) -> None:
        sent = message("a", region="eu")
        await rig.publish("orders", sent)
        await _bury_all(rig, "eu")
        back = await (await rig.admin()).open_return(rig.entity("eu"))
        (letter,) = await take(await rig.consumer("eu", dead=True))
        await rig.clock.advance(100)
        assert await rig.publish(back, Outgoing(letter.message, moves=letter.moves + 1)) == [sent.id]
        (again,) = await take(await rig.consumer("eu"))
        assert (again.message, again.moves, again.attempt, again.redelivered) == (letter.message, 2, 1, True)
        assert len(await take(await rig.consumer("all"))) == 1

    async def test_redrive_keeps_a_key_even_without_order_and_is_done_once(self, rig: Rig) -> None:
        await rig.publish("steps", message("a", "k"))
        for name in ("steps-in-order", "steps-loose"):
            await _bury_all(rig, name)
            back = await (await rig.admin()).open_return(rig.entity(name))
            (letter,) = await take(await rig.consumer(name, dead=True))
            for _ in range(2):
                await rig.publish(back, Outgoing(letter.message, moves=letter.moves + 1))
            (again,) = await take(await rig.consumer(name))
            assert (again.message.ordering_key, again.redelivered) == ("k", True)

    async def test_a_letter_may_go_and_come_back_many_times(self, rig: Rig) -> None:
        await rig.publish("jobs", message("a"))
        back = await (await rig.admin()).open_return(rig.entity("jobs"))
        dead = await rig.consumer("jobs", dead=True)
        for turn in range(3):
            await _bury_all(rig, "jobs")
            (letter,) = await take(dead)
            assert letter.moves == 2 * turn + 1
            await rig.publish(back, Outgoing(letter.message, moves=letter.moves + 1))
            assert await dead.settle_batch([Ack(letter)]) == [None]
        assert bodies(await take(await rig.consumer("jobs"))) == [b"a"]


async def _dead_letter(rig: Rig, name: str, *messages: Message) -> None:
    await rig.publish(name, *messages)
    await _bury_all(rig, name)


async def _bury_all(rig: Rig, name: str) -> None:
    consumer = await rig.consumer(name)
    received = await take(consumer)
    assert received
    assert set(await consumer.settle_batch([ToDeadLetters(one, "why", "because") for one in received])) == {None}


class TestOperating:
    async def test_stats_tell_what_is_there(self, rig: Rig) -> None:
        consumer, admin = await rig.consumer("jobs"), await rig.admin()
        jobs = rig.entity("jobs")
        assert (await admin.stats(jobs)).oldest_age is None
        await rig.publish("jobs", *(message(str(n)) for n in range(5)), Outgoing(message("d"), delay=100))
        await rig.clock.advance(10)
        a, b, _ = await take(consumer, 3)
        await consumer.settle_batch([ToDeadLetters(a, "r"), Nack(b, 50)])
        stats = await admin.stats(jobs)
        assert (stats.waiting, stats.leased, stats.delayed, stats.dead) == (2, 1, 2, 1)
        assert stats.oldest_age == pytest.approx(10)
        await rig.clock.advance(100)
        stats = await admin.stats(jobs)
        assert (stats.waiting, stats.leased, stats.delayed) == (5, 0, 0)
        assert (await admin.stats(jobs.dead_letters)).waiting == 1
        assert (await admin.stats(rig.entity("orders"))).waiting is None

    async def test_peek_pages_through_and_changes_nothing(self, rig: Rig) -> None:
        admin, jobs = await rig.admin(), rig.entity("jobs")
        at = rig.clock.time()
        await rig.publish("jobs", *(message(str(n)) for n in range(7)))
        consumer = await rig.consumer("jobs")
        await take(consumer, 1)
        seen, after = [], None
        while page := await admin.peek(jobs, 3, after):
            seen += list(page)
            after = page[-1].position
        assert [peeked.message.body for peeked in seen] == [str(n).encode() for n in range(7)]
        assert [peeked.attempt for peeked in seen] == [1, 0, 0, 0, 0, 0, 0]
        assert {peeked.at for peeked in seen} == {at}
        assert len(await take(consumer)) == 6

    async def test_peek_shows_why_letters_are_there(self, rig: Rig) -> None:
        await _dead_letter(rig, "lines", message("a", "k", n="1"))
        (peeked,) = await (await rig.admin()).peek(rig.entity("lines").dead_letters, 10)
        assert (peeked.reason, peeked.description, peeked.message.ordering_key) == ("why", "because", "k")
        assert peeked.message.attributes == {"n": "1"}

    @pytest.mark.parametrize("name", ["jobs", "lines"])
    async def test_purge_deletes_what_waits(self, rig: Rig, name: str) -> None:
        consumer, admin = await rig.consumer(name), await rig.admin()
        key = "k" if name == "lines" else None
        await rig.publish(name, *(message(str(n), key) for n in range(6)))
        first, second = await take(consumer, 2)
        await consumer.settle_batch([Nack(second, 10)])
        assert await admin.purge(rig.entity(name)) == 5
        assert await admin.purge(rig.entity(name)) == 0
        assert await consumer.settle_batch([Nack(first)]) == [None]
        await rig.publish(name, message("new", key))
        await rig.clock.advance(10)
        assert bodies(await take(consumer)) == [b"0", b"new"]

    async def test_topics_keep_nothing(self, rig: Rig) -> None:
        admin = await rig.admin()
        for call in (admin.peek(rig.entity("orders"), 1), admin.purge(rig.entity("orders"))):
            with pytest.raises(BackendError, match="subscriptions"):
                await call

    async def test_ping_and_describe_answer(self, rig: Rig) -> None:
        admin = await rig.admin()
        await admin.ping()
        assert (await admin.describe(rig.entity("jobs")))["name"] == "jobs"
        assert (await admin.describe(rig.entity("orders")))["kind"] == "topic"

    async def test_features_are_those_of_the_entity(self, rig: Rig) -> None:
        features = rig.driver.features
        assert Feature.ORDERING in features(rig.entity("lines"))
        assert Feature.DELAY in features(rig.entity("lines")) & features(rig.entity("jobs"))
        assert Feature.ORDERING not in features(rig.entity("lines").dead_letters)
        assert Feature.GROUP_LEASE not in features(rig.entity("lines"))
        assert Feature.EXACTLY_ONCE | Feature.PEEK | Feature.NACK_DELAY | Feature.CONSISTENT in features(
            rig.entity("all")
        )

    async def test_an_unknown_error_is_internal(self, rig: Rig) -> None:
        fault = rig.driver.fault(ZeroDivisionError())
        assert (fault.kind, fault.retryable) == (FaultKind.INTERNAL, True)
        assert "ZeroDivisionError" in fault.detail
