"""D2, D3 and D9 at the driver: what a receipt is worth, and for how long.

The bus stands before the driver, and never sends what its own clock says is over; a process that was paused does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from polybus.driver import Ack, LeaseUntil, Nack, ToDeadLetters
from polybus.errors import Fault, FaultKind
from polybus.feature import Feature
from polybus.testing.conformance.suite import Suite
from polybus.testing.direct import Hand, kind_of
from polybus.testing.environment import Environment
from polybus.testing.rig import Late
from polybus.testing.topology import SHORT_LEASE

__all__ = ["DriverLeases"]

SOURCES = ("bare", "bare-serial")
LOST = FaultKind.LEASE_LOST


class DriverLeases(Suite):
    """Late, stale and repeated receipts, alone and beside good ones."""

    async def test_D2_a_late_receipt_settles_nothing(self, env: Environment) -> None:
        """Nobody else has the message: its lease is over all the same."""
        for source in SOURCES:
            ids = await env.direct.publish(source, b"ack", b"nack", b"letter", b"extend")
            async with env.direct.hand(source) as hand:
                held = {each.message.id: each for each in await hand.take(ids)}
                await env.advance(SHORT_LEASE + 1)
                ack, nack, letter, extend = (held[identity] for identity in ids)
                kinds = await hand.settle(Ack(ack), Nack(nack), ToDeadLetters(letter, "Late"))
                [extended] = await hand.extend([extend], SHORT_LEASE)
                late = env.rig.late(hand.source)
                seen = Late.REFUSED if {*kinds, kind_of(extended)} == {LOST} else Late.MAY_WORK
                env.note(f"a receipt whose lease is over, {_kind(hand)}", seen.value)
                if late is Late.REFUSED:
                    assert [*kinds, kind_of(extended)] == [LOST] * 4, f"{source}: a late receipt was accepted"
                else:
                    assert {*kinds, kind_of(extended)} <= {None, LOST}
                    ids = [identity for identity, kind in zip(ids, kinds, strict=False) if kind is LOST]
                again = await hand.take(ids)
                assert all(each.attempt == 2 and each.redelivered for each in again)
                await hand.settle(*(Ack(each) for each in again))
                if late is Late.REFUSED and not env.rig.letters_are_copies:
                    assert not await env.letters(source, letter.message.id), "a late receipt made a dead letter"

    async def test_D2_a_stale_receipt_changes_nothing_for_who_has_the_message_now(self, env: Environment) -> None:
        for source in SOURCES:
            ids = await env.direct.publish(source, b"ack", b"nack", b"letter", b"extend")
            async with AsyncExitStack() as stack:
                here = await stack.enter_async_context(env.direct.hand(source))
                strict = env.rig.late(here.source) is Late.REFUSED
                held = {each.message.id: each for each in await here.take(ids)}
                await here.stop()
                await env.advance(SHORT_LEASE + 1)
                there = await stack.enter_async_context(env.direct.hand(source, number=1))
                now = {each.message.id: each for each in await there.take(ids)}
                await there.stop()
                ack, nack, letter, extend = (held[identity] for identity in ids)
                kinds = await here.settle(Ack(ack), Nack(nack), ToDeadLetters(letter, "Stale"))
                [extended] = await here.extend([extend], SHORT_LEASE)
                if strict:
                    assert [*kinds, kind_of(extended)] == [LOST] * 4, f"{source}: a stale receipt was accepted"
                    assert not await _free(env, source, ids), f"{source}: a stale nack took it from who has it"
                granted = _granted(await there.extend(list(now.values()), SHORT_LEASE))
                done = await there.settle(*(Ack(each) for each in now.values()))
                assert (granted, done) == (4, [None] * 4) or not strict
                if strict and not env.rig.letters_are_copies:
                    assert not await env.letters(source, letter.message.id), "a stale receipt made a dead letter"
            await env.advance(SHORT_LEASE + 1)
            assert not await _free(env, source, ids), f"{source}: what was acked came again"
        # What was acked didn't come again, though two had it, and though its lease was over in between.
        final = Feature.EXACTLY_ONCE in env.bus.features("bare")
        env.note("after an ack", "never again" if final else "may repeat")

    async def test_D2_a_stale_receipt_beside_the_good_one_is_told_apart(self, env: Environment) -> None:
        """In two calls at the same time, of two consumers of one process: a driver may make one of them."""
        for source in SOURCES:
            ids = await env.direct.publish(source, *[b"%d" % number for number in range(4)])
            async with AsyncExitStack() as stack:
                here = await stack.enter_async_context(env.direct.hand(source))
                strict = env.rig.late(here.source) is Late.REFUSED
                held = {each.message.id: each for each in await here.take(ids)}
                await here.stop()
                await env.advance(SHORT_LEASE + 1)
                there = await stack.enter_async_context(env.direct.hand(source))
                now = {each.message.id: each for each in await there.take(ids)}
                stale, good = [held[each] for each in ids], [now[each] for each in ids]
                told, done = await asyncio.gather(
                    here.settle(Nack(stale[0]), ToDeadLetters(stale[1], "Stale"), Ack(stale[2])),
                    there.settle(Ack(good[0]), Ack(good[1]), Ack(good[2])),
                )
                longer, kept = await asyncio.gather(
                    here.extend([stale[3]], SHORT_LEASE), there.extend([good[3]], SHORT_LEASE)
                )
                if strict:
                    assert done == [None] * 3, f"{source}: the good receipts were refused"
                    assert told == [LOST] * 3, f"{source}: stale receipts were accepted beside the good ones"
                    assert (kind_of(longer[0]), _granted(kept)) == (LOST, 1)
                assert await there.settle(Ack(good[3])) == [None] or not strict
            await env.advance(SHORT_LEASE + 1)
            assert not await _free(env, source, ids), f"{source}: what was acked came again"

    async def test_D2_one_call_may_hold_the_stale_and_the_good_receipt(self, env: Environment) -> None:
        """Of one consumer, which received the message again itself; in either order."""
        for source in SOURCES:
            ids = await env.direct.publish(source, *[b"%d" % number for number in range(4)])
            async with env.direct.hand(source) as hand:
                strict = env.rig.late(hand.source) is Late.REFUSED
                held = {each.message.id: each for each in await hand.take(ids)}
                await env.advance(SHORT_LEASE + 1)
                now = {each.message.id: each for each in await hand.take(ids)}
                stale, good = [held[each] for each in ids], [now[each] for each in ids]
                longer, kept = await hand.extend([stale[3], good[3]], SHORT_LEASE)
                kinds = await hand.settle(Nack(stale[0]), Ack(good[0]), Ack(good[1]), ToDeadLetters(stale[1], "Stale"))
                kinds += await hand.settle(Ack(stale[2]), Nack(stale[3]), Ack(good[3]), Ack(good[2]))
                if strict:
                    assert (kind_of(longer), kind_of(kept)) == (LOST, None)
                    assert kinds[:4] == [LOST, None, None, LOST], f"{source}: told apart wrongly"
                    assert kinds[4:] == [LOST, LOST, None, None], f"{source}: told apart wrongly"
            await env.advance(SHORT_LEASE + 1)
            assert not await _free(env, source, ids), f"{source}: what was acked came again"

    async def test_D2_a_receipt_is_good_for_its_own_attempt_alone(self, env: Environment) -> None:
        """Given back and received again by the same consumer: the first receipt does nothing any more."""
        for source in SOURCES:
            [identity] = await env.direct.publish(source, b"twice")
            async with env.direct.hand(source) as hand:
                first = await hand.one(identity)
                assert await hand.settle(Nack(first)) == [None]
                second = await hand.one(identity)
                kinds = await hand.settle(Nack(first), Ack(first))  # settling twice is no error (D3)
                assert set(kinds) <= {None, LOST}
                if env.rig.late(hand.source) is Late.REFUSED:
                    assert await hand.sift([identity]) == [], f"{source}: an earlier attempt's receipt gave it back"
                    assert await hand.settle(Ack(second)) == [None], f"{source}: an earlier receipt settled it"
                else:
                    await hand.settle(Ack(second))
            assert not await _free(env, source, [identity])

    async def test_D3_settling_twice_harms_nothing(self, env: Environment) -> None:
        for source in SOURCES:
            ids = await env.direct.publish(source, b"one", b"two")
            async with env.direct.hand(source) as hand:
                one, two = sorted(await hand.take(ids), key=lambda each: ids.index(each.message.id))
                assert await hand.settle(Ack(one)) == [None]
                again, other = await hand.settle(Ack(one), Ack(two))
                assert again in (None, LOST)
                assert other is None
                again, nacked = await hand.settle(Nack(one), ToDeadLetters(two, "Twice"))
                assert {again, nacked} <= {None, LOST}
                await env.advance(SHORT_LEASE + 1)
                assert await hand.sift(ids) == [], f"{source}: what was acked came again"

    async def test_D2_a_lease_lasts_as_long_as_the_driver_says(self, env: Environment) -> None:
        for source in SOURCES:
            [identity] = await env.direct.publish(source, b"held")
            async with AsyncExitStack() as stack:
                here = await stack.enter_async_context(env.direct.hand(source))
                held = await here.one(identity)
                await here.stop()
                there = await stack.enter_async_context(env.direct.hand(source, number=1))
                left = held.lease_until - env.clock.monotonic()
                assert left <= SHORT_LEASE, f"{source}: a lease of {left:.1f} s where {SHORT_LEASE:g} s are asked for"
                assert left > SHORT_LEASE / 2
                await env.advance(left - 4)
                assert await there.sift([identity]) == [], f"{source}: it came before its lease was over"
                await env.advance(6)
                await there.settle(Ack(await there.one(identity)))

    async def test_D2_an_extension_moves_the_end_of_the_lease(self, env: Environment) -> None:
        for source in SOURCES:
            ids = await env.direct.publish(source, b"kept", b"lost")
            async with AsyncExitStack() as stack:
                here = await stack.enter_async_context(env.direct.hand(source))
                held = {each.message.id: each for each in await here.take(ids)}
                kept, lost = (held[identity] for identity in ids)
                await here.stop()
                there = await stack.enter_async_context(env.direct.hand(source, number=1))
                await env.advance(20)
                [until] = await here.extend([kept], SHORT_LEASE)
                assert isinstance(until, LeaseUntil)
                assert kept.lease_until < until.at <= env.clock.monotonic() + SHORT_LEASE
                await env.advance(SHORT_LEASE - 20 + 2)
                extended, refused = await here.extend([kept, lost], SHORT_LEASE)
                assert isinstance(extended, LeaseUntil)
                if env.rig.late(here.source) is Late.REFUSED:
                    assert kind_of(refused) is LOST, f"{source}: a lost lease was extended"
                    await there.settle(Ack(await there.one(lost.message.id)))
                await env.advance(20)
                assert kept.message.id not in await there.sift(ids), f"{source}: it came within its extended lease"
                assert await here.settle(Ack(kept)) == [None]

    async def test_D9_two_consumers_never_hold_one_message(self, env: Environment) -> None:
        for source in SOURCES:
            ids = await env.direct.publish(source, *[b"%d" % number for number in range(12)])
            async with (
                env.direct.hand(source, window=12) as here,
                env.direct.hand(source, number=1, window=12) as there,
            ):
                seen = Counter[str]()
                end = env.direct.end()
                while not seen.keys() >= set(ids):
                    assert env.direct.now() < end, f"{len(seen)} of {len(ids)} came"
                    for hand in (here, there):
                        seen.update(each.message.id for each in await hand.receive(3, wait=0.1))
                assert set(seen.values()) == {1}, f"{source}: a message came to the second while the first holds it"
                for hand in (here, there):
                    assert set(await hand.settle(*(Ack(each) for each in hand.seen))) <= {None}


async def _free(env: Environment, source: str, ids: list[str]) -> list[str]:
    """Return which of these messages a consumer that has none of them can get now."""
    async with env.direct.hand(source, number=1) as hand:
        return await hand.sift(ids)


def _granted(answers: list[LeaseUntil | Fault]) -> int:
    return sum(isinstance(answer, LeaseUntil) for answer in answers)


def _kind(hand: Hand) -> str:
    return "ordered queue" if hand.source.ordered else "queue"
