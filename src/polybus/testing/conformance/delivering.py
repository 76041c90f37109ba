"""D1, D3, D5, D8 and D9: at least once, to one consumer at a time, of every subscription that the filter says."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from polybus.bus.delivery import Delivery
from polybus.errors import Fault, FaultKind, LeaseLost
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment
from polybus.testing.faults import Operation
from polybus.testing.topology import FILTERS, LEASE, RETENTION
from polybus.topology.filters import parse

__all__ = ["Delivering"]

CASES: tuple[dict[str, str], ...] = (
    {},
    {"region": "eu"},
    {"region": "uk", "test": "yes"},
    {"region": "uk"},
    {"region": "us", "kind": "urgent-call"},
    {"kind": "alarm", "region": "EU"},
    {"kind": "urgent", "test": "no", "region": "?"},
    {"region": "us", "name": "it's"},
    {"name": "don't, (or) do", "city": "Zürich"},
    {"name": "it", "city": "Zurich"},
    {"name": "50% _", "city": "日本橋"},
    {"name": "50% x", "city": "Z\u0075\u0308rich"},
    {"region": "EU", "name": "its", "city": "Z"},
)


class Delivering(Suite):
    """D1 redelivery and retention, D3 final acks, D5 attempts, D8 filters and copies, D9 competition."""

    async def test_D1_what_is_nacked_comes_again(self, env: Environment) -> None:
        for target, source in (("jobs", "jobs"), ("events", "audit"), ("serial", "serial")):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, b"again", attributes={"a": "b"})
            await (await listener.get(identity)).nack(delay=0)
            again = await listener.get(identity)
            await again.ack()
            assert (again.body, dict(again.attributes), again.redelivered) == (b"again", {"a": "b"}, True)

    async def test_D1_what_a_crashed_consumer_held_comes_again(self, env: Environment) -> None:
        identity = await self._crash(env)
        async with env.listen("tasks") as listener:
            await env.advance(LEASE + 1)
            again = await listener.get(identity)
            assert again.redelivered
            await again.ack()

    async def test_D1_a_message_waits_for_a_consumer(self, env: Environment) -> None:
        identity = await env.bus.publish("tasks", b"patient")
        await env.advance(2 * LEASE)
        async with env.listen("tasks") as listener:
            await (await listener.get(identity)).ack()

    async def test_D1_after_its_retention_a_message_expires(self, env: Environment) -> None:
        early = await env.bus.publish("expiring", b"early")
        await env.advance(RETENTION / 2 + 10)
        late = await env.bus.publish("expiring", b"late")
        await env.advance(RETENTION / 2)
        async with env.listen("expiring") as listener:
            await (await listener.get(late)).ack()
            await env.fence("expiring", listener)
            assert listener.count(early) == 0

    async def test_D3_an_ack_is_final(self, env: Environment) -> None:
        for target, source in (("jobs", "jobs"), ("serial", "serial")):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, b"done")
            await (await listener.get(identity)).ack()
            await env.advance(LEASE + 1)
            await env.fence(target, listener)
            assert listener.count(identity) == 1

    async def test_D3_settling_twice_does_nothing(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        identity = await env.bus.publish("jobs", b"done")
        delivery = await jobs.get(identity)
        await delivery.ack()
        settled = env.faults.calls[Operation.SETTLE]
        await delivery.ack()
        await delivery.nack(delay=0)
        await delivery.dead_letter("no", "it is acked")
        async with delivery:
            pass
        assert delivery.settled
        assert env.faults.calls[Operation.SETTLE] == settled
        await env.fence("jobs", jobs)
        assert jobs.count(identity) == 1
        assert not await env.letters("jobs", identity)

    async def test_D3_an_ack_whose_answer_was_lost_is_final(self, env: Environment) -> None:
        identity = await env.bus.publish("tasks", b"done")
        async with env.connect() as peer, env.listen("tasks", bus=peer.bus) as listener:
            delivery = await listener.get(identity)
            peer.faults.cut(Operation.SETTLE, Fault(FaultKind.UNAVAILABLE, "no answer"), done=True)
            with contextlib.suppress(LeaseLost):
                await env.within(delivery.ack())
            await env.advance(LEASE + 1)
            await env.fence("tasks", listener)
            assert listener.count(identity) == 1

    async def test_D3_an_ack_that_did_not_arrive_is_sent_again(self, env: Environment) -> None:
        identity = await env.bus.publish("tasks", b"done")
        async with env.connect() as peer, env.listen("tasks", bus=peer.bus) as listener:
            delivery = await listener.get(identity)
            peer.faults.cut(Operation.SETTLE, Fault(FaultKind.UNAVAILABLE, "not now"), times=2)
            await env.within(delivery.ack())
            await env.advance(LEASE + 1)
            await env.fence("tasks", listener)
            assert listener.count(identity) == 1

    async def test_D5_attempts_count_from_one(self, env: Environment) -> None:
        for target, source in (("jobs", "jobs"), ("serial", "serial"), ("events", "billing")):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, b"three times")
            attempts = []
            for _ in range(2):
                delivery = await listener.get(identity)
                attempts.append(delivery.attempt)
                await delivery.nack(delay=0)
            last = await listener.get(identity)
            await last.ack()
            assert [*attempts, last.attempt] == [1, 2, 3]

    async def test_D5_deliveries_that_were_not_handled_count(self, env: Environment) -> None:
        identity = await self._crash(env)
        async with env.listen("tasks") as listener:
            await env.advance(LEASE + 1)
            again = await listener.get(identity)
            assert again.attempt == 2
            await again.ack()

    async def test_D8_every_subscription_gets_its_copy(self, env: Environment) -> None:
        listeners = [await env.shared("audit"), await env.shared("billing")]
        identities = await env.bus.publish_many("events", [b"one", b"two", b"three"])
        for listener in listeners:
            messages = await listener.ack(identities)
            assert {message.body for message in messages} == {b"one", b"two", b"three"}

    async def test_D8_filters_decide_what_a_subscription_gets(self, env: Environment) -> None:
        """Two-valued: `not (region == "eu")` passes what has no region, `region != "eu"` doesn't."""
        listeners = dict(zip(FILTERS, await asyncio.gather(*map(env.shared, FILTERS)), strict=True))
        filters = {name: parse(text) for name, text in FILTERS.items()}
        identities = [await env.bus.publish("filtered", b"case", attributes=case) for case in CASES]
        markers = [await env.bus.publish("filtered", b"marker", attributes=case) for case in CASES]
        expected = Counter[str]()
        for name, listener in listeners.items():
            passing = [index for index, case in enumerate(CASES) if filters[name].matches(case)]
            await listener.ack([identities[index] for index in passing] + [markers[index] for index in passing])
            expected.update(identities[index] for index in passing)
        for name, listener in listeners.items():
            got = [CASES[index] for index, identity in enumerate(identities) if listener.count(identity)]
            assert got == [case for case in CASES if filters[name].matches(case)], name
        received = Counter(each.message.id for each in env.faults.received if each.message.id in identities)
        assert received == expected, "the consumer received what the cloud should have kept back"

    async def test_D9_a_leased_message_is_with_one_consumer(self, env: Environment) -> None:
        async with (
            env.connect() as one,
            env.connect() as two,
            env.listen("tasks", bus=one.bus, concurrency=1, prefetch=1) as here,
        ):
            identity = await env.bus.publish("tasks", b"mine")
            delivery = await here.get(identity)
            async with env.listen("tasks", bus=two.bus) as there:
                await env.fence("tasks", there)
                assert there.count(identity) == 0
                await delivery.ack()
                await env.advance(LEASE + 1)
                await env.fence("tasks", here, there)
                assert (here.count(identity), there.count(identity)) == (1, 0)

    async def test_D9_consumers_share_the_work(self, env: Environment) -> None:
        handled = Counter[str]()

        async def handler(delivery: Delivery) -> None:
            handled[delivery.id] += 1

        async with (
            env.connect() as one,
            env.connect() as two,
            env.work("tasks", handler, bus=one.bus),
            env.work("tasks", handler, bus=two.bus),
        ):
            identities = await env.bus.publish_many("tasks", [b"work"] * 60)
            await env.until(lambda: set(identities) <= set(handled), "all of them")
        assert {identity: handled[identity] for identity in identities} == dict.fromkeys(identities, 1)

    async def _crash(self, env: Environment) -> str:
        """Publish to `tasks`, and let a consumer that holds the message die; return the message's id."""
        identity = await env.bus.publish("tasks", b"held")
        async with env.connect() as peer:
            crashing = env.listen("tasks", bus=peer.bus)
            await crashing.__aenter__()
            await crashing.get(identity)
            peer.faults.sever()
            await crashing.crash()
        return identity
