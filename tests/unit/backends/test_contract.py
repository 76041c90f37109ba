"""The contract at the driver, of both embedded backends: what DESIGN.md, section 3, asks of them."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import msgspec
import pytest

from polybus.backends.embedded import DEFAULT_MAX_SIZE
from polybus.driver import Ack, DeadLetter, LeaseUntil, Nack, Outgoing
from polybus.errors import BackendError, Fault, FaultKind
from polybus.feature import Feature
from polybus.message import Message

from .conftest import DAY, Rig, bodies, take


def message(body: bytes | str, key: str | None = None, **attributes: str) -> Message:
    content = body.encode() if isinstance(body, str) else body
    return Message(content, attributes, key, str(uuid.uuid4()), None, "text/plain")


def kinds(answers: Any) -> list[FaultKind | None]:
    return [answer.kind if isinstance(answer, Fault) else None for answer in answers]


class TestPublishing:
    async def test_what_is_published_is_received_as_it_was(self, rig: Rig) -> None:
        odd = random.Random(7).randbytes(3_000)
        sent = [
            Message(b"", {}, None, "id-1"),
            Message(b"\x00\xff\x00", {"a": "", "b": "\x00\n\t\u20ac\U0001f600", "c": " "}, None, "id-2", None, "x/y"),
            Message(odd, {"long": "x" * 70_000}, None, "id-3"),
        ]
        assert await rig.publish("jobs", *sent) == ["id-1", "id-2", "id-3"]
        received = await take(await rig.consumer("jobs"))
        assert [(r.message.id, r.message.body, dict(r.message.attributes)) for r in received] == [
            (m.id, m.body, dict(m.attributes)) for m in sent
        ]
        assert [r.message.content_type for r in received] == [None, "x/y", None]
        assert {r.message.published_at for r in received} == {rig.clock.time()}
        assert [(r.attempt, r.redelivered, r.moves, r.group) for r in received] == [(1, False, 0, None)] * 3

    async def test_a_message_without_an_id_gets_one(self, rig: Rig) -> None:
        (given,) = await rig.publish("jobs", Message(b"foreign"))
        (received,) = await take(await rig.consumer("jobs"))
        assert received.message.id == given != ""

    async def test_attributes_that_change_after_publishing_change_nothing(self, rig: Rig) -> None:
        attributes = {"region": "eu"}
        publisher = await rig.publisher("jobs")
        prepared = publisher.prepare(Outgoing(Message(b"a", attributes, None, "a")))
        assert not isinstance(prepared, Fault)
        attributes["region"] = "us"
        await publisher.publish_batch([prepared])
        (received,) = await take(await rig.consumer("jobs"))
        assert received.message.attributes == {"region": "eu"}

    async def test_each_subscription_gets_what_its_filter_passes(self, rig: Rig) -> None:
        await rig.publish(
            "orders",
            message("a", region="eu"),
            message("b", region="us"),
            message("c", region="uk", test="1"),
            message("d"),
            message("e", region="uk"),
        )
        assert bodies(await take(await rig.consumer("all"))) == [b"a", b"b", b"c", b"d", b"e"]
        assert bodies(await take(await rig.consumer("eu"))) == [b"a", b"e"]

    @pytest.mark.parametrize("size", [10, 5_000, 300_000])
    async def test_copies_are_independent(self, rig: Rig, size: int) -> None:
        await rig.publish("orders", message(b"x" * size, region="eu"), message(b"y" * size, region="eu"))
        everything, eu = await rig.consumer("all"), await rig.consumer("eu")
        first = await take(everything)
        assert await everything.settle_batch([Ack(one) for one in first]) == [None, None]
        second = await take(eu)
        assert bodies(second) == [b"x" * size, b"y" * size]
        assert await eu.settle_batch([DeadLetter(second[0], "why"), Ack(second[1])]) == [None, None]
        (letter,) = await take(await rig.consumer("eu", dead=True))
        assert letter.message.body == b"x" * size

    @pytest.mark.parametrize(
        ("target", "outgoing", "kind", "words"),
        [
            ("tiny", Message(b"x" * 2_049), FaultKind.TOO_LARGE, "2049 bytes"),
            ("tiny", Message(b"", {"a": "\u20ac" * 683}), FaultKind.TOO_LARGE, "2050 bytes"),
            ("jobs", Message(b"x" * (DEFAULT_MAX_SIZE - 2_047)), FaultKind.TOO_LARGE, "the limit on"),
            ("jobs", Message(b"", {"aws.x": "1"}), FaultKind.INVALID, "aws.x"),
            ("jobs", Message(b"", {"a b": "1"}), FaultKind.INVALID, "a b"),
            ("jobs", Message(b"", {"n": 1}), FaultKind.INVALID, "'n'"),  # type: ignore[dict-item]
            ("jobs", Message(b"", {"n": "\ud800"}), FaultKind.INVALID, "'n'"),
            ("jobs", Message(b"", {}, "key"), FaultKind.INVALID, "not ordered"),
            ("lines", Message(b""), FaultKind.INVALID, "no ordering key"),
            ("lines", Message(b"", {}, "a key"), FaultKind.INVALID, "without spaces"),
            ("lines", Outgoing(Message(b"", {}, "key"), delay=61), FaultKind.INVALID, "max_delay"),
            ("jobs", Outgoing(Message(b""), delay=901), FaultKind.INVALID, "max_delay"),
            ("tiny", Outgoing(Message(b""), delay=1), FaultKind.INVALID, "max_delay"),
        ],
    )
    async def test_what_can_not_be_carried_is_refused(
        self, rig: Rig, target: str, outgoing: Any, kind: FaultKind, words: str
    ) -> None:
        fault = await rig.refused(target, outgoing)
        assert fault.kind is kind
        assert words in fault.detail
        assert target in fault.detail

    async def test_the_largest_message_fits(self, rig: Rig) -> None:
        await rig.publish("tiny", Message(b"x" * 2_000, {"name": "v" * 44}, None, "id"))
        assert len(bodies(await take(await rig.consumer("tiny")))[0]) == 2_000

    async def test_a_repeated_publish_is_accepted_once(self, rig: Rig) -> None:
        again = message("once")
        assert await rig.publish("orders", again) == await rig.publish("orders", again) == [again.id]
        assert bodies(await take(await rig.consumer("all"))) == [b"once"]
        await rig.clock.advance(1_000)
        await rig.publish("orders", again)
        assert len(await take(await rig.consumer("eu"))) == 0
        await rig.clock.advance(601)
        await rig.publish("orders", again)
        assert bodies(await take(await rig.consumer("all"))) == [b"once"] * 3

    async def test_an_address_that_is_not_there_is_not_found(self, rig: Rig) -> None:
        elsewhere = msgspec.structs.replace(rig.entity("jobs"), address="nowhere")
        with pytest.raises(BackendError) as caught:
            await rig.driver.open_consumer(elsewhere, prefetch=1, concurrency=1)
        assert rig.driver.fault(caught.value).kind is FaultKind.NOT_FOUND


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
        for settlement in (Ack(late), Nack(late), DeadLetter(late, "r")):
            assert kinds(await consumer.settle_batch([settlement])) == [FaultKind.LEASE_LOST]
        assert kinds(await consumer.extend_batch([late], 60)) == [FaultKind.LEASE_LOST]
        assert bodies(await take(consumer)) == [b"a"]

    async def test_settling_twice_finds_no_lease(self, rig: Rig) -> None:
        consumer = await rig.consumer("jobs")
        await rig.publish("jobs", message("a"), message("b"), message("c"))
        a, b, c = await take(consumer)
        assert await consumer.settle_batch([Ack(a), Nack(b, 5), DeadLetter(c, "r")]) == [None] * 3
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


class TestOrder:
    async def test_a_key_with_a_leased_message_waits_others_go_on(self, rig: Rig) -> None:
        one, two = await rig.consumer("lines"), await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{key}{n}", key) for n in range(3) for key in "ab"))
        first = await take(one, 2)
        assert sorted(bodies(first)) == [b"a0", b"b0"]
        assert {r.group for r in first} == {"a", "b"}
        assert await take(two) == []
        await one.settle_batch([Ack(next(r for r in first if r.group == "a"))])
        assert bodies(await take(two)) == [b"a1", b"a2"]

    async def test_one_batch_may_hold_several_of_a_key_in_order(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "k") for n in range(5)))
        got = await take(consumer, 3)
        assert bodies(got) == [b"0", b"1", b"2"]
        await consumer.settle_batch([Ack(got[0]), Ack(got[1])])
        assert await take(consumer) == []
        await consumer.settle_batch([Ack(got[2])])
        assert bodies(await take(consumer)) == [b"3", b"4"]

    async def test_what_is_given_back_keeps_its_place(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "k") for n in range(4)))
        got = await take(consumer, 3)
        await consumer.settle_batch([Nack(one) for one in reversed(got)])
        assert [(r.message.body, r.attempt) for r in await take(consumer)] == [
            (b"0", 2),
            (b"1", 2),
            (b"2", 2),
            (b"3", 1),
        ]

    async def test_a_delayed_message_holds_up_the_later_ones_of_its_key(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "k") for n in range(4)), message("other", "l"))
        got = await take(consumer, 4)
        first = [r for r in got if r.group == "k"]
        await consumer.settle_batch([Nack(first[1], 10), Nack(first[0])])
        rest = [r for r in got if r not in first[:2]]
        await consumer.settle_batch([Nack(one) for one in rest])
        again = await take(consumer)
        assert sorted(bodies(again)) == [b"0", b"other"]
        await consumer.settle_batch([Ack(one) for one in again])
        assert await take(consumer) == []
        await rig.clock.advance(10)
        assert bodies(await take(consumer)) == [b"1", b"2", b"3"]

    async def test_a_message_published_with_a_delay_holds_up_its_key_too(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish(
            "lines", message("0", "k"), Outgoing(message("1", "k"), delay=5), message("2", "k"), message("other", "l")
        )
        got = await take(consumer)
        assert sorted(bodies(got)) == [b"0", b"other"]
        await consumer.settle_batch([Ack(one) for one in got])
        await rig.clock.advance(4)
        assert await take(consumer) == []
        await rig.clock.advance(1)
        assert bodies(await take(consumer)) == [b"1", b"2"]

    async def test_an_expired_lease_frees_the_key(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", message("0", "k"), message("1", "k"))
        await take(consumer)
        await rig.clock.advance(30)
        assert bodies(await take(consumer)) == [b"0", b"1"]

    async def test_settling_wakes_who_waits_for_the_key(self, rig: Rig) -> None:
        one, two = await rig.consumer("lines"), await rig.consumer("lines")
        await rig.publish("lines", message("0", "k"), message("1", "k"))
        (first,) = await take(one, 1)
        waiting = asyncio.ensure_future(two.receive_batch(1, wait=20))
        await rig.clock.settle()
        await one.settle_batch([Ack(first)])
        assert bodies(await waiting) == [b"1"]

    async def test_no_key_starves(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "a") for n in range(50)), message("z", "z"), message("m", "m"))
        seen: list[bytes] = []
        for _ in range(6):
            got = await take(consumer, 1)
            seen += bodies(got)
            await consumer.settle_batch([Ack(one) for one in got])
        assert {b"z", b"m"} <= set(seen)

    async def test_a_loose_subscription_of_an_ordered_topic_has_no_groups(self, rig: Rig) -> None:
        consumer = await rig.consumer("steps-loose")
        await rig.publish("steps", message("0", "k"), message("1", "k"))
        (first,) = await take(consumer, 1)
        (second,) = await take(consumer, 1)
        assert (first.group, first.message.ordering_key, bodies([first, second])) == (None, "k", [b"0", b"1"])

    async def test_dead_lettering_lets_the_key_go_on(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        await rig.publish("lines", *(message(f"{n}", "k") for n in range(3)))
        (first,) = await take(consumer, 1)
        await consumer.settle_batch([DeadLetter(first, "bad")])
        assert bodies(await take(consumer)) == [b"1", b"2"]

    async def test_any_course_of_events_keeps_the_order(self, rig: Rig) -> None:
        chance = random.Random(11)
        consumers = [await rig.consumer("lines") for _ in range(3)]
        publisher = await rig.publisher("lines")
        expected: dict[str, list[bytes]] = {key: [] for key in "abcd"}
        done: dict[str, list[bytes]] = {key: [] for key in "abcd"}
        for step in range(300):
            key = chance.choice("abcd")
            body = f"{key}{step}".encode()
            expected[key].append(body)
            await rig.publish(publisher, message(body, key))
            consumer = chance.choice(consumers)
            for group in _by_group(await take(consumer, chance.randint(1, 6))).values():
                keep = chance.randint(0, len(group))
                await consumer.settle_batch([Ack(one) for one in group[:keep]])
                done[group[0].group] += bodies(group[:keep])
                if chance.random() < 0.9:
                    delay = chance.choice([0.0, 0.0, 3.0])
                    await consumer.settle_batch([Nack(one, delay) for one in group[keep:]])
            await rig.clock.advance(chance.choice([0.0, 0.5, 2.0]))
        for _ in range(1_000):
            await rig.clock.advance(1)
            for consumer in consumers:
                got = await take(consumer)
                await consumer.settle_batch([Ack(one) for one in got])
                for one in got:
                    done[one.group or ""].append(one.message.body)
            if done == expected:
                break
        assert done == expected


def _by_group(received: list[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for one in received:
        groups.setdefault(one.group, []).append(one)
    return groups


class TestDeadLetters:
    async def test_a_letter_is_the_message_and_why(self, rig: Rig) -> None:
        consumer = await rig.consumer("lines")
        sent = message("bad", "k", region="eu")
        await rig.publish("lines", sent)
        (one,) = await take(consumer)
        await rig.clock.advance(5)
        assert await consumer.settle_batch([DeadLetter(one, "BadOrder", "no \ud800 price")]) == [None]
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
        assert kinds(await dead.settle_batch([DeadLetter(again, "r")])) == [FaultKind.INVALID]
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
    assert set(await consumer.settle_batch([DeadLetter(one, "why", "because") for one in received])) == {None}


class TestOperating:
    async def test_stats_tell_what_is_there(self, rig: Rig) -> None:
        consumer, admin = await rig.consumer("jobs"), await rig.admin()
        jobs = rig.entity("jobs")
        assert (await admin.stats(jobs)).oldest_age is None
        await rig.publish("jobs", *(message(str(n)) for n in range(5)), Outgoing(message("d"), delay=100))
        await rig.clock.advance(10)
        a, b, _ = await take(consumer, 3)
        await consumer.settle_batch([DeadLetter(a, "r"), Nack(b, 50)])
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
