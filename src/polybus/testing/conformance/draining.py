"""D12: a shutdown that loses nothing and keeps nothing."""

from __future__ import annotations

import asyncio

from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions
from polybus.feature import Feature
from polybus.testing.conformance.suite import Suite, needs_order
from polybus.testing.environment import Environment
from polybus.testing.faults import Operation

__all__ = ["Draining"]


class Draining(Suite):
    """D12 in all its parts; no test lets time pass until a lease ends, so what isn't given back isn't seen again."""

    async def test_D12_a_drain_gives_back_what_was_prefetched(self, env: Environment) -> None:
        go, handled = asyncio.Event(), []

        async def handler(delivery: Delivery) -> None:
            handled.append(delivery.id)
            await go.wait()

        identities = await env.bus.publish_many("tasks", [b"one", b"two", b"three", b"four", b"five"])
        options = ConsumerOptions(concurrency=1, prefetch=5)
        async with env.connect() as peer, env.work("tasks", handler, bus=peer.bus, options=options) as worker:
            await env.until(lambda: len(peer.faults.in_hand) == 5 and bool(handled), "all five in hand")
            draining = asyncio.create_task(worker.consumer.drain())
            async with env.listen("tasks") as other:
                await other.ack(set(identities) - set(handled))
                assert not draining.done()
                go.set()
                await env.hasten(draining)
                assert worker.consumer.in_flight == 0
                assert not peer.faults.in_hand
                await env.fence("tasks", other)
                assert other.count(handled[0]) == 0
        assert len(handled) == 1

    async def test_D12_running_handlers_may_finish_within_the_grace_time(self, env: Environment) -> None:
        go, done = asyncio.Event(), []

        async def handler(delivery: Delivery) -> None:
            await go.wait()
            done.append(delivery.id)

        identities = await env.bus.publish_many("tasks", [b"one", b"two", b"three"])
        async with env.connect() as peer, env.work("tasks", handler, bus=peer.bus) as worker:
            await env.until(lambda: len(peer.faults.in_hand) == 3, "all three in hand")
            draining = asyncio.create_task(worker.consumer.drain(grace=60))
            await env.until(lambda: peer.faults.stopped == 1, "the drain's begin")
            await env.advance(30)
            async with env.listen("tasks") as other:
                await env.fence("tasks", other)
                go.set()
                await env.hasten(draining)
                await env.fence("tasks", other)
                assert not any(other.count(identity) for identity in identities)
        assert sorted(done) == sorted(identities)

    async def test_D12_after_the_grace_time_handlers_are_cancelled_and_their_messages_given_back(
        self, env: Environment
    ) -> None:
        ended: list[str] = []

        async def handler(delivery: Delivery) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(delivery.id)

        identity = await env.bus.publish("tasks", b"too slow")
        async with env.connect() as peer, env.work("tasks", handler, bus=peer.bus) as worker:
            await env.until(lambda: len(peer.faults.in_hand) == 1, "it in hand")
            draining = asyncio.create_task(worker.consumer.drain(grace=60))
            await env.until(lambda: peer.faults.stopped == 1, "the drain's begin")
            await env.advance(61)
            await env.hasten(draining)
            assert ended == [identity]
            assert worker.consumer.in_flight == 0
            async with env.listen("tasks") as other:
                await (await other.get(identity)).ack()

    async def test_D12_what_a_receive_call_under_way_brings_is_given_back(self, env: Environment) -> None:
        async def handler(delivery: Delivery) -> None:
            raise AssertionError("it was handled after the drain began")

        async with env.connect() as peer:
            gate = peer.faults.hold(Operation.RECEIVE, after=True)
            async with env.work("tasks", handler, bus=peer.bus) as worker:
                identities = await env.bus.publish_many("tasks", [b"one", b"two"])
                await env.within(gate.reached.wait())
                draining = asyncio.create_task(worker.consumer.drain())
                async with env.listen("tasks") as other:
                    await env.fence("tasks", other)
                    assert not draining.done(), "the receive call was not awaited"
                    gate.open()
                    await env.hasten(draining)
                    await other.ack(identities)

    @needs_order
    async def test_D12_what_is_held_back_is_given_back_at_once(self, env: Environment) -> None:
        """An ordered message that waits for its retry is held, with all that is behind it."""
        key = env.name("key")
        async with env.connect() as peer:
            async with env.listen("brief-serial", bus=peer.bus) as listener:
                first = await env.bus.publish("brief-serial", b"first", ordering_key=key)
                second = await env.bus.publish("brief-serial", b"second", ordering_key=key)
                await (await listener.get(first)).nack(delay=20)
            assert not peer.faults.in_hand
        async with env.listen("brief-serial") as other:
            messages = await other.ack([first, second])
        assert [message.body for message in messages] == [b"first", b"second"]

    async def test_D12_settlements_under_way_are_waited_for(self, env: Environment) -> None:
        done = asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            done.set()

        async with env.connect() as peer:
            gate = peer.faults.hold(Operation.SETTLE)
            async with env.work("tasks", handler, bus=peer.bus) as worker:
                identity = await env.bus.publish("tasks", b"done")
                await env.within(done.wait())
                await env.within(gate.reached.wait())
                draining = asyncio.create_task(worker.consumer.drain())
                jobs = await env.shared("jobs")
                await env.fence("jobs", jobs)  # of another queue: this one's receive may bring what comes, and keep it
                assert not draining.done(), "the drain ended before what was handled is acked"
                gate.open()
                await env.hasten(draining)
                assert [each.received.message.id for each in peer.faults.settled] == [identity]

    async def test_D5_giving_back_at_a_drain_is_no_attempt_where_the_backend_can_tell(self, env: Environment) -> None:
        """What was taken ahead and never handed out; what was retried in place keeps the attempts that were made."""
        for target, source in (("tasks", "tasks"), ("brief-serial", "brief-serial")):
            tells = Feature.ATTEMPTS in env.bus.features(source)
            async with env.connect() as peer, peer.bus.consume(source, concurrency=1, prefetch=2) as deliveries:
                tried = await env.bus.publish(target, b"tried twice")
                first = await env.within(anext(deliveries))
                await first.nack(delay=0)
                again = await env.hasten(anext(deliveries))
                idle = await env.bus.publish(target, b"never handed out")
                if tells:  # elsewhere nothing need be taken that nobody asks for
                    await env.until(
                        lambda peer=peer, idle=idle: any(each.message.id == idle for each in peer.faults.received),  # type: ignore[misc]
                        f"{source}: what there is room for was not taken ahead",
                    )
            assert [first.id, first.attempt, again.id, again.attempt] == [tried, 1, tried, 2]
            async with env.listen(source) as other:
                attempts = {each.id: each.attempt for each in await other.take([idle, tried])}
                if tells:
                    assert attempts == {idle: 1, tried: 3}, f"{source}: attempts that were made are counted, no others"
                for each in other.seen:
                    await each.ack()

    async def test_D12_what_was_not_settled_is_given_back(self, env: Environment) -> None:
        for target, source in (("tasks", "tasks"), ("brief-serial", "brief-serial")):
            async with env.connect() as peer:
                async with env.listen(source, bus=peer.bus) as listener:
                    identities = await env.bus.publish_many(target, [b"one", b"two", b"three"])
                    await listener.take(identities)
                assert not peer.faults.in_hand
            async with env.listen(source) as other:
                await other.ack(identities)

    async def test_D12_no_message_is_taken_after_the_drain(self, env: Environment) -> None:
        async with env.connect() as peer:
            async with env.listen("tasks", bus=peer.bus):
                pass
            received = len(peer.faults.received)
            identity = await env.bus.publish("tasks", b"after")
            async with env.listen("tasks") as other:
                await (await other.get(identity)).ack()
            assert len(peer.faults.received) == received

    async def test_D12_closing_the_bus_drains_its_consumers(self, env: Environment) -> None:
        handled: list[str] = []

        async def handler(delivery: Delivery) -> None:
            handled.append(delivery.id)
            await asyncio.Event().wait()

        identities = await env.bus.publish_many("tasks", [b"one", b"two"])
        async with env.connect() as peer:
            consumer = peer.bus.consumer("tasks", handler, options=ConsumerOptions(grace=0.0))
            running = asyncio.create_task(consumer.run())
            await env.until(lambda: len(handled) == 2, "both in hand")
            await env.hasten(peer.bus.aclose())
            await env.hasten(running)
            assert not peer.faults.in_hand
        async with env.listen("tasks") as other:
            await other.ack(identities)
