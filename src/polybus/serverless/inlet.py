"""Where a function's invocations reach a handler: one delivery in, one verdict out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any

from polybus.binding import Entity
from polybus.bus.calls import ended, look_at
from polybus.bus.consumer import Consumer, Handler, log_unexpected_end
from polybus.bus.delivery import Delivery
from polybus.bus.held import HeldDelivery, State
from polybus.bus.options import ConsumerOptions
from polybus.bus.outage import lasted
from polybus.bus.retry import backoff
from polybus.clock import Clock
from polybus.driver import Ack, Nack, Received, Settlement, ToDeadLetters
from polybus.durations import Duration, seconds
from polybus.errors import BackendError, Fault, FaultKind, LeaseLost, exit_in, signal_in
from polybus.telemetry import Hooks, LeaseLostEvent, Outcome, Processing, Settled

__all__ = ["Bury", "Inlet", "Verdict"]

_log = logging.getLogger("polybus.serverless")

# Puts a delivery among the dead letters and ends it at its source; a Fault says why that failed.
Bury = Callable[[ToDeadLetters[Any]], Awaitable[Fault | None]]

# Seconds that a handler has to end once it was cancelled: the invocation's own end is near, and what it did by then has
# to get out.
LAST_STEPS = 0.5


class Verdict(Enum):
    """What becomes of a delivery."""

    DONE = "done"  # acked, or safe among the dead letters: it must not come again
    AGAIN = "again"  # failed or not handled: it must come again
    REFUSED = "refused"  # to be dead-lettered, which only the platform can do here


class Inlet(Consumer):
    """A consumer that is handed its deliveries; for one event loop."""

    _receives = False

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
        self._attempts: set[_Attempt] = set()
        # An invocation brings all that there is: whoever gathers deliveries needs to wait for no others.
        take_at_once: Callable[[], int] | None = getattr(handler, "take_at_once", None)
        self.takes = None if take_at_once is None else take_at_once()
        """How many messages a call of the handler takes; None where it takes them one by one."""

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return len(self._attempts)

    @property
    def problem(self) -> str | None:
        """Nothing is received from here: what hands deliveries over is the platform's."""
        return None

    async def run(self) -> None:
        """Return once it is drained."""
        await self._stopped.wait()

    async def drain(self, grace: Duration | None = None) -> None:
        """Take no more, and let handlers finish within `grace`; then they are cancelled and come again."""
        time = self._options.grace if grace is None else seconds(grace, "grace")
        self._drained.set()
        idle = asyncio.get_running_loop().create_task(self._idle.wait())
        try:
            if not await ended(self.clock, idle, time):
                for attempt in list(self._attempts):
                    attempt.cancel()
                await ended(self.clock, idle, 2 * LAST_STEPS)
        finally:
            idle.cancel()
        self._stopped.set()

    async def deliver(self, received: Received[Any], bury: Bury | None = None) -> Verdict:
        """Have one delivery handled, and return what becomes of it; never raises for what the handler does.

        `received.lease_until` is when the platform ends the invocation: what still runs then is cancelled, and comes
        again; what begins only after it is not handled. `bury` dead-letters where that can be done from here; without
        it a dead letter is REFUSED. KeyboardInterrupt and SystemExit of a handler are raised, and end the process.
        """
        if self._drained.is_set():
            return Verdict.AGAIN
        attempt = _Attempt(self, received, bury)
        self._count(attempt, 1)
        timer = self.clock.call_later(received.lease_until - self.clock.monotonic(), attempt.expire)
        try:
            async with self._slots:
                if attempt.may_begin() and not self._drained.is_set():
                    await attempt.run(self._handler)
        finally:
            timer.cancel()
            self._count(attempt, -1)
        if attempt.delivery.lost:
            attempt.tell_lost()
        return attempt.verdict

    def _count(self, attempt: _Attempt, change: int) -> None:
        (self._attempts.add if change > 0 else self._attempts.discard)(attempt)
        if self.hooks is not None:
            self.hooks.in_flight(self.source, change)
        if self._attempts:
            self._idle.clear()
        else:
            self._idle.set()


class _Attempt:
    """What one delivery is settled with; nothing is told to the backend, but for dead letters."""

    def __init__(self, inlet: Inlet, received: Received[Any], bury: Bury | None) -> None:
        self.source = inlet.source
        self.verdict = Verdict.AGAIN
        self.delivery = HeldDelivery(self, received, inlet.clock.monotonic())
        self._inlet = inlet
        self._bury = bury
        self._burying: asyncio.Task[Fault | None] | None = None
        self._cut = asyncio.Event()

    def may_begin(self) -> bool:
        """Say whether it is still time to begin."""
        if self.delivery.state is State.HELD and self._inlet.clock.monotonic() >= self.delivery.lease_until:
            self.expire()
        return self.delivery.state is State.HELD

    async def run(self, handler: Handler) -> None:
        """Have it handled, in a task and a context of its own, and settle it by what the handler ended with."""
        ends: list[BaseException | None] = []
        task = asyncio.get_running_loop().create_task(self._handle(handler, ends))
        cut = asyncio.get_running_loop().create_task(self._cut.wait())
        try:
            await asyncio.wait([task, cut], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self._leave(task)
                return
            if not ends:  # cancelled before its first step
                return
            await self._conclude(ends[0])
        except asyncio.CancelledError:  # the invocation's own
            self.cancel()
            if not task.done():
                await ended(self._inlet.clock, task, LAST_STEPS)
            await self.delivery.release()
            raise
        finally:
            cut.cancel()
            if task.done():
                look_at(task)

    async def _handle(self, handler: Handler, ends: list[BaseException | None]) -> None:
        error: BaseException | None = None
        task = asyncio.current_task()
        self.delivery.begin(task)
        try:
            await handler(Delivery(self.delivery))
        except BaseException as raised:  # whatever a handler raises is a failed attempt
            if task is None or asyncio.current_task(task.get_loop()) is not task:
                raise  # it is closed together with its loop: nothing can be told any more
            error = raised
        if error is None and not self.delivery.settled:
            with contextlib.suppress(LeaseLost):  # told, and logged, as `deliver` ends
                self.settle_soon(self.delivery, Ack(self.delivery.received))
        ends.append(error)
        self.delivery.end(error)

    async def _conclude(self, error: BaseException | None) -> None:
        fatal = None if error is None else exit_in(error)
        try:
            if error is None:
                return
            if fatal is not None or (self.delivery.cancelled and signal_in(error) is None):
                await self.delivery.release()
            else:
                log_unexpected_end(self.delivery, error)
                await self.delivery.fail(error)
        except LeaseLost:
            return  # told, and logged, as `deliver` ends
        except BackendError as refused:
            _log.error("message %s of %r could not be settled: %s", self.delivery.id, self.source.name, refused)
        if fatal is not None:
            raise fatal

    def _leave(self, task: asyncio.Task[None]) -> None:
        _log.warning(
            "message %s of %r, attempt %d: its handler goes on though it was cancelled, and is waited for no longer",
            self.delivery.id,
            self.source.name,
            self.delivery.attempt,
        )
        if self.delivery.state is State.HELD:
            self.delivery.state = State.LOST
        task.add_done_callback(look_at)

    def cancel(self) -> None:
        """Cancel what goes on for it, and wait for that only a little longer."""
        if self._burying is not None:
            self._burying.cancel()
        self.delivery.cancel()
        self._inlet.clock.call_later(LAST_STEPS, self._cut.set)

    async def settle(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None:
        if isinstance(settlement, Ack):
            self._done(delivery)
        elif isinstance(settlement, Nack):
            self._tell(delivery, "nack")
        elif self._bury is None:
            self.verdict = Verdict.REFUSED
            _log.warning("message %s of %r is refused: %s", delivery.id, delivery.source, settlement.reason)
            self._tell(delivery, "nack", reason=settlement.reason)
        else:
            fault = await self._buried(settlement, self._bury)
            if delivery.lost:
                raise LeaseLost(delivery.lost_text())
            self._tell(delivery, "dead_letter", fault, settlement.reason)
            if fault is not None:
                raise BackendError(fault)
            self.verdict = Verdict.DONE

    def settle_soon(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None:
        """Ack it: nothing else is settled without waiting."""
        self.check_lease(delivery)
        delivery.state = State.SETTLED
        self._done(delivery)

    async def _buried(self, letter: ToDeadLetters[Any], bury: Bury) -> Fault | None:
        """Dead-letter it in a task of its own, which the end of the invocation's time cuts off."""

        async def call() -> Fault | None:
            return await bury(letter)

        burying = self._burying = asyncio.get_running_loop().create_task(call())
        try:
            await asyncio.wait([burying])
        finally:
            self._burying = None
        if burying.cancelled():
            return Fault(FaultKind.TIMEOUT, "the dead letter was cut off; it may have been done")
        error = burying.exception()
        if error is None:
            return burying.result()
        return Fault(FaultKind.INTERNAL, f"dead-lettering raised {type(error).__qualname__}: {error}")

    async def retry(self, delivery: HeldDelivery, delay: float) -> None:
        self._tell(delivery, "nack")

    def retry_soon(self, delivery: HeldDelivery, delay: float) -> None:
        self._tell(delivery, "nack")

    def retry_delay(self, attempt: int) -> float:
        return backoff(self.source.backoff.initial, self.source.backoff.maximum, attempt)

    def check_lease(self, delivery: HeldDelivery) -> None:
        if delivery.lost:
            raise LeaseLost(delivery.lost_text())

    def processing(self, delivery: HeldDelivery) -> AbstractContextManager[None] | None:
        hooks = self._inlet.hooks
        if hooks is None:
            return None
        return hooks.processing(Processing(self._inlet.backend, self.source, delivery.message, delivery.attempt))

    def _tell(
        self, delivery: HeldDelivery, outcome: Outcome, fault: Fault | None = None, reason: str | None = None
    ) -> None:
        if self._inlet.hooks is not None:
            duration = self._inlet.clock.monotonic() - delivery.received_at
            backend, message = self._inlet.backend, delivery.message
            self._inlet.hooks.settled(
                Settled(backend, self.source, message, delivery.attempt, outcome, duration, fault, reason)
            )

    def _done(self, delivery: HeldDelivery) -> None:
        self.verdict = Verdict.DONE
        self._tell(delivery, "ack")

    def expire(self) -> None:
        """End it with the invocation: what isn't settled by now, or still on its way to the dead letters, is lost."""
        if self.delivery.state is State.HELD or self._burying is not None:
            self.delivery.state = State.LOST
            held = lasted(self._inlet.clock.monotonic() - self.delivery.received_at)
            _log.warning(
                "message %s of %r, attempt %d: the invocation's time was over after %s; it comes again",
                self.delivery.id,
                self.source.name,
                self.delivery.attempt,
                held,
            )
        self.cancel()

    def tell_lost(self) -> None:
        self.verdict = Verdict.AGAIN
        self._tell(self.delivery, "lease_lost")
        if self._inlet.hooks is not None:
            event = LeaseLostEvent(self._inlet.backend, self.source, self.delivery.message, self.delivery.attempt)
            self._inlet.hooks.lease_lost(event)


async def _no_receiver(stop: asyncio.Event) -> Any:
    raise AssertionError("an inlet receives nothing by itself")
