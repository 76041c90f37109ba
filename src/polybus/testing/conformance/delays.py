"""P8 and D4: not before its time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from polybus.binding import Binding
from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions
from polybus.errors import PolybusError, Retry, UnsupportedFeature
from polybus.testing.conformance.suite import Suite, refuses_order
from polybus.testing.environment import Environment, Recorder
from polybus.testing.faults import Operation
from polybus.testing.rig import Refusal, may_refuse
from polybus.testing.topology import BACKOFF, DELAYED, MAX_DELAY, delayed_alone

__all__ = ["Delays"]

ORDERED = frozenset({Refusal.ORDERED_TOPIC, Refusal.ORDERED_QUEUE})


class Delays(Suite):
    """P8 delayed messages, and who may refuse them; D4 giving back with a delay."""

    async def test_P8_nothing_is_refused_but_what_the_kit_allows(self, env: Environment) -> None:
        assert env.rig.refuses <= may_refuse(env.binding.backend)

    async def test_P8_delay_on_topics(self, env: Environment) -> None:
        await self._kept_or_refused(env, Refusal.TOPIC)

    async def test_P8_delay_on_ordered_topics(self, env: Environment) -> None:
        await self._kept_or_refused(env, Refusal.ORDERED_TOPIC)

    async def test_P8_delay_on_queues(self, env: Environment) -> None:
        await self._kept_or_refused(env, Refusal.QUEUE)

    async def test_P8_delay_on_ordered_queues(self, env: Environment) -> None:
        await self._kept_or_refused(env, Refusal.ORDERED_QUEUE)

    async def test_P8_undeclared_delay_is_refused_everywhere(self, env: Environment) -> None:
        async with env.connect() as peer:
            for target in ("jobs", "serial", "events", "orders"):
                with pytest.raises(UnsupportedFeature, match=target):
                    await env.within(peer.bus.publish(target, b"", delay=1))
            assert not peer.faults.calls[Operation.PUBLISH]

    async def test_P8_more_delay_than_declared_is_refused(self, env: Environment) -> None:
        async with env.connect() as peer:
            for kind in set(Refusal) - env.rig.refuses - (set() if env.rig.ordering else ORDERED):
                with pytest.raises(PolybusError, match=DELAYED[kind][0]):
                    await env.within(peer.bus.publish(DELAYED[kind][0], b"", delay=timedelta(seconds=MAX_DELAY + 1)))
            assert not peer.faults.calls[Operation.PUBLISH]

    async def test_D4_it_comes_again_not_before_the_delay(self, env: Environment) -> None:
        for target, source in (("jobs", "jobs"), ("serial", "serial"), ("events", "audit")):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, b"not now")
            await (await listener.get(identity)).nack(delay=60)
            await env.advance(30)
            await env.fence(target, listener)
            assert listener.count(identity) == 1, f"{source}: it came too early"
            await env.advance(31)
            await (await listener.get(identity)).ack()

    async def test_D4_without_a_delay_the_declared_backoff_holds(self, env: Environment) -> None:
        """Between half of the initial 20 seconds and all of it."""
        jobs = await env.shared("jobs")
        identity = await env.bus.publish("jobs", b"not now")
        await (await jobs.get(identity)).nack()
        await env.fence("jobs", jobs)
        assert jobs.count(identity) == 1
        await env.advance(21)
        await (await jobs.get(identity)).ack()

    async def test_D4_the_backoff_grows_with_the_attempt(self, env: Environment) -> None:
        """After the second attempt between half of 40 seconds and all of it."""
        for target, source in (("jobs", "jobs"), ("serial", "serial")):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, b"not now")
            await (await listener.get(identity)).nack()
            await env.advance(21)
            await (await listener.get(identity)).nack()
            await env.advance(2 * BACKOFF.initial / 2 - 1)
            await env.fence(target, listener)
            assert listener.count(identity) == 2, f"{source}: it came as soon as after the first attempt"
            await env.advance(BACKOFF.maximum)
            await (await listener.get(identity)).ack()

    async def test_D4_at_once_means_at_once(self, env: Environment) -> None:
        for target, source in (("jobs", "jobs"), ("serial", "serial")):
            listener = await env.shared(source)
            identity = await env.bus.publish(target, b"now")
            await (await listener.get(identity)).nack(delay=0)
            await (await listener.get(identity)).ack()

    async def test_D4_it_takes_no_handler_slot_meanwhile(self, env: Environment) -> None:
        handled: list[bytes] = []
        both = asyncio.Event()

        async def handler(delivery: Delivery) -> None:
            handled.append(delivery.body)
            if delivery.body == b"later" and handled.count(b"later") == 1:
                raise Retry(after=200)
            both.set()

        recorder = Recorder()
        options = ConsumerOptions(concurrency=1, prefetch=1)
        async with env.connect(hooks=[recorder]) as peer, env.work("tasks", handler, bus=peer.bus, options=options):
            await env.bus.publish("tasks", b"later")
            await env.until(lambda: bool(recorder.outcomes), "the first given back")
            await env.bus.publish("tasks", b"now")
            await env.within(both.wait())
            assert handled == [b"later", b"now"]
            await env.advance(201)
            await env.until(lambda: handled == [b"later", b"now", b"later"], "the first again")

    async def test_D4_delays_are_up_to_ten_minutes(self, env: Environment) -> None:
        jobs = await env.shared("jobs")
        identity = await env.bus.publish("jobs", b"")
        delivery = await jobs.get(identity)
        for delay in (-1, 601):
            with pytest.raises(ValueError, match="600"):
                await delivery.nack(delay=delay)
        await delivery.ack()

    async def test_D4_a_drain_may_end_the_delay_and_loses_nothing(self, env: Environment) -> None:
        for target, source in (("tasks", "tasks"), ("brief-serial", "brief-serial")):
            identity = await env.bus.publish(target, b"later")
            async with env.listen(source) as listener:
                await (await listener.get(identity)).nack(delay=20)
            async with env.listen(source) as listener:
                await env.fence(target, listener)
                row = "delay of an ordered nack" if env.binding.target(target).ordered else "delay of a nack"
                env.note(row, "held by the consumer" if listener.count(identity) else "kept by the backend")
                await env.advance(21)
                await (await listener.get(identity)).ack()

    async def _kept_or_refused(self, env: Environment, kind: Refusal) -> None:
        """A delay is kept, or asking for it is refused: by `check`, at connect, and at publish."""
        if kind in ORDERED and not env.rig.ordering:
            await refuses_order(env)
            return
        env.note(kind.value, "refused" if kind in env.rig.refuses else "yes")
        target, source = DELAYED[kind]
        if kind in env.rig.refuses:
            await self._refused(env, kind, target, source)
            return
        assert not env.rig.check(delayed_alone(kind))
        listener = await env.shared(source)
        identity = await env.bus.publish(target, b"delayed", delay=600)
        await env.advance(300)
        await env.fence(target, listener)
        assert listener.count(identity) == 0, "it came too early"
        await env.advance(301)
        await (await listener.get(identity)).ack()

    async def _refused(self, env: Environment, kind: Refusal, target: str, source: str) -> None:
        problems = env.rig.check(delayed_alone(kind))
        assert any(f"{target}.max_delay" in problem for problem in problems), problems
        group = "topics" if kind in (Refusal.TOPIC, Refusal.ORDERED_TOPIC) else "queues"
        ordered = kind in ORDERED
        name = next(name for name, each in getattr(env.binding, group).items() if each.ordered is ordered)
        with pytest.raises(UnsupportedFeature, match=rf"{name}.*max_delay"):
            async with env.connect(binding=_delaying(env.binding, group, name)):
                pass
        with pytest.raises(UnsupportedFeature, match=name):
            await env.within(env.bus.publish(name, b"", delay=600))


def _delaying(binding: Binding, group: str, name: str) -> Binding:
    entities = getattr(binding, group)
    delayed = msgspec.structs.replace(entities[name], max_delay=MAX_DELAY)
    return msgspec.structs.replace(binding, **{group: {**entities, name: delayed}})
