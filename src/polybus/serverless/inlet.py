"""Where a function's invocations reach a handler: one delivery in, one verdict out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any

from polybus.binding import Entity
from polybus.bus.consumer import Consumer, Handler
from polybus.bus.delivery import Delivery, State
from polybus.bus.options import ConsumerOptions
from polybus.bus.retry import backoff
from polybus.clock import Clock, wait_for
from polybus.driver import Ack, DeadLetter, Nack, Received, Settlement
from polybus.errors import BackendError, Fault, LeaseLost
from polybus.telemetry import Hooks, LeaseLostEvent, Outcome, Processing, Settled

__all__ = ["Bury", "Inlet", "Verdict"]

_log = logging.getLogger("polybus.serverless")

# Puts a delivery among the dead letters and ends it at its source; a Fault says why that failed.
Bury = Callable[[DeadLetter[Any]], Awaitable[Fault | None]]


class Verdict(Enum):
    """What becomes of a delivery."""

    DONE = "done"  # acked, or safe among the dead letters: it must not come again
    AGAIN = "again"  # failed or not handled: it must come again
    REFUSED = "refused"  # to be dead-lettered, which only the platform can do here


class Inlet(Consumer):
    """A consumer that is handed its deliveries; for one event loop."""

    def __init__(
        self,
        source: Entity,
        handler: Handler,
        options: ConsumerOptions,
        *,
        backend: str,
        clock: Clock,
        hooks: Hooks | None,
    ) -> None:
        super().__init__(_no_receiver, handler, options)
        self.source = source
        self.backend = backend
        self.clock = clock
        self.hooks = hooks
        self._slots = asyncio.Semaphore(options.concurrency)
        self._stopped = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._deliveries: set[Delivery] = set()

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return len(self._deliveries)

    async def run(self) -> None:
        """Return once it is drained."""
        await self._stopped.wait()

    async def drain(self, grace: float | None = None) -> None:
        """Take no more, and let handlers finish within `grace` seconds; then they are cancelled and come again."""
        self._drained.set()
        try:
            await wait_for(self.clock, self._idle.wait(), self._options.grace if grace is None else grace)
        except TimeoutError:
            for delivery in list(self._deliveries):
                delivery.cancel()
            await self._idle.wait()
        self._stopped.set()

    async def deliver(self, received: Received[Any], bury: Bury | None = None) -> Verdict:
        """Have one delivery handled, and return what becomes of it; never raises for what the handler does.

        `received.lease_until` is when the platform ends the invocation: what still runs then is cancelled, and comes
        again. `bury` dead-letters where that can be done from here; without it a dead letter is REFUSED.
        """
        if self.draining():
            return Verdict.AGAIN
        attempt = _Attempt(self, bury)
        delivery = Delivery(attempt, received, self.clock.monotonic())
        self._count(delivery, 1)
        timer = self.clock.call_later(received.lease_until - self.clock.monotonic(), lambda: attempt.expire(delivery))
        try:
            async with self._slots:
                if delivery.state is State.HELD and not self.draining():
                    await self._handle(attempt, delivery, asyncio.current_task())
        finally:
            timer.cancel()
            self._count(delivery, -1)
        if delivery.lost:
            attempt.tell_lost(delivery)
        return attempt.verdict

    def _count(self, delivery: Delivery, change: int) -> None:
        (self._deliveries.add if change > 0 else self._deliveries.discard)(delivery)
        if self.hooks is not None:
            self.hooks.in_flight(self.source, change)
        if self._deliveries:
            self._idle.clear()
        else:
            self._idle.set()


class _Attempt:
    """What one delivery is settled with; nothing is told to the backend, but for dead letters."""

    def __init__(self, inlet: Inlet, bury: Bury | None) -> None:
        self.source = inlet.source
        self.verdict = Verdict.AGAIN
        self._inlet = inlet
        self._bury = bury
        self._burying = False

    async def settle(self, delivery: Delivery, settlement: Settlement[Any]) -> None:
        if isinstance(settlement, Ack):
            self._done(delivery)
        elif isinstance(settlement, Nack):
            self._tell(delivery, "nack")
        elif self._bury is None:
            self.verdict = Verdict.REFUSED
            _log.warning("message %s of %r is refused: %s", delivery.id, delivery.source, settlement.reason)
            self._tell(delivery, "nack", reason=settlement.reason)
        else:
            self._burying = True
            fault = await self._bury(settlement)
            self._burying = False
            self._tell(delivery, "dead_letter", fault, settlement.reason)
            if fault is not None:
                raise BackendError(fault)
            self.verdict = Verdict.DONE

    def settle_soon(self, delivery: Delivery, settlement: Settlement[Any]) -> None:
        """Ack it: nothing else is settled without waiting."""
        self.check_lease(delivery)
        delivery.state = State.SETTLED
        self._done(delivery)

    def begun(self, delivery: Delivery) -> None:
        """Do nothing: the inlet counts what it has."""

    def ended(self, delivery: Delivery) -> None:
        """Do nothing, likewise."""

    async def retry(self, delivery: Delivery, delay: float) -> None:
        self._tell(delivery, "nack")

    def retry_delay(self, attempt: int) -> float:
        return backoff(self.source.backoff.initial, self.source.backoff.maximum, attempt)

    def check_lease(self, delivery: Delivery) -> None:
        if delivery.lost:
            raise LeaseLost(delivery.lost_text())

    def processing(self, delivery: Delivery) -> AbstractContextManager[None] | None:
        hooks = self._inlet.hooks
        if hooks is None:
            return None
        return hooks.processing(Processing(self._inlet.backend, self.source, delivery.message, delivery.attempt))

    def _tell(
        self, delivery: Delivery, outcome: Outcome, fault: Fault | None = None, reason: str | None = None
    ) -> None:
        if self._inlet.hooks is not None:
            duration = self._inlet.clock.monotonic() - delivery.received_at
            backend, message = self._inlet.backend, delivery.message
            self._inlet.hooks.settled(
                Settled(backend, self.source, message, delivery.attempt, outcome, duration, fault, reason)
            )

    def _done(self, delivery: Delivery) -> None:
        self.verdict = Verdict.DONE
        self._tell(delivery, "ack")

    def expire(self, delivery: Delivery) -> None:
        """End it with the invocation: what isn't settled by now, or still on its way to the dead letters, is lost."""
        if delivery.state is State.HELD or self._burying:
            delivery.state = State.LOST
        delivery.cancel()

    def tell_lost(self, delivery: Delivery) -> None:
        self.verdict = Verdict.AGAIN
        self._tell(delivery, "lease_lost")
        if self._inlet.hooks is not None:
            event = LeaseLostEvent(self._inlet.backend, self.source, delivery.message, delivery.attempt)
            self._inlet.hooks.lease_lost(event)


async def _no_receiver(stop: asyncio.Event) -> Any:
    raise AssertionError("an inlet receives nothing by itself")
