"""P6 and D10: one key, one order."""

from __future__ import annotations

import asyncio

import pytest

from polybus.bus.delivery import held_of
from polybus.errors import Fault, FaultKind, PolybusError
from polybus.feature import Feature
from polybus.message import Message
from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.environment import Environment
from polybus.testing.faults import Operation
from polybus.testing.topology import BACKOFF, SHORT_LEASE

__all__ = ["Ordering"]

ORDERED = (("serial", "serial"), ("orders", "strict"))


class Ordering(Suite):
    """P6 order and blocked keys at publish; D10 order at delivery."""

    @needs_order
    async def test_P6_messages_of_a_key_are_delivered_in_the_order_of_the_calls(self, env: Environment) -> None:
        for target, source in ORDERED:
            listener = await env.shared(source)
            keys = [env.name("key") for _ in range(3)]
            calls = [
                asyncio.create_task(env.bus.publish(target, b"%d" % number, ordering_key=keys[number % 3]))
                for number in range(30)
            ]
            messages = await listener.ack(await env.within(asyncio.gather(*calls)))
            for offset, key in enumerate(keys):
                bodies = [int(message.body) for message in messages if message.ordering_key == key]
                assert bodies == list(range(offset, 30, 3))

    @needs_order
    async def test_P6_nothing_overtakes_what_is_tried_again(self, env: Environment) -> None:
        serial = await env.shared("serial")
        key = env.name("key")
        busy = Fault(FaultKind.UNAVAILABLE, "try again")
        async with env.connect() as peer:
            peer.faults.fail(Operation.PUBLISH, busy, times=3, when=lambda each: each.body in (b"1", b"4"))
            peer.faults.cut(Operation.PUBLISH, busy, done=True)  # so that some are sent twice
            sending = [
                asyncio.create_task(peer.bus.publish("serial", b"%d" % number, ordering_key=key)) for number in range(6)
            ]
            identities = await env.within(asyncio.gather(*sending))
        env.expect_repeats(*(() if env.rig.deduplicates(env.binding.target("serial")) else identities))
        bodies = [int(each.body) for each in await serial.ack(identities, repeats=True)]
        assert list(dict.fromkeys(bodies)) == list(range(6))
        if env.rig.deduplicates(env.binding.target("serial")):
            assert len(bodies) == 6, "what was sent again for its lost answer was accepted twice"

    @needs_order
    async def test_P6_after_a_failure_its_key_is_blocked_until_resumed(self, env: Environment) -> None:
        serial = await env.shared("serial")
        key, other = env.name("key"), env.name("key")
        async with env.connect() as peer:
            peer.faults.fail(Operation.PUBLISH, Fault(FaultKind.DENIED, "no"), when=lambda each: each.body == b"1")
            sending = [
                asyncio.create_task(peer.bus.publish_many("serial", [_message(b"%d" % number, key)], outcomes=True))
                for number in range(4)
            ]
            outcomes = [outcome for [outcome] in await env.within(asyncio.gather(*sending))]
            kinds = [outcome.kind if isinstance(outcome, Fault) else None for outcome in outcomes]
            assert kinds[:2] == [None, FaultKind.DENIED]
            assert set(kinds[2:]) <= {FaultKind.DENIED, FaultKind.KEY_BLOCKED}  # the batch's later ones fail with it
            fault = await env.refused(peer.bus.publish("serial", b"4", ordering_key=key))
            assert fault.kind is FaultKind.KEY_BLOCKED
            assert key in fault.detail
            free = await env.within(peer.bus.publish("serial", b"free", ordering_key=other))
            peer.bus.resume("serial", key)
            resumed = await env.within(peer.bus.publish("serial", b"5", ordering_key=key))
        accepted = [outcome.id for outcome in outcomes if not isinstance(outcome, Fault)]
        for identity in (*accepted, resumed, free):
            await (await serial.get(identity)).ack()
        assert [each.body for each in serial.seen if each.ordering_key == key] == [b"0", b"5"]

    @needs_order
    async def test_P6_an_ordering_key_on_an_unordered_target_is_refused(self, env: Environment) -> None:
        async with env.connect() as peer:
            for target in ("jobs", "events"):
                with pytest.raises(PolybusError, match=target):
                    await env.within(peer.bus.publish(target, b"", ordering_key="key"))
            assert not peer.faults.calls[Operation.PUBLISH]

    @needs_order
    async def test_P6_without_a_key_on_an_ordered_target_polybus_makes_one(self, env: Environment) -> None:
        for target, source in ORDERED:
            listener = await env.shared(source)
            first, second = await env.bus.publish_many(target, [b"one", b"two"])
            deliveries = await listener.take([first, second])
            assert all(delivery.ordering_key for delivery in deliveries)
            assert deliveries[0].ordering_key != deliveries[1].ordering_key
            for delivery in deliveries:
                await delivery.ack()

    @needs_order
    async def test_D10_the_next_of_a_key_waits_until_the_one_before_is_settled(self, env: Environment) -> None:
        for target, source in ORDERED:
            listener = await env.shared(source)
            key, other = env.name("key"), env.name("key")
            ids = await env.bus.publish_many(target, [_message(b"%d" % number, key) for number in range(3)])
            first = await listener.get(ids[0])
            beside = await env.bus.publish(target, b"beside", ordering_key=other)
            await (await listener.get(beside)).ack()
            assert [listener.count(identity) for identity in ids] == [1, 0, 0]
            await first.ack()
            second = await listener.get(ids[1])
            await env.fence(target, listener)
            assert listener.count(ids[2]) == 0
            await second.ack()
            await (await listener.get(ids[2])).ack()

    @needs_order
    async def test_D10_a_failed_one_is_retried_in_place(self, env: Environment) -> None:
        serial = await env.shared("serial")
        key = env.name("key")
        ids = await env.bus.publish_many("serial", [_message(b"%d" % number, key) for number in range(3)])
        await (await serial.get(ids[0])).nack(delay=BACKOFF.maximum)
        await env.fence("serial", serial)
        assert [serial.count(identity) for identity in ids] == [1, 0, 0]
        await env.advance(BACKOFF.maximum + 1)
        again = await serial.get(ids[0])
        assert again.redelivered
        assert serial.count(ids[1]) == 0
        await again.ack()
        for identity in ids[1:]:
            await (await serial.get(identity)).ack()

    @needs_order
    async def test_D10_a_key_belongs_to_one_consumer_at_a_time(self, env: Environment) -> None:
        key = env.name("key")
        async with (
            env.connect() as one,
            env.connect() as two,
            env.listen("brief-serial", bus=one.bus, concurrency=4) as here,
        ):
            ids = await env.bus.publish_many("brief-serial", [_message(b"%d" % each, key) for each in range(3)])
            first = await here.get(ids[0])
            async with env.listen("brief-serial", bus=two.bus, concurrency=4) as there:
                await env.fence("brief-serial", here, there)
                assert [there.count(identity) for identity in ids] == [0, 0, 0]
                await first.ack()
                seen = []
                for identity in ids[1:]:
                    await env.until(lambda each=identity: here.count(each) + there.count(each) > 0, "the next")  # type: ignore[misc]
                    holder = here if here.count(identity) else there
                    delivery = await holder.get(identity)
                    seen.append(delivery.body)
                    await delivery.ack()
                assert seen == [b"1", b"2"]

    @needs_order
    async def test_D10_a_lost_lease_gives_back_the_key_in_order(self, env: Environment) -> None:
        key = env.name("key")
        ids = await env.bus.publish_many("brief-serial", [_message(b"%d" % each, key) for each in range(3)])
        async with env.connect() as one:
            crashed = env.listen("brief-serial", bus=one.bus, concurrency=2)
            await crashed.__aenter__()
            await crashed.get(ids[0])
            one.faults.sever()
            await crashed.crash()
            async with env.listen("brief-serial") as after:
                await env.advance(31)
                for identity in ids:
                    await (await after.get(identity)).ack()
                order = list(dict.fromkeys(each.body for each in after.seen if each.ordering_key == key))
                assert order == [b"0", b"1", b"2"]

    @needs_order
    async def test_D10_what_is_given_back_comes_before_what_is_later(self, env: Environment) -> None:
        """Those behind it are in this consumer's hand, and wait for it all the same."""
        serial = await env.shared("serial")
        key = env.name("key")
        ids = await env.bus.publish_many("serial", [_message(b"%d" % number, key) for number in range(3)])
        first = await serial.get(ids[0])
        await held_of(first).give_back()
        again = await env.hasten(serial.get(ids[0]))
        assert [serial.count(identity) for identity in ids] == [2, 0, 0], "a later one was handed out meanwhile"
        await again.ack()
        for identity in ids[1:]:
            await (await serial.get(identity)).ack()

    @needs_order
    async def test_D10_a_lost_lease_lets_nothing_of_its_key_pass(self, env: Environment) -> None:
        """The loss is told to the bus alone: a driver that keeps leases itself, as of a stream, has it still."""
        if Feature.CONSISTENT not in env.bus.features("brief-serial"):
            return
        key = env.name("key")
        async with env.connect() as peer, env.listen("brief-serial", bus=peer.bus, concurrency=4) as listener:
            ids = await env.bus.publish_many("brief-serial", [_message(b"%d" % each, key) for each in range(3)])
            first = await listener.get(ids[0])
            lost = Fault(FaultKind.LEASE_LOST, "taken away")
            peer.faults.fail(Operation.EXTEND, lost, when=lambda each: each.id == ids[0])
            await env.advance(SHORT_LEASE * 0.6)
            await env.until(lambda: first.lost, "the loss")
            await env.advance(SHORT_LEASE)
            for identity in ids:
                await (await env.hasten(listener.get(identity))).ack()
            order = [each.body for each in listener.seen if each.ordering_key == key][1:]
            assert list(dict.fromkeys(order)) == [b"0", b"1", b"2"], "a later one was handed out before the lost one"

    @needs_order
    async def test_D10_an_unordered_subscription_of_an_ordered_topic_gets_everything(self, env: Environment) -> None:
        strict, loose = await env.shared("strict"), await env.shared("loose")
        key = env.name("key")
        ids = await env.bus.publish_many("orders", [_message(b"%d" % each, key) for each in range(3)])
        deliveries = await loose.take(ids)
        for delivery in deliveries:
            await delivery.ack()
        assert {delivery.ordering_key for delivery in deliveries} == {key}
        for identity in ids:
            await (await strict.get(identity)).ack()


def _message(body: bytes, key: str) -> Message:
    return Message(body, ordering_key=key)
