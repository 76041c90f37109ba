"""D1 and D12 at the driver: a receive that waits, is woken, and ends; and answers, each at its place."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from polybus.driver import Ack, LeaseUntil, Nack, Outgoing, Prepared, ToDeadLetters
from polybus.errors import Fault
from polybus.feature import Feature
from polybus.message import Sent
from polybus.testing.conformance.suite import Suite
from polybus.testing.direct import kind_of
from polybus.testing.environment import Environment
from polybus.testing.topology import SHORT_LEASE

__all__ = ["DriverReceiving"]

SOURCES = ("bare", "bare-serial")

# Seconds of a receive's wait; a driver may end it sooner (SQS: by a quarter of the lease, or the second that the rig
# asks for), though not at once: it would ask without a pause.
WAIT, LEAST = 12.0, 0.9


class DriverReceiving(Suite):
    """How long a receive takes, what wakes and ends it; as many answers as items, in their order."""

    async def test_D1_a_receive_without_messages_waits_and_returns(self, env: Environment) -> None:
        for source in SOURCES:
            async with env.direct.hand(source) as hand:
                begun, calls = env.clock.monotonic(), 0
                while (waited := env.clock.monotonic() - begun) < WAIT:
                    calls += 1
                    assert calls <= WAIT / LEAST, f"{source}: {calls} calls in {waited:.1f} s: it doesn't wait"
                    got = await env.hasten(hand.receive(5, wait=WAIT))
                    await hand.settle(*(Ack(each) for each in got))
                # `hasten` moves the clock by half seconds; polls of whole seconds may begin late.
                assert waited < 2 * WAIT, f"{source}: a receive took {waited:.0f} s"

    async def test_D1_what_is_published_wakes_a_receive_that_waits(self, env: Environment) -> None:
        for source in SOURCES:
            async with env.direct.hand(source) as hand:
                message = env.direct.message(source, b"waited for")
                waiting = asyncio.create_task(hand.receive(1, wait=20.0))
                await asyncio.sleep(0.05)  # so that it waits by then; before or after, it gets it
                await env.direct.publish(source, message)
                got = await env.within(waiting)
                if [each.message.id for each in got] != [message.id]:  # a poll that was over just then
                    got = [await hand.one(message.id)]
                assert await hand.settle(*(Ack(each) for each in got)) == [None]

    async def test_D1_what_falls_due_wakes_a_receive_that_waits(self, env: Environment) -> None:
        """The end of another consumer's lease, without anybody's doing."""
        for source in SOURCES:
            [identity] = await env.direct.publish(source, b"held")
            async with AsyncExitStack() as stack:
                here = await stack.enter_async_context(env.direct.hand(source))
                await here.one(identity)
                await here.stop()
                there = await stack.enter_async_context(env.direct.hand(source, number=1))
                waiting = asyncio.create_task(there.one(identity))
                await env.advance(SHORT_LEASE + 1)
                received = await env.hasten(waiting)
                assert received.attempt == 2
                await there.settle(Ack(received))

    async def test_D12_stop_ends_a_receive_and_what_was_received_is_still_good(self, env: Environment) -> None:
        for source in SOURCES:
            ids = await env.direct.publish(source, b"one", b"two")
            async with env.direct.hand(source) as hand:
                held = await hand.take(ids)
                waiting = asyncio.create_task(hand.receive(5, wait=20.0))
                await asyncio.sleep(0.05)  # so that it waits by then
                buffered = await env.within(hand.consumer.stop())
                got = await env.within(waiting)
                assert not {each.message.id for each in [*buffered, *got]} & set(ids)
                answers = await hand.extend(held, SHORT_LEASE)
                assert all(isinstance(answer, LeaseUntil) for answer in answers)
                assert await hand.settle(*(Ack(each) for each in held)) == [None, None]

    async def test_D12_after_stop_nothing_more_is_taken(self, env: Environment) -> None:
        for source in SOURCES:
            async with env.direct.hand(source) as hand:
                await env.hasten(hand.consumer.stop())
                [identity] = await env.direct.publish(source, b"after")
                async with env.direct.hand(source, number=1) as other:
                    await other.settle(Ack(await other.one(identity)))

    async def test_D1_no_more_is_received_than_was_asked_for(self, env: Environment) -> None:
        for source in SOURCES:
            ids = await env.direct.publish(source, *[b"%d" % number for number in range(7)])
            async with env.direct.hand(source) as hand:
                for count in (1, 2, 4):
                    got = await hand.receive(count)  # it asserts so
                    await hand.settle(*(Ack(each) for each in got))
                left = set(ids) - {each.message.id for each in hand.seen}
                await hand.settle(*(Ack(each) for each in await hand.take(left)))

    async def test_D1_a_receive_that_need_not_wait_finds_what_is_there(self, env: Environment) -> None:
        """Where the driver says CONSISTENT: redrive then knows from one empty answer that it is done."""
        for source in SOURCES:
            if Feature.CONSISTENT not in env.bus.features(source):
                continue
            for _ in range(5):
                [identity] = await env.direct.publish(source, b"here")
                async with env.direct.hand(source) as hand:
                    got = await hand.receive(5, wait=0.0)
                    assert identity in [each.message.id for each in got], f"{source}: it is there, and wasn't received"
                    await hand.settle(*(Ack(each) for each in got))

    async def test_D3_each_settlement_is_answered_at_its_place(self, env: Environment) -> None:
        for source in SOURCES:
            ids = await env.direct.publish(source, *[b"%d" % number for number in range(5)])
            async with env.direct.hand(source) as hand:
                held = {each.message.id: each for each in await hand.take(ids)}
                a, b, c, d, e = (held[identity] for identity in ids)
                assert await hand.settle(Ack(e)) == [None]
                kinds = await hand.settle(Nack(b), Ack(a), ToDeadLetters(c, "Bad"), Ack(d))
                assert kinds == [None] * 4
                again = await hand.one(b.message.id)
                assert await hand.sift(ids) == [], f"{source}: a settlement was done to another message"
                await hand.settle(Ack(again))
                assert len(await env.letters(source, c.message.id)) == 1

    async def test_P2_each_message_of_a_batch_is_answered_at_its_place(self, env: Environment) -> None:
        for target in ("bare", "bare-serial", "plain"):
            publisher = await env.direct.driver().open_publisher(env.binding.target(target))
            messages = [env.direct.message(target, b"%d" % number) for number in range(7)]
            prepared = [publisher.prepare(Outgoing(message)) for message in messages]
            good = [each for each in prepared if isinstance(each, Prepared)]
            assert len(good) == len(messages)
            answered: list[Sent | Fault] = []
            size = publisher.limits.count if publisher.limits.mixes_keys else 1
            for start in range(0, len(good), size):
                batch = good[start : start + size]
                outcomes = await publisher.publish_batch(batch)
                assert len(outcomes) == len(batch)
                answered += outcomes
            await publisher.aclose()
            assert [kind_of(each) for each in answered] == [None] * len(messages)
            assert [each.id for each in answered if isinstance(each, Sent)] == [each.id for each in messages]
            source = "bare-copy" if target == "plain" else target
            async with env.direct.hand(source) as hand:
                got = await hand.take(each.id for each in messages)
                assert {each.message.id: each.message.body for each in got} == {m.id: m.body for m in messages}
                await hand.settle(*(Ack(each) for each in got))
