"""D6, D7, D13 and P5 at the driver: dead letters are whole, and the copies of one id are told apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from polybus.driver import Ack, Nack, Outgoing, Received, ToDeadLetters
from polybus.errors import FaultKind
from polybus.feature import Feature
from polybus.message import Message
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment
from polybus.testing.topology import RETENTION, SHORT_LEASE

__all__ = ["DriverLetters"]

# What is published to, and what it is consumed from.
PLACES = (("bare", "bare"), ("bare-serial", "bare-serial"), ("plain", "bare-copy"))
ATTRIBUTES = {"region": "eu", "odd": "\x00\n", "words": "日本語", "empty": ""}
BODY = b"\x00 as it was \xff"
TOKEN = re.compile(r"[\x21-\x7e]{0,120}")

# Times travel in milliseconds on some clouds.
TICK = 0.001


def _same(found: Message, sent: Message) -> None:
    for field in ("id", "body", "ordering_key", "content_type"):
        assert getattr(found, field) == getattr(sent, field), f"{field}: {getattr(found, field)!r}"
    assert dict(found.attributes) == dict(sent.attributes)


class DriverLetters(Suite):
    """What a dead letter keeps, what it counts, and its way back; tokens, attempts."""

    async def test_D6_a_letter_keeps_all_that_it_was(self, env: Environment) -> None:
        for target, source in PLACES:
            sent = env.direct.message(target, BODY, attributes=ATTRIBUTES, content_type="application/x-own")
            await env.direct.publish(target, sent)
            async with env.direct.hand(source) as hand:
                received = await hand.one(sent.id)
                _same(received.message, sent)
                assert received.moves == 0
                await env.advance(10)
                assert await hand.settle(ToDeadLetters(received, "BadOrder", "no such prïce")) == [None]
                [letter] = await self._letters(env, source, [sent.id])
            _same(letter.message, sent)
            assert (letter.reason, letter.description, letter.moves) == ("BadOrder", "no such prïce", 1)
            assert letter.group is None, "dead letters have no order to keep"
            assert letter.message.published_at is not None
            assert (
                not env.rig.letters_keep_time
                or abs(letter.message.published_at - (received.message.published_at or 0)) <= TICK
            ), "a new time"

    async def test_D13_a_letter_that_is_put_back_is_as_it_was(self, env: Environment) -> None:
        for target, source in PLACES:
            sent = env.direct.message(target, BODY, attributes=ATTRIBUTES, content_type="application/x-own")
            await env.direct.publish(target, sent)
            async with env.direct.hand(source) as hand:
                received = await hand.one(sent.id)
                await hand.settle(ToDeadLetters(received, "Bad"))
                [letter] = await self._letters(env, source, [sent.id])
                await env.advance(10)
                await env.direct.put_back(hand.source, _back(letter))
                again = await hand.one(sent.id)
                assert await hand.settle(Ack(again)) == [None]
            _same(again.message, sent)
            assert (again.moves, again.attempt, again.redelivered) == (2, 1, True)
            since = abs((again.message.published_at or 0) - (received.message.published_at or 0))
            assert since <= TICK or not env.rig.letters_keep_time, "a new time"

    async def test_D1_a_letter_has_a_retention_of_its_own(self, env: Environment) -> None:
        [identity] = await env.direct.publish("expiring", b"buried")
        async with env.direct.hand("expiring") as hand:
            await hand.settle(ToDeadLetters(await hand.one(identity), "Bad"))
            await env.advance(RETENTION + 60)
            assert len(await env.letters("expiring", identity)) == 1, "it went with its queue's own retention"
            await env.advance(RETENTION)
            await env.direct.publish("expiring", b"later")  # some backends look for what expired only when they write
            expected = 0 if env.rig.letters_expire else 1
            assert len(await env.letters("expiring", identity)) == expected

    async def test_D1_what_expires_while_it_is_leased_can_still_be_settled(self, env: Environment) -> None:
        ids = await env.direct.publish("expiring", b"acked", b"given back")
        await env.advance(RETENTION - 100)
        async with env.direct.hand("expiring") as hand:
            held = {each.message.id: each for each in await hand.take(ids)}
            await env.advance(160)
            await env.direct.publish("expiring", b"meanwhile")
            await (await env.direct.admin()).stats(hand.source)  # what looks for what expired when it counts
            acked, given = (held[identity] for identity in ids)
            assert await hand.settle(Ack(acked)) == [None], "its lease is good, and it was taken away"
            assert await hand.settle(Nack(given)) in ([None], [FaultKind.LEASE_LOST])
            assert await hand.sift(ids) == [], "it came again after its retention was over"

    async def test_D7_what_was_dead_lettered_does_not_come_again(self, env: Environment) -> None:
        for source in ("bare", "bare-serial"):
            ids = await env.direct.publish(source, b"one", b"two")
            async with env.direct.hand(source) as hand:
                assert await hand.settle(*(ToDeadLetters(each, "Bad") for each in await hand.take(ids))) == [None, None]
                await env.advance(SHORT_LEASE + 1)
                assert await hand.sift(ids) == [], f"{source}: what is among the dead letters came again"

    async def test_D7_letters_are_leased_given_back_and_acked_like_any(self, env: Environment) -> None:
        ids = await env.direct.publish("bare", b"one", b"two")
        async with env.direct.hand("bare") as hand:
            await hand.settle(*(ToDeadLetters(each, "Bad") for each in await hand.take(ids)))
            async with env.direct.hand(hand.source.dead_letters) as letters:
                one, two = await letters.take(ids)
                assert await letters.settle(Nack(one)) == [None]
                again = await letters.one(one.message.id)
                assert again.reason == "Bad"
                refused, acked = await letters.settle(ToDeadLetters(again, "Again"), Ack(two))
                assert refused in (FaultKind.INVALID, FaultKind.NOT_FOUND), "a dead letter can't be dead-lettered"
                assert acked is None
                still = [each.message.id for each in await letters.receive(2, wait=0.2)]
                assert two.message.id not in still
                if still != [again.message.id]:  # refusing it left its lease as it was
                    assert await letters.settle(Ack(again)) == [None]
                else:
                    await letters.settle(*(Ack(each) for each in letters.seen[-1:]))

    async def test_P5_an_id_that_is_published_twice_is_two_messages(self, env: Environment) -> None:
        """Two calls of `publish`, or two messages of one: tokens tell them apart, and neither swallows the other."""
        for target, source in PLACES:
            first = env.direct.message(target, b"first")
            key = env.name("key") if first.ordering_key else None
            second = msgspec.structs.replace(first, body=b"second", ordering_key=key)
            await env.direct.publish(target, Outgoing(first, token=env.name("call")))
            await env.direct.publish(target, Outgoing(second, token=env.name("call")))
            async with env.direct.hand(source) as hand:
                copies = await self._copies(env, hand, first.id, 2)
                assert {each.message.body for each in copies} == {b"first", b"second"}
                tokens = {each.token for each in copies}
                assert len(tokens) == 2, f"{source}: two copies of one id have the same token"
                assert all(TOKEN.fullmatch(token) for token in tokens)
                assert await hand.settle(*(ToDeadLetters(each, "Twice") for each in copies)) == [None, None]
                letters = await self._letters(env, source, [first.id], 2)
                assert {each.message.body for each in letters} == {b"first", b"second"}, "a letter was swallowed"
                assert len({each.token for each in letters}) == 2
                await env.direct.put_back(hand.source, *(_back(letter) for letter in letters))
                again = await self._copies(env, hand, first.id, 2)
                assert {each.message.body for each in again} == {b"first", b"second"}, "one was swallowed by redrive"
                await hand.settle(*(Ack(each) for each in again))

    async def test_P5_a_copy_keeps_its_token(self, env: Environment) -> None:
        for target, source in PLACES:
            [identity] = await env.direct.publish(target, b"again")
            async with env.direct.hand(source) as hand:
                first = await hand.one(identity)
                await hand.settle(Nack(first))
                second = await hand.one(identity)
                assert first.token == second.token
                assert TOKEN.fullmatch(first.token)
                await hand.settle(Ack(second))

    async def test_P5_a_publish_that_is_repeated_for_its_lost_answer(self, env: Environment) -> None:
        for target, source in PLACES:
            message = env.direct.message(target, b"sent twice")
            outgoing = Outgoing(message, token=env.name("call"))
            await env.direct.publish(target, outgoing, outgoing)
            once = env.rig.deduplicates(env.binding.target(target))
            async with env.direct.hand(source) as hand:
                copies = [await hand.one(message.id)]
                await hand.settle(Ack(copies[0]))
                twice = await hand.sift([message.id])
                assert not (once and twice), f"{target}: a repeated publish was accepted twice"
                env.note(f"a publish whose answer was lost, {_kind(env, target)}", "may be twice" if twice else "once")
                for _ in twice:
                    await hand.settle(Ack(await hand.one(message.id)))

    async def test_D5_what_was_not_handled_is_no_attempt_where_the_backend_can_tell(self, env: Environment) -> None:
        for target, source in PLACES:
            [identity] = await env.direct.publish(target, b"given back")
            async with env.direct.hand(source) as hand:
                tells = Feature.ATTEMPTS in env.bus.features(source)
                first = await hand.one(identity)
                assert await hand.settle(Nack(first, attempts=first.attempt - 1)) == [None]
                second = await hand.one(identity)
                assert first.attempt == 1
                if tells:
                    assert second.attempt == 1, f"{source}: a give-back was counted"
                else:
                    assert second.attempt in (1, 2)
                if target != "plain":
                    counted = "no attempt" if second.attempt == 1 else "an attempt"
                    env.note(f"giving back unhandled, {_kind(env, target)}", counted)
                assert await hand.settle(Nack(second, attempts=second.attempt + 4)) == [None]
                third = await hand.one(identity)
                if tells:
                    assert third.attempt == second.attempt + 5, f"{source}: attempts made in place were forgotten"
                assert await hand.settle(Nack(third)) == [None]
                last = await hand.one(identity)
                assert last.attempt == third.attempt + 1
                assert last.redelivered
                await hand.settle(Ack(last))

    async def _letters(
        self, env: Environment, source: str, identities: Sequence[str], count: int = 1
    ) -> list[Received[Any]]:
        """Receive these letters, and remove them."""
        async with env.direct.hand(env.binding.source(source).dead_letters) as hand:
            letters: list[Received[Any]] = []
            for identity in identities:
                letters += await self._copies(env, hand, identity, count)
            assert await hand.settle(*(Ack(each) for each in letters)) == [None] * len(letters)
            return letters

    async def _copies(self, env: Environment, hand: Any, identity: str, count: int) -> list[Received[Any]]:
        """Receive so many copies of one id."""
        copies: list[Received[Any]] = []
        end = env.direct.end()
        while len(copies) < count:
            assert env.direct.now() < end, f"{len(copies)} of {count} copies of one id came: {env.direct.patience}"
            got = await hand.receive(count)
            copies += [each for each in got if each.message.id == identity]
            await hand.settle(*(Ack(each) for each in got if each.message.id != identity))
        return copies


def _back(letter: Received[Any]) -> Outgoing:
    """Return what redrive sends for a letter."""
    return Outgoing(letter.message, moves=letter.moves + 1, token=letter.token)


def _kind(env: Environment, target: str) -> str:
    entity = env.binding.target(target)
    if target in env.binding.topics:
        return "topic"
    return "ordered queue" if entity.ordered else "queue"
