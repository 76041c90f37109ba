"""D10 at the driver: one key is with one consumer, and what is first of it comes first."""

from __future__ import annotations

from typing import Any

from polybus.driver import Ack, Nack, Outgoing, Received, ToDeadLetters
from polybus.feature import Feature
from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.direct import Hand
from polybus.testing.environment import Environment
from polybus.testing.rig import Refusal
from polybus.testing.topology import SHORT_LEASE

__all__ = ["DriverOrder"]

SERIAL = "bare-serial"


async def _publish(env: Environment, count: int, *, target: str = SERIAL, key: str | None = None) -> list[str]:
    key = key or env.name("key")
    return await env.direct.publish(
        target, *(env.direct.message(target, b"%d" % number, key=key) for number in range(count))
    )


async def _rest(hand: Hand, ids: list[str]) -> list[Received[Any]]:
    """Take and ack these messages, one after the other; assert that they come in this order."""
    taken = []
    for identity in ids:
        got = await hand.take([identity], most=1)
        assert await hand.settle(*(Ack(each) for each in got)) == [None]
        taken += got
    before = [each.message.id for each in hand.seen if each.message.id in ids]
    assert list(dict.fromkeys(before)) == ids, "a later message of a key came before an earlier one"
    return taken


async def _either(env: Environment, one: Hand, two: Hand, ids: list[str]) -> tuple[Hand, Hand, Received[Any]]:
    """Receive with both by turns until either has the first of these; return who has it, the other one, and it."""
    end = env.direct.end()
    while True:
        assert env.direct.now() < end, f"{ids[0]} came to neither: {env.direct.patience}"
        for hand, other in ((one, two), (two, one)):
            for each in await hand.receive(1, wait=0.2):
                if each.message.id == ids[0]:
                    return hand, other, each
                assert each.message.id not in ids, "a later message of a key came before an earlier one"
                await hand.settle(Ack(each))


class DriverOrder(Suite):
    """Two consumers and one key; what is given back, delayed, lost or buried at its head."""

    @needs_order
    async def test_D10_a_key_is_with_one_of_two_consumers_that_both_wait_for_it(self, env: Environment) -> None:
        """Both are open, and have room, before anything is published; then each in turn has the key."""
        async with (
            env.direct.hand(SERIAL, window=4) as one,
            env.direct.hand(SERIAL, number=1, window=4) as two,
        ):
            ids = await _publish(env, 4)
            here, there, first = await _either(env, one, two, ids)
            assert first.group is not None
            assert await there.sift(ids) == [], "the second consumer got of a key that the first one holds"
            assert await here.settle(Ack(first)) == [None]
            await here.close()  # the others may be in its hand: a driver may hold several of one key
            assert {each.group for each in await _rest(there, ids[1:])} == {first.group}
            env.note("ordering keys", "yes")

    @needs_order
    async def test_D10_the_second_consumer_gets_nothing_of_a_key_until_all_of_it_is_settled(
        self, env: Environment
    ) -> None:
        ids = await _publish(env, 3)
        async with env.direct.hand(SERIAL) as here:
            held = [await here.one(ids[0])]
            held += [each for each in await here.receive(2, wait=0.2) if each.message.id in ids]
            await here.stop()
            assert [each.message.id for each in held] == ids[: len(held)]
            async with env.direct.hand(SERIAL, number=1) as there:
                for each in held:
                    assert await there.sift(ids) == [], f"{len(held)} are held, and the second consumer got one"
                    assert await here.settle(Ack(each)) == [None]
                await here.close()
                await _rest(there, ids[len(held) :])

    @needs_order
    async def test_D10_a_batch_keeps_the_order_of_its_keys(self, env: Environment) -> None:
        keys = [env.name("key") for _ in range(3)]
        messages = [env.direct.message(SERIAL, b"%d" % number, key=keys[number % 3]) for number in range(12)]
        ids = await env.direct.publish(SERIAL, *messages)
        async with env.direct.hand(SERIAL, window=20) as hand:
            end = env.direct.end()
            while not set(ids) <= {each.message.id for each in hand.seen}:
                assert env.direct.now() < end, env.direct.patience
                await hand.settle(*(Ack(each) for each in await hand.receive(6)))
            seen = [each for each in hand.seen if each.message.id in ids]
        for place, key in enumerate(keys):
            assert [each.message.id for each in seen if each.message.ordering_key == key] == ids[place::3]
        groups = {(each.message.ordering_key, each.group) for each in seen}
        assert len(groups) == len({group for _, group in groups}) == 3, "a group is a key's own"

    @needs_order
    async def test_D10_what_is_given_back_comes_before_what_is_later(self, env: Environment) -> None:
        """Given back in any order, to whichever consumer."""
        ids = await _publish(env, 4)
        async with env.direct.hand(SERIAL) as here:
            held = [await here.one(ids[0])]
            held += [each for each in await here.receive(2, wait=0.2) if each.message.id in ids]
            for each in reversed(held):
                assert await here.settle(Nack(each)) == [None]
            await here.close()
            async with env.direct.hand(SERIAL, number=1) as there:
                again = await _rest(there, ids)
                assert again[0].attempt >= 2
                assert again[0].redelivered

    @needs_order
    async def test_D10_a_lost_lease_gives_its_key_back_from_its_first(self, env: Environment) -> None:
        ids = await _publish(env, 3)
        async with env.direct.hand(SERIAL) as here:
            await here.one(ids[0])
            await here.stop()
            await env.advance(SHORT_LEASE + 1)
            async with env.direct.hand(SERIAL, number=1) as there:
                await _rest(there, ids)

    @needs_order
    async def test_D10_burying_the_first_lets_the_next_pass(self, env: Environment) -> None:
        ids = await _publish(env, 3)
        async with env.direct.hand(SERIAL) as hand:
            first = await hand.one(ids[0])
            assert await hand.settle(ToDeadLetters(first, "Bad")) == [None]
            await _rest(hand, ids[1:])

    @needs_order
    async def test_D10_a_delayed_nack_holds_its_key(self, env: Environment) -> None:
        """Where the backend keeps the delay of an ordered nack; where it doesn't, the bus holds the lease instead."""
        if Feature.NACK_DELAY not in env.bus.features(SERIAL):
            return
        ids = await _publish(env, 3)
        async with env.direct.hand(SERIAL) as hand:
            first = await hand.one(ids[0])
            assert await hand.settle(Nack(first, 20.0)) == [None]
            assert await hand.sift(ids) == [], "a later message passed one whose delay isn't over"
            await env.advance(21)
            await _rest(hand, ids)

    @needs_order
    async def test_D10_a_message_with_a_delay_holds_its_key(self, env: Environment) -> None:
        """What is published after a delayed message of its key comes after it; other keys go on."""
        if Refusal.ORDERED_QUEUE in env.rig.refuses:
            return
        target, key = "bare-late", env.name("key")
        first, second = (env.direct.message(target, body, key=key) for body in (b"first", b"second"))
        ids = await env.direct.publish(target, Outgoing(first, delay=60.0), second)
        async with env.direct.hand(target) as hand:
            assert await hand.sift(ids) == [], "it came before its delay, or that of the one before it, was over"
            await env.advance(61)
            await _rest(hand, ids)
