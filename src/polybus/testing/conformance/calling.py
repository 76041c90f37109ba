"""P6 where order is easily lost: while a publisher opens, at a full gate, and after what failed."""

from __future__ import annotations

import asyncio

from polybus.bus.options import PublisherOptions
from polybus.bus.retry import RetryPolicy
from polybus.errors import Fault, FaultKind
from polybus.message import Message
from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.environment import Environment, Peer
from polybus.testing.faults import Operation

__all__ = ["Calling"]

ORDERED = (("serial", "serial"), ("orders", "strict"))


class Calling(Suite):
    """P6: the order is fixed by the call itself, whatever the publisher is doing just then."""

    @needs_order
    async def test_P6_what_is_published_while_the_publisher_opens_keeps_its_order(self, env: Environment) -> None:
        """One call in each turn of the loop, from before the opening until after it."""
        for target, source in ORDERED:
            listener = await env.shared(source)
            key = env.name("key")
            async with env.connect() as peer:
                gate = peer.faults.hold(Operation.OPEN, after=True)
                calls = [asyncio.create_task(peer.bus.publish(target, b"0", ordering_key=key))]
                await env.within(gate.reached.wait())
                gate.open()
                await self._go_on_calling(peer, target, key, calls)
                ids = await env.within(asyncio.gather(*calls))
            bodies = [int(message.body) for message in await listener.ack(ids)]
            assert bodies == list(range(len(ids))), f"{target}: a later call overtook an earlier one"

    @needs_order
    async def test_P6_what_waits_for_room_keeps_its_order(self, env: Environment) -> None:
        """One call in each turn of the loop, while those before it wait for room, and as it appears."""
        for most in (2, 5):
            serial = await env.shared("serial")
            key = env.name("key")
            async with env.connect(publisher=PublisherOptions(max_outstanding=most)) as peer:
                gate = peer.faults.hold(Operation.PUBLISH, after=True)
                calls = [
                    asyncio.create_task(peer.bus.publish("serial", b"%d" % number, ordering_key=key))
                    for number in range(3 * most)
                ]
                await env.within(gate.reached.wait())
                gate.open()
                await self._go_on_calling(peer, "serial", key, calls)
                ids = await env.within(asyncio.gather(*calls))
            bodies = [int(message.body) for message in await serial.ack(ids)]
            assert bodies == list(range(len(ids))), "a later call overtook an earlier one"

    @needs_order
    async def test_P6_who_waits_for_room_is_served_in_the_order_of_the_calls(self, env: Environment) -> None:
        serial = await env.shared("serial")
        async with env.connect(publisher=PublisherOptions(max_outstanding=1, batches_in_flight=1)) as peer:
            gate = peer.faults.hold(Operation.PUBLISH)
            calls = [
                asyncio.create_task(peer.bus.publish("serial", b"%d" % number, ordering_key=env.name("key")))
                for number in range(12)
            ]
            await env.within(gate.reached.wait())
            gate.open()
            ids = await env.within(asyncio.gather(*calls))
            assert [each.id for each in peer.faults.tries] == ids, "who came last was served first"
        await serial.ack(ids)

    @needs_order
    async def test_P6_a_small_message_does_not_pass_a_large_one_that_waits_for_room(self, env: Environment) -> None:
        """There is room for it, and none for the one before it."""
        serial = await env.shared("serial")
        key = env.name("key")
        async with env.connect(publisher=PublisherOptions(max_outstanding_bytes=30_000)) as peer:
            gate = peer.faults.hold(Operation.PUBLISH)
            filling = asyncio.create_task(peer.bus.publish("serial", b"0" * 20_000, ordering_key=env.name("key")))
            await env.within(gate.reached.wait())
            calls = [
                asyncio.create_task(peer.bus.publish("serial", body, ordering_key=key))
                for body in (b"1" * 20_000, b"2", b"3")
            ]
            await asyncio.sleep(0.01)  # so that each has had its chance to leave
            gate.open()
            ids = await env.within(asyncio.gather(*calls))
            first = await env.within(filling)
        bodies = [message.body[:1] for message in await serial.ack([first, *ids]) if message.ordering_key == key]
        assert bodies == [b"1", b"2", b"3"], "a later call overtook an earlier one"

    @needs_order
    async def test_P6_two_batches_of_a_key_are_never_under_way_at_once(self, env: Environment) -> None:
        serial = await env.shared("serial")
        key = env.name("key")
        async with env.connect(publisher=PublisherOptions(linger=0.0)) as peer:
            gate = peer.faults.hold(Operation.PUBLISH)
            first = asyncio.create_task(peer.bus.publish("serial", b"0", ordering_key=key))
            await env.within(gate.reached.wait())
            others = []
            for number in range(1, 6):
                others.append(asyncio.create_task(peer.bus.publish("serial", b"%d" % number, ordering_key=key)))
                await asyncio.sleep(0.002)  # so that each has had its chance to leave alone
            assert peer.faults.calls[Operation.PUBLISH] == 1, "a second batch of the key was sent beside the first"
            gate.open()
            ids = await env.within(asyncio.gather(first, *others))
        assert [int(each.body) for each in await serial.ack(ids)] == list(range(6))

    @needs_order
    async def test_P6_an_opening_that_fails_blocks_the_key(self, env: Environment) -> None:
        serial = await env.shared("serial")
        key = env.name("key")
        async with env.connect() as peer:
            peer.faults.cut(Operation.OPEN, Fault(FaultKind.DENIED, "no right to publish"))
            assert (await env.refused(peer.bus.publish("serial", b"0", ordering_key=key))).kind is FaultKind.DENIED
            fault = await env.refused(peer.bus.publish("serial", b"1", ordering_key=key))
            assert fault.kind is FaultKind.KEY_BLOCKED, fault
            peer.bus.resume("serial", key)
            resumed = await env.within(peer.bus.publish("serial", b"2", ordering_key=key))
        [message] = await serial.ack([resumed])
        assert message.body == b"2"

    @needs_order
    async def test_P6_what_follows_one_that_is_given_up_is_not_sent(self, env: Environment) -> None:
        """Its deadline ends the tries of the first; those behind it in the same batch had longer, and don't pass."""
        serial = await env.shared("serial")
        key = env.name("key")
        options = PublisherOptions(deadline=100.0, retry=RetryPolicy(initial=30.0, maximum=30.0))
        async with env.connect(publisher=options) as peer:
            busy = Fault(FaultKind.UNAVAILABLE, "try again")
            peer.faults.fail(Operation.PUBLISH, busy, times=1_000, when=lambda each: each.body == b"0")
            first = asyncio.create_task(peer.bus.publish("serial", b"0", ordering_key=key))
            await env.until(lambda: len(peer.faults.tries) == 1, "the first try")
            await env.advance(20)
            later = asyncio.create_task(peer.bus.publish("serial", b"1", ordering_key=key))
            while not first.done():
                await env.advance(10)
                await asyncio.wait([first], timeout=0.01)
            assert (await env.refused(first)).kind in (FaultKind.DEADLINE, FaultKind.TIMEOUT)
            assert (await env.refused(later)).kind is FaultKind.KEY_BLOCKED
            assert peer.faults.sent(first_id := peer.faults.tries[0].id) == len(peer.faults.tries), first_id
        await env.fence("serial", serial)

    @needs_order
    async def test_P6_what_follows_a_failed_one_in_its_batch_is_not_tried_again(self, env: Environment) -> None:
        """Whatever its own answer was: it would come before the failed one, should that be published again."""
        serial = await env.shared("serial")
        key = env.name("key")
        async with env.connect() as peer:
            peer.faults.fail(Operation.PUBLISH, Fault(FaultKind.DENIED, "no"), when=lambda each: each.body == b"0")
            busy = Fault(FaultKind.UNAVAILABLE, "try again")
            peer.faults.fail(Operation.PUBLISH, busy, when=lambda each: each.body == b"1")
            messages = [Message(b"%d" % number, ordering_key=key) for number in range(2)]
            first, second = await env.within(peer.bus.publish_many("serial", messages, outcomes=True))
            assert isinstance(first, Fault)
            assert isinstance(second, Fault), "it was sent after the one before it had failed"
            sent = {each.id for each in peer.faults.tries}
        await env.fence("serial", serial)
        assert not any(serial.count(identity) for identity in sent)

    @needs_order
    async def test_P6_a_key_that_the_bus_made_itself_is_never_blocked(self, env: Environment) -> None:
        """An ordered target, and no key given: each message is its own key, and a failure holds up nothing."""
        serial = await env.shared("serial")
        async with env.connect() as peer:
            peer.faults.fail(Operation.PUBLISH, Fault(FaultKind.DENIED, "no"), times=3)
            for number in range(3):
                assert (await env.refused(peer.bus.publish("serial", b"%d" % number))).kind is FaultKind.DENIED
            identity = await env.within(peer.bus.publish("serial", b"passes"))
        await (await serial.get(identity)).ack()

    async def _go_on_calling(self, peer: Peer, target: str, key: str, calls: list[asyncio.Task[str]]) -> None:
        """Publish one more in each turn of the loop, for more turns than it takes to notice what happened just now."""
        for _ in range(40):
            number = len(calls)
            calls.append(asyncio.create_task(peer.bus.publish(target, b"%d" % number, ordering_key=key)))
            await asyncio.sleep(0)
