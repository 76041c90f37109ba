"""D2, D9 and D12 where time passes unseen: a loop that stands still, a process that is paused, an answer that is late.

The commonest fault of all in production: a lease is over, and nobody here has noticed yet.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions
from polybus.driver import Ack
from polybus.feature import Feature
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment, Recorder
from polybus.testing.faults import Operation
from polybus.testing.topology import SHORT_LEASE

__all__ = ["Pauses"]

SOURCES = ("brief", "brief-serial")
PAUSE = 1.5 * SHORT_LEASE


class _Handler:
    """Notes each start, whether its lease was over by then, and each end; in the first it calls `pause`, or waits."""

    def __init__(self, env: Environment) -> None:
        self.began: list[Delivery] = []
        self.over: list[bytes] = []
        self.ended = Counter[str]()
        self.paused = asyncio.Event()
        self.pause: Callable[[], None] = lambda: None
        self.waits = False
        self._env = env

    async def __call__(self, delivery: Delivery) -> None:
        self.began.append(delivery)
        if self._env.clock.monotonic() >= delivery.lease_until:
            self.over.append(delivery.body)
        if len(self.began) == 1:
            self.pause()
        if len(self.began) == 1 and self.waits:
            self.paused.set()
            await asyncio.Event().wait()
        self.ended[delivery.id] += 1

    async def reached(self, *identities: str, times: int = 1) -> None:
        """Wait until these were handled; a receive under way in the pause may have leased one that it can't hand out,
        so time goes on meanwhile."""

        async def handled() -> None:
            while not all(self.ended[identity] >= times for identity in identities):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.002)

        await self._env.hasten(handled())


class Pauses(Suite):
    """What was held while time passed unseen isn't handled, isn't settled, and comes again."""

    async def test_D2_what_was_prefetched_while_the_loop_stood_still_is_not_handled_any_more(
        self, env: Environment
    ) -> None:
        for source in SOURCES:
            await self._stands_still(env, source, 4)

    async def test_D2_an_ack_of_a_lease_that_is_over_is_not_sent_though_nobody_noticed(self, env: Environment) -> None:
        """The handler itself stood still: when it ends, no timer has run yet that could have told."""
        for source in SOURCES:
            await self._stands_still(env, source, 1)

    async def test_D2_an_iteration_that_stood_still_gives_out_nothing_that_is_over(self, env: Environment) -> None:
        for source in SOURCES:
            await self._iterates(env, source)

    async def test_D9_what_another_has_done_meanwhile_is_not_handled_again(self, env: Environment) -> None:
        """The first is paused with messages in hand; the second handles them; the first goes on."""
        for source in SOURCES:
            await self._is_paused(env, source)

    async def test_D2_an_answer_that_comes_late_brings_nothing_that_is_over(self, env: Environment) -> None:
        """The lease of what a receive brings counts from before the call: 1.5 leases later it is another's."""
        for source in SOURCES:
            await self._answers_late(env, source)

    async def _stands_still(self, env: Environment, source: str, count: int) -> None:
        handler, recorder = _Handler(env), Recorder()
        handler.pause = lambda: env.stand_still(PAUSE)
        key = env.name("key") if env.binding.target(source).ordered else None
        ids = [await env.bus.publish(source, b"%d" % number, ordering_key=key) for number in range(count)]
        options = ConsumerOptions(concurrency=1, prefetch=max(count, 2))
        async with env.connect(hooks=[recorder]) as peer:
            async with env.work(source, handler, bus=peer.bus, options=options) as worker:
                await handler.reached(ids[0], times=2)
                await handler.reached(*ids)
                assert not worker.running.done(), "the consumer ended with it"
            settled = Counter(each.received.message.id for each in peer.faults.settled if each.received.attempt)
            first = [each.received.attempt for each in peer.faults.settled if each.received.message.id == ids[0]]
            asked = [each.received.attempt for each in peer.faults.asked if each.received.message.id == ids[0]]
        assert not handler.over, f"{source}: handled though the lease was over: {handler.over}"
        assert ids[0] in recorder.lost, f"{source}: of the lost lease nobody was told"
        assert len(first) == 1, f"{source}: settled more than once"
        assert min(asked) >= 2, f"{source}: something was sent for a lease that was over"
        assert all(settled[identity] == 1 for identity in ids)
        marks = [each.redelivered for each in handler.began if each.id == ids[0]]
        assert marks[-1], f"{source}: what came again isn't marked"
        # Where a group has one lease, an earlier owner of it may have had what was there before: that is marked, too.
        assert not marks[0] or Feature.GROUP_LEASE in env.bus.features(source)

    async def _iterates(self, env: Environment, source: str) -> None:
        ids = [await env.bus.publish(source, b"%d" % number) for number in range(3)]
        wanted, over = set(ids), []
        async with env.connect() as peer:
            consumption = peer.bus.consume(source, concurrency=1, prefetch=3)
            async with consumption as deliveries:
                await env.until(lambda: bool(peer.faults.in_hand), "one in hand")
                env.stand_still(PAUSE)
                while wanted:
                    delivery = await env.hasten(anext(deliveries))
                    if env.clock.monotonic() >= delivery.lease_until:
                        over.append(delivery.body)
                    await delivery.ack()
                    wanted.discard(delivery.id)
                await env.hasten(consumption.drain())
        assert not over, f"{source}: given out though the lease was over: {over}"

    async def _is_paused(self, env: Environment, source: str) -> None:
        ids = [await env.bus.publish(source, b"%d" % number) for number in range(3)]
        handler = _Handler(env)
        handler.waits = True
        options = ConsumerOptions(concurrency=1, prefetch=3)
        async with env.connect() as peer, env.work(source, handler, bus=peer.bus, options=options):
            await env.within(handler.paused.wait())
            extending, receiving = peer.faults.hold(Operation.EXTEND), peer.faults.hold(Operation.RECEIVE)
            await env.advance(PAUSE)
            done = await self._done_by_another(env, source, ids)
            extending.open()
            receiving.open()
            handler.waits = False
            await handler.reached(*(identity for identity in ids if identity not in done))
        assert not handler.over, f"{source}: handled though the lease was over: {handler.over}"
        again = [each.id for each in handler.began[1:] if each.id in done]
        assert not again, f"{source}: handled after another's ack"

    async def _done_by_another(self, env: Environment, source: str, ids: Sequence[str]) -> set[str]:
        """Return what another consumer got in a moment and acked; as it is left, it acks what still comes."""
        async with env.listen(source):
            await env.hasten(asyncio.sleep(0.1))  # a driver that streams may still have taken some for the first
        return {each.received.message.id for each in env.faults.settled if isinstance(each, Ack)} & {*ids}

    async def _answers_late(self, env: Environment, source: str) -> None:
        handler = _Handler(env)
        async with env.connect() as peer:
            gate = peer.faults.hold(Operation.RECEIVE, after=True)
            async with env.work(source, handler, bus=peer.bus):
                ids = [await env.bus.publish(source, b"%d" % number) for number in range(2)]
                await env.within(gate.reached.wait())
                await env.advance(PAUSE)
                done = await self._done_by_another(env, source, ids)
                gate.open()
                await handler.reached(*(identity for identity in ids if identity not in done))
        assert not handler.over, f"{source}: handled though the lease was over: {handler.over}"
        assert not {each.id for each in handler.began} & done, f"{source}: handled after another's ack"
