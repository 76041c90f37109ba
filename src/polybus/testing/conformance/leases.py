"""D2: a lease is kept while it is needed, and not lost in silence."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions
from polybus.errors import Fault, FaultKind, LeaseLost
from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.environment import Environment, Recorder
from polybus.testing.faults import Operation
from polybus.testing.topology import SHORT_LEASE

__all__ = ["Leases"]

SOURCES = ("brief", "brief-serial")


class Leases(Suite):
    """D2 extension from receipt, up to max_lease; and the signal when a lease is lost."""

    async def test_D2_a_lease_is_kept_while_its_handler_works(self, env: Environment) -> None:
        for source in SOURCES:
            identity = await env.bus.publish(source, b"long work")
            async with env.connect() as one, env.listen(source, bus=one.bus) as here:
                delivery = await here.get(identity)
                async with env.listen(source) as there:
                    await env.keep(5 * SHORT_LEASE, one.faults, SHORT_LEASE)
                    assert not delivery.lost
                    await delivery.ack()
                    await env.advance(SHORT_LEASE + 1)
                    await env.fence(source, here, there)
                    assert (here.count(identity), there.count(identity)) == (1, 0)

    async def test_D2_what_is_prefetched_is_kept_too(self, env: Environment) -> None:
        handled = Counter[str]()
        attempts: list[int] = []
        go = asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            handled[delivery.id] += 1
            attempts.append(delivery.attempt)
            await go.wait()

        identities = await env.bus.publish_many("brief", [b"one", b"two", b"three", b"four"])
        options = ConsumerOptions(concurrency=1, prefetch=4)
        async with env.connect() as peer, env.work("brief", handler, bus=peer.bus, options=options):
            await env.until(lambda: len(peer.faults.in_hand) == 4, "all four in hand")
            await env.keep(3 * SHORT_LEASE, peer.faults, SHORT_LEASE)
            go.set()
            await env.until(lambda: set(handled) >= set(identities), "all handled")
        assert [handled[identity] for identity in identities] == [1, 1, 1, 1]
        assert attempts == [1, 1, 1, 1]

    @needs_order
    async def test_D2_a_retry_that_falls_due_while_its_lease_is_extended_is_kept(self, env: Environment) -> None:
        identity = await env.bus.publish("brief-serial", b"again")
        async with env.connect() as peer, env.listen("brief-serial", bus=peer.bus) as listener:
            await (await listener.get(identity)).nack(delay=20)
            gate = peer.faults.hold(Operation.EXTEND)
            await env.advance(16)
            await env.within(gate.reached.wait())
            await env.advance(5)
            again = await listener.get(identity)
            peer.faults.cut(Operation.EXTEND, Fault(FaultKind.UNAVAILABLE, "not now"))
            gate.open()
            await env.extended_again(peer.faults, SHORT_LEASE)
            await env.keep(3 * SHORT_LEASE, peer.faults, SHORT_LEASE)
            assert not again.lost
            await again.ack()

    async def test_D2_a_lost_lease_cancels_the_handler_and_is_told(self, env: Environment) -> None:
        recorder = Recorder()
        ended: list[str] = []
        again, go = asyncio.Event(), asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            if ended:
                again.set()
                await go.wait()
                return
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("lost" if delivery.lost else "cancelled")
                raise

        identity = await env.bus.publish("brief", b"too long")
        async with env.connect(hooks=[recorder]) as peer, env.work("brief", handler, bus=peer.bus):
            await env.until(lambda: bool(peer.faults.in_hand), "the message")
            peer.faults.fail(Operation.EXTEND, Fault(FaultKind.UNAVAILABLE, "not now"), times=1_000)
            settled = peer.faults.calls[Operation.SETTLE]
            await env.advance(SHORT_LEASE + 1)
            await env.until(lambda: bool(ended), "the handler's end")
            assert ended[0] == "lost"
            assert identity in recorder.lost
            assert peer.faults.calls[Operation.SETTLE] == settled, "a settlement was sent for a lost lease"
            peer.faults.heal()
            await env.within(again.wait())
            go.set()

    async def test_D2_after_a_lost_lease_the_ack_is_not_sent_and_raises(self, env: Environment) -> None:
        for source in SOURCES:
            identity = await env.bus.publish(source, b"too long")
            async with env.connect() as peer, env.listen(source, bus=peer.bus) as listener:
                delivery = await listener.get(identity)
                peer.faults.fail(Operation.EXTEND, Fault(FaultKind.UNAVAILABLE, "not now"), times=1_000)
                await env.advance(SHORT_LEASE + 1)
                sent = [each for each in peer.faults.settled if each.received.message.id == identity]
                with pytest.raises(LeaseLost, match=identity):
                    await delivery.ack()
                assert delivery.lost
                assert sent == [each for each in peer.faults.settled if each.received.message.id == identity]
                peer.faults.heal()
                again = await listener.get(identity)
                assert again.redelivered
                await again.ack()

    async def test_D2_a_lease_is_extended_up_to_max_lease(self, env: Environment) -> None:
        identity = await env.bus.publish("brief", b"too long")
        async with env.connect() as peer, env.listen("brief", bus=peer.bus, max_lease=45.0) as listener:
            delivery = await listener.get(identity)
            await env.keep(SHORT_LEASE + 3, peer.faults, SHORT_LEASE)
            assert not delivery.lost
            await env.advance(20)
            await env.until(lambda: delivery.lost, "the loss")
            with pytest.raises(LeaseLost):
                await delivery.ack()
            again = await listener.get(identity)
            await again.ack()

    async def test_D2_what_the_backend_says_is_lost_is_lost(self, env: Environment) -> None:
        identity = await env.bus.publish("brief", b"taken away")
        async with env.connect() as peer, env.listen("brief", bus=peer.bus) as listener:
            delivery = await listener.get(identity)
            peer.faults.fail(Operation.EXTEND, Fault(FaultKind.LEASE_LOST, "taken away"))
            await env.advance(SHORT_LEASE * 0.6)
            await env.until(lambda: delivery.lost, "the loss")
            with pytest.raises(LeaseLost):
                await delivery.nack()
            await env.advance(SHORT_LEASE)
            await (await listener.get(identity)).ack()
