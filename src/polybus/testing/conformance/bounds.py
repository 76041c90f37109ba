"""P5, D12, D15 and D16: everything ends in time and says so, whatever the backend, the driver or the handler does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions, PublisherOptions
from polybus.errors import BackendError, Fault, FaultKind, LeaseLost, PolybusError
from polybus.message import Sent
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment, Peer, Recorder
from polybus.testing.faults import Operation
from polybus.testing.listener import Listener
from polybus.testing.topology import BACKOFF, MAX_ATTEMPTS, SHORT_LEASE

__all__ = ["Bounds"]

# A drain ends so many seconds after its grace, whatever hangs (contract, D12).
BEYOND = 10.0
GRACE = 20.0
DEADLINE = 60.0


class Bounds(Suite):
    """A driver that never answers, ends its calls cancelled, gives too few answers, or fails at telling why."""

    async def test_P5_a_publish_ends_by_its_deadline_though_nothing_answers(self, env: Environment) -> None:
        for operation in (Operation.PUBLISH, Operation.OPEN):
            async with env.connect(publisher=PublisherOptions(deadline=DEADLINE)) as peer:
                gate = peer.faults.hold(operation)
                sending = asyncio.create_task(peer.bus.publish("jobs", b"never answered"))
                await env.within(gate.reached.wait())
                await self._pass(env, DEADLINE + BEYOND, sending)
                fault = await env.refused(sending)
                assert fault.kind in (FaultKind.TIMEOUT, FaultKind.DEADLINE)

    async def test_P5_what_the_driver_does_wrong_is_an_outcome(self, env: Environment) -> None:
        for wrong in (_cancels, _exits, _falls_short, _garbles):
            async with env.connect(publisher=PublisherOptions(deadline=DEADLINE)) as peer:
                await env.within(peer.bus.publish("jobs", b"so that it is open"))
                wrong(peer, Operation.PUBLISH)
                sending = asyncio.create_task(peer.bus.publish_many("jobs", [b"wrong", b"too"], outcomes=True))
                await self._pass(env, DEADLINE + BEYOND, sending)
                outcomes = await env.within(sending)
                assert len(outcomes) == 2
                if wrong in (_cancels, _exits):  # as any error that isn't known: it passed, and was tried again
                    assert all(isinstance(each, Sent) for each in outcomes), outcomes
                peer.faults.heal()
                await env.within(peer.bus.publish("jobs", b"and it goes on"))

    async def test_D12_a_drain_ends_in_time_though_nothing_answers(self, env: Environment) -> None:
        """Settling, receiving, extending, stopping or closing: each hangs in its turn."""
        for operation in (Operation.SETTLE, Operation.RECEIVE, Operation.EXTEND, Operation.STOP, Operation.CLOSE):
            await self._hangs(env, operation)

    async def test_D12_a_drain_ends_in_time_though_a_handler_does_not(self, env: Environment) -> None:
        """It swallows its cancellation; what it had is given back under it."""
        handler = _Stubborn()
        async with env.connect() as peer:
            consumer = peer.bus.consumer("brief", handler, options=ConsumerOptions(grace=GRACE))
            running = asyncio.create_task(consumer.run())
            identity = await env.bus.publish("brief", b"stubborn")
            await env.within(handler.began.wait())
            draining = asyncio.create_task(consumer.drain())
            try:
                await self._pass(env, GRACE + BEYOND, draining)
                assert draining.done(), "the drain waits for a handler that doesn't end"
                assert peer.faults.calls[Operation.SETTLE] > 0, "what the handler had is not given back"
                # Where its answer took longer than the drain, whose clock was moved, had to wait for it. Nobody listens
                # yet: what a quick backend hands over as a listener opens would be held while its lease goes by.
                await env.advance(SHORT_LEASE + 1)
                async with env.listen("brief") as other:
                    await self._ack(env, other, identity)
            finally:
                handler.release.set()
            await env.hasten(asyncio.wait([running, draining]))

    async def test_D12_a_drain_ends_in_time_though_settlements_fail_and_extensions_work(self, env: Environment) -> None:
        handler = _Quick()
        async with env.connect() as peer:
            peer.faults.fail(Operation.SETTLE, Fault(FaultKind.UNAVAILABLE, "not now"), times=100_000)
            consumer = peer.bus.consumer("brief", handler, options=ConsumerOptions(grace=GRACE))
            running = asyncio.create_task(consumer.run())
            identity = await env.bus.publish("brief", b"unsettled")
            await env.until(lambda: peer.faults.calls[Operation.SETTLE] > 0, "a settlement")
            draining = asyncio.create_task(consumer.drain())
            await self._pass(env, GRACE + BEYOND, draining)
            assert draining.done(), "the drain waits for settlements that fail"
            await env.hasten(asyncio.wait([running]))
        await env.advance(SHORT_LEASE + 1)
        async with env.listen("brief") as other:
            await (await other.get(identity)).ack()

    async def test_D16_a_receive_that_goes_wrong_is_tried_again(self, env: Environment) -> None:
        for wrong in (_cancels, _garbles):
            handler = _Quick()
            async with env.connect() as peer:
                wrong(peer, Operation.RECEIVE)
                async with env.work("tasks", handler, bus=peer.bus) as worker:
                    identity = await env.bus.publish("tasks", b"still there")
                    await self._called(env, peer, Operation.RECEIVE)
                    peer.faults.heal()
                    await env.hasten(handler.has(identity))
                    assert not worker.running.done(), f"{wrong.__name__}: the consumer ended"

    async def test_D16_a_consumer_that_can_not_go_on_raises(self, env: Environment) -> None:
        async with env.connect() as peer:
            peer.faults.cut(Operation.RECEIVE, Fault(FaultKind.DENIED, "no right to receive"))
            consumer = peer.bus.consumer("tasks", _Quick())
            with pytest.raises(BackendError, match="no right to receive"):
                await env.hasten(consumer.run())

    async def test_D3_a_settlement_that_goes_wrong_is_told_or_sent_again(self, env: Environment) -> None:
        """It never hangs, and never says "done" of what isn't."""
        for wrong in (_cancels, _exits, _falls_short, _garbles):
            identity = await env.bus.publish("brief", b"unsure")
            async with env.connect() as peer, env.listen("brief", bus=peer.bus) as listener:
                delivery = await listener.get(identity)
                wrong(peer, Operation.SETTLE)
                acking = asyncio.create_task(delivery.ack())
                await self._pass(env, 3 * SHORT_LEASE, acking)
                assert acking.done(), f"{wrong.__name__}: an ack hangs"
                failed = acking.exception()
                assert failed is None or isinstance(failed, PolybusError), repr(failed)
                acked = any(each.received.message.id == identity for each in peer.faults.settled)
                assert failed is not None or acked, f"{wrong.__name__}: it says that it is acked"
                peer.faults.heal()
                if not acked and wrong is not _falls_short:
                    await env.advance(SHORT_LEASE + 1)
                    await self._ack(env, listener, identity)

    async def test_D2_an_extension_that_goes_wrong_loses_no_lease_in_silence(self, env: Environment) -> None:
        for wrong in (_cancels, _exits, _falls_short, _garbles, _hangs):
            recorder = Recorder()
            identity = await env.bus.publish("brief", b"held")
            async with env.connect(hooks=[recorder]) as peer, env.listen("brief", bus=peer.bus) as listener:
                delivery = await listener.get(identity)
                wrong(peer, Operation.EXTEND)
                for _ in range(8):
                    await env.advance(SHORT_LEASE / 4)
                    await asyncio.sleep(0.01)
                assert delivery.lost or env.clock.monotonic() < delivery.lease_until, f"{wrong.__name__}: unnoticed"
                if delivery.lost:
                    assert identity in recorder.lost, f"{wrong.__name__}: nobody was told"
                    with pytest.raises(LeaseLost):
                        await delivery.ack()
                    peer.faults.heal()
                    await self._ack(env, listener, identity)
                else:
                    await delivery.ack()

    async def test_D2_an_extension_that_goes_wrong_once_costs_no_lease(self, env: Environment) -> None:
        for wrong in (_cancels, _exits, _falls_short):
            identity = await env.bus.publish("brief", b"kept")
            async with env.connect() as peer, env.listen("brief", bus=peer.bus) as listener:
                delivery = await listener.get(identity)
                wrong(peer, Operation.EXTEND)
                await env.advance(SHORT_LEASE / 2)
                await self._called(env, peer, Operation.EXTEND)
                await env.extended_again(peer.faults, SHORT_LEASE)
                assert not delivery.lost, f"{wrong.__name__}: it was not tried again"
                await delivery.ack()

    async def test_D15_what_a_handler_raises_is_its_own_failure_even_a_cancellation(self, env: Environment) -> None:
        for error in (asyncio.CancelledError, _Odd):
            for source in ("tasks", "brief-serial"):
                handler, recorder = _Raises(error), Recorder()
                async with env.connect(hooks=[recorder]) as peer, env.work(source, handler, bus=peer.bus) as worker:
                    identity = await env.bus.publish(source, b"fails once")
                    await env.hasten(handler.has(identity))
                    await self._acked(env, recorder, identity)
                    assert not worker.running.done(), f"{error.__name__} ended the consumer"
                    beside = await env.bus.publish(source, b"another")
                    await env.hasten(handler.has(beside))
                assert handler.attempts[:2] == [1, 2], f"{error.__name__}: {handler.attempts}"

    async def test_D15_who_always_ends_cancelled_ends_in_a_dead_letter(self, env: Environment) -> None:
        """Each was an attempt, with the backoff of a failure: not given back, to come again at once and for ever."""
        handler, recorder = _Raises(asyncio.CancelledError, times=100), Recorder()
        async with env.connect(hooks=[recorder]) as peer, env.work("tasks", handler, bus=peer.bus):
            identity = await env.bus.publish("tasks", b"always")
            for attempt in range(1, MAX_ATTEMPTS + 1):
                await self._settled(env, recorder, attempt)
                await env.advance(BACKOFF.maximum + 1)
            letter = await env.letter("tasks", identity)
        assert letter.reason == "CancelledError"
        assert handler.attempts == list(range(1, MAX_ATTEMPTS + 1))

    async def _hangs(self, env: Environment, operation: Operation) -> None:
        """A drain beside one operation that never ends: over in time, and what wasn't settled comes again."""
        handler = _Quick()
        async with env.connect() as peer:
            consumer = peer.bus.consumer("brief", handler, options=ConsumerOptions(grace=GRACE))
            running = asyncio.create_task(consumer.run())
            gate = peer.faults.hold(operation, after=operation is Operation.RECEIVE)
            identity = await env.bus.publish("brief", b"hangs")
            await env.within(gate.reached.wait() if operation is Operation.RECEIVE else handler.has(identity))
            draining = asyncio.create_task(consumer.drain())
            await self._pass(env, GRACE + BEYOND, draining)
            assert draining.done(), f"the drain waits for {operation.value}"
            gate.open()
            await env.hasten(asyncio.wait([running, draining]))
            settled = any(each.received.message.id == identity for each in peer.faults.settled)
        if not settled:
            await env.advance(SHORT_LEASE + 1)
            async with env.listen("brief") as other:
                await self._ack(env, other, identity)

    async def _pass(self, env: Environment, seconds: float, task: asyncio.Task[Any]) -> None:
        """Let up to so many seconds pass, in steps in which the loop goes on, until a task is done."""
        end = env.clock.monotonic() + seconds
        while not task.done() and (left := end - env.clock.monotonic()) > 0:
            await env.advance(min(left, 2.0))
            await asyncio.wait([task], timeout=0.01)
        if not task.done():
            # The last timers have run. What they set going is quick, but a busy machine may take a while to get to it.
            await asyncio.wait([task], timeout=env.rig.patience / 2)

    async def _ack(self, env: Environment, listener: Listener, identity: str) -> None:
        """Ack a message whose lease may be lost once more meanwhile."""
        while True:
            with contextlib.suppress(LeaseLost):
                await (await env.hasten(listener.get(identity))).ack()
                return

    async def _called(self, env: Environment, peer: Peer, operation: Operation) -> None:
        await env.until(lambda: peer.faults.calls[operation] > 0, f"a call of {operation.value}")

    async def _settled(self, env: Environment, recorder: Recorder, count: int) -> None:
        await env.until(lambda: len(recorder.outcomes) >= count, f"{count} settled")

    async def _acked(self, env: Environment, recorder: Recorder, identity: str) -> None:
        await env.until(lambda: (identity, "ack") in recorder.outcomes, "an ack")


class _Quick:
    """A handler that notes what it got."""

    def __init__(self) -> None:
        self.handled: list[str] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.handled.append(delivery.id)

    async def has(self, identity: str) -> None:
        """Wait until it handled this message."""
        while identity not in self.handled:  # noqa: ASYNC110 - a handler that only notes sets no event
            await asyncio.sleep(0.002)


class _Raises(_Quick):
    """A handler that raises at its first deliveries."""

    def __init__(self, error: type[BaseException], times: int = 1) -> None:
        super().__init__()
        self.attempts: list[int] = []
        self._error = error
        self._times = times

    async def __call__(self, delivery: Delivery) -> None:
        self.attempts.append(delivery.attempt)
        if len(self.attempts) <= self._times:
            raise self._error
        await super().__call__(delivery)


class _Stubborn:
    """A handler that swallows its cancellation."""

    def __init__(self) -> None:
        self.began, self.release = asyncio.Event(), asyncio.Event()

    async def __call__(self, delivery: Delivery) -> None:
        self.began.set()
        while not self.release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.release.wait()


class _Odd(BaseException):
    """An error of some library that isn't an Exception."""


def _cancels(peer: Peer, operation: Operation) -> None:
    peer.faults.throw(operation, asyncio.CancelledError)


def _exits(peer: Peer, operation: Operation) -> None:
    peer.faults.throw(operation, _Odd)


def _falls_short(peer: Peer, operation: Operation) -> None:
    peer.faults.shorten(operation)


def _garbles(peer: Peer, operation: Operation) -> None:
    peer.faults.throw(operation, lambda: ValueError("boom"), times=100_000)
    peer.faults.garbled = True


def _hangs(peer: Peer, operation: Operation) -> None:
    peer.faults.hold(operation)
