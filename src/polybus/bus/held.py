"""A delivery that is held: its lease, its handler, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import Any, Final, Protocol

from polybus.binding import Entity
from polybus.bus import hook_context
from polybus.bus.texts import reason_of, shorten
from polybus.bus.verdict import Failed, only_signals, read
from polybus.clock import Timer
from polybus.driver import Ack, Nack, Received, Settlement, ToDeadLetters
from polybus.durations import Duration, seconds
from polybus.errors import BackendError, LeaseLost, exit_in, signal_in
from polybus.message import Message

__all__ = ["HELD", "LOST", "SETTLED", "HeldDelivery", "Owner", "State"]


class State(IntEnum):
    HELD = 0  # received; with a handler, or waiting for one
    SETTLED = 1  # the handler has decided; the backend knows, or is about to be told
    LOST = 2  # no longer this consumer's


# Each message is looked at several times: a name takes a tenth of what the member of an Enum does (CPython 3.11).
HELD: Final = State.HELD
SETTLED: Final = State.SETTLED
LOST: Final = State.LOST


class Owner(Protocol):
    """What a delivery needs of the receiver that it came from."""

    source: Entity

    async def settle(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None: ...

    def settle_soon(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None: ...

    async def retry(self, delivery: HeldDelivery, delay: float) -> None: ...

    def retry_soon(self, delivery: HeldDelivery, delay: float) -> None: ...

    def retry_delay(self, attempt: int) -> float: ...

    def check_lease(self, delivery: HeldDelivery) -> None: ...

    @property
    def processing(self) -> Callable[[HeldDelivery], AbstractContextManager[None] | None] | None:
        """Returns what hooks want around a handler; None where there are no hooks."""


class HeldDelivery:
    """All that is known of one delivery, from its receipt until it is settled or lost; for its receiver's event loop.

    What a handler sees of it is a `Delivery`. Settling raises LeaseLost where the lease is over, and BackendError where
    the backend refused; doing it again does nothing.
    """

    __slots__ = (
        "_cancelling",
        "_context",
        "_depth",
        "_owner",
        "_task",
        "attempt",
        "begun",
        "cancelled",
        "extension",
        "given_back",
        "group",
        "handled_since",
        "lease_until",
        "message",
        "received",
        "received_at",
        "redelivered",
        "renew_at",
        "reported",
        "retries",
        "retry",
        "settling",
        "state",
    )

    def __init__(self, owner: Owner, received: Received[Any], received_at: float, retries: int = 0) -> None:
        self._owner = owner
        self._task: asyncio.Task[Any] | None = None
        self._context: AbstractContextManager[None] | None = None
        self._depth = 0
        self._cancelling = 0
        self.given_back: bool
        """Whether it was asked to come again or to be a dead letter; not set before, for that it takes no time."""
        self.received = received
        self.message: Message = received.message
        self.attempt = received.attempt + retries
        self.retries = retries
        self.redelivered = received.redelivered or self.attempt > 1
        self.received_at = received_at
        self.lease_until = received.lease_until
        self.renew_at = (received_at + received.lease_until) / 2
        self.state = HELD
        # Its group, where it has an ordering key; the number of the latest extension of its lease that was asked for.
        self.group: Any = None
        self.extension = 0
        # Whether a handler ever began with it; since when a consumer's handler has it; whether `cancel` cancelled it.
        self.begun = False
        self.handled_since: float | None = None
        self.cancelled = False
        # Whether the backend is being told; the retry that it waits for here; whether hooks know how it ended.
        self.settling = False
        self.retry: Timer | None = None
        self.reported = False

    @property
    def source(self) -> str:
        """The subscription or queue that it came from."""
        return self._owner.source.name

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def lost(self) -> bool:
        """Whether its lease ended before it was settled."""
        return self.state is LOST

    @property
    def settled(self) -> bool:
        """Whether the handler has decided."""
        return self.state is SETTLED

    async def ack(self) -> None:
        """Say that it is done with; returns once the backend knows."""
        if self.state is not SETTLED:
            await self._settle(Ack(self.received))

    async def nack(self, *, delay: Duration | None = None) -> None:
        """Give it back after a failed attempt; after the last it goes to the dead letters instead."""
        wait = None if delay is None else seconds(delay, "delay")
        if wait is not None and not 0 <= wait <= 600:
            raise ValueError(f"delay={delay!r}: 0 to 600 seconds (contract, D4)")
        self.given_back = True
        if self.state is not SETTLED:
            await self._fail(Failed("MaxAttempts", f"given back {self.attempt} times", wait))

    async def dead_letter(self, reason: str, description: str = "") -> None:
        """Put it among the dead letters; returns once it is there."""
        self.given_back = True
        if self.state is not SETTLED:
            await self._settle(self._letter(reason, description))

    async def give_back(self) -> None:
        """Let someone else have it at once; not a failed attempt, so never a dead letter."""
        if self.state is HELD:
            await self._settle(self.returned(self.attempt - 1))

    async def put_off(self, delay: float) -> None:
        """Give it back for `delay` seconds, though nothing failed; over 0 only with Feature.NACK_DELAY."""
        if self.state is HELD:
            await self._settle(Nack(self.received, delay, self.received.attempt - 1))

    async def release(self) -> None:
        """Give it back because its handler was cancelled; what fails then is logged by the receiver, not raised.

        An error here would take the place of the cancellation, and whoever asked for that would wait for ever.
        """
        with contextlib.suppress(LeaseLost, BackendError):
            if self.state is HELD:
                await self._settle(self.returned())

    def release_soon(self) -> None:
        """Give it back because its handler was cancelled, without waiting."""
        if self.state is HELD:
            with contextlib.suppress(LeaseLost):
                self._owner.settle_soon(self, self.returned())

    def returned(self, attempts: int | None = None) -> Nack[Any]:
        """Return what gives it back, with the attempts that were made of it: those a handler began (contract, D5)."""
        if attempts is None:
            attempts = self.attempt if self.begun else self.attempt - 1
        return Nack(self.received, attempts=None if attempts == self.received.attempt else attempts)

    async def fail(self, error: BaseException) -> None:
        """Settle it as a handler's error asks: Retry, DeadLetter, or a failed attempt."""
        if self.state is not SETTLED:
            await self._fail(read(error))

    def fail_soon(self, error: BaseException) -> None:
        """Settle it as a handler's error asks, without waiting; raises LeaseLost."""
        if self.state is SETTLED:
            return
        failed = read(error)
        if self._is_last(failed):
            self._owner.settle_soon(self, self._letter(failed.reason, failed.description))
            return
        self._owner.check_lease(self)
        self.state = SETTLED
        self._owner.retry_soon(self, self._wait(failed))

    async def _fail(self, failed: Failed) -> None:
        if self._is_last(failed):
            await self.dead_letter(failed.reason, failed.description)
            return
        self._owner.check_lease(self)
        self.state = SETTLED
        await self._owner.retry(self, self._wait(failed))

    def is_last_attempt(self) -> bool:
        """Whether it goes to the dead letters where this attempt fails."""
        return self.attempt >= self._owner.source.max_attempts

    def _is_last(self, failed: Failed) -> bool:
        return failed.dead or self.is_last_attempt()

    def _wait(self, failed: Failed) -> float:
        return self._owner.retry_delay(self.attempt) if failed.delay is None else failed.delay

    def _letter(self, reason: object, description: object) -> ToDeadLetters[Any]:
        return ToDeadLetters(self.received, reason_of(reason), shorten(description))

    async def _settle(self, settlement: Settlement[Any]) -> None:
        self._owner.check_lease(self)
        self.state = SETTLED
        await self._owner.settle(self, settlement)

    # As a context manager --------------------------------------------------------------------------------------------

    def begin(self, task: asyncio.Task[Any] | None = None) -> None:
        """Note the task that handles it, this one where None: a lost lease cancels it, and a drain waits for it.

        Within a handler it is begun already: the block is part of that.
        """
        self._depth += 1
        if self._depth > 1:
            return
        task = task or asyncio.current_task()
        self.begun = True
        self._task = task
        self._cancelling = 0 if task is None else task.cancelling()
        processing = self._owner.processing
        if processing is not None and (context := processing(self)) is not None:
            self._context = context
            context.__enter__()

    def end(self, error: BaseException | None = None) -> None:
        """Note that its handler is done, and with what error."""
        if self.cancelled and not isinstance(error, asyncio.CancelledError):
            self.absorb_cancel()  # the handler made something else of it: what its task does next isn't cancelled
        self._depth -= 1
        if self._depth > 0:
            return
        context, self._context = self._context, None
        task, self._task = self._task, None
        if context is not None:
            hook_context.leave(context, task, None if error is None else signal_in(error) or error)

    @property
    def running(self) -> bool:
        """Whether a task is handling it."""
        return self._task is not None

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that handles it."""
        return self._task

    def cancel(self) -> None:
        """Cancel the task that handles it, once; never the one that runs now, which is told by what it calls."""
        if self._task is not None and not self.cancelled and self._task is not asyncio.current_task():
            self.cancelled = True
            self._task.cancel()

    def absorb_cancel(self) -> bool:
        """Take back the cancellation that `cancel` caused; say whether there was one and no other."""
        if not self.cancelled or self._task is None or self._task is not asyncio.current_task():
            return False
        self.cancelled = False
        return self._task.uncancel() <= self._cancelling

    def _was_cancelled(self) -> bool:
        """Say whether somebody cancelled this task since the block began: else a CancelledError is the block's own."""
        task = asyncio.current_task()
        if task is None:
            return False
        return task.cancelling() > (self._cancelling if task is self._task else 0)

    def enter(self) -> None:
        """Begin a block that handles it; raise LeaseLost where its lease is over."""
        self._owner.check_lease(self)
        self.begin()

    async def leave(self, error: BaseException | None) -> bool:
        """End the block, and settle it by what the block ended with; say whether that error ends here."""
        try:
            if isinstance(error, asyncio.CancelledError) and self._was_cancelled():
                raise error
            return await self._settle_by(error)
        except asyncio.CancelledError as cancelled:  # in the block, or while it is settled here
            error = cancelled
            if self.lost and self.absorb_cancel():
                raise LeaseLost(self.lost_text()) from None
            await self.release()
            raise
        finally:
            self.end(error)

    async def _settle_by(self, error: BaseException | None) -> bool:
        if self.state is SETTLED:
            return False
        if error is None:
            await self.ack()
            return False
        if isinstance(error, GeneratorExit) or exit_in(error) is not None:
            await self.release()
            return False
        await self.fail(error)
        return only_signals(error)

    def lost_text(self) -> str:
        """Say what was lost, for an error."""
        return (
            f"message {self.id} of {self.source!r}, attempt {self.attempt}: its lease ended before it was settled; "
            "it will be delivered again"
        )
