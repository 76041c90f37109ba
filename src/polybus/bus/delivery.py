"""One attempt at handing a message over, as a handler sees it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import IntEnum
from types import TracebackType
from typing import Any, Protocol

from polybus.binding import Entity
from polybus.driver import Ack, DeadLetter, Nack, Received, Settlement
from polybus.errors import BackendError, LeaseLost, Retry
from polybus.errors import DeadLetter as DeadLetterSignal
from polybus.message import Message

__all__ = ["Delivery", "Owner", "State"]

# What a dead letter's reason and description may take of the 2 KiB that are kept free for it (contract, P4): the rest
# is for their names and for the growth of the reserved attribute, base64 included.
MAX_REASON = 128
MAX_DESCRIPTION = 1024


class State(IntEnum):
    HELD = 0  # received; with a handler, or waiting for one
    SETTLED = 1  # the handler has decided; the backend knows, or is about to be told
    LOST = 2  # no longer this consumer's


class Owner(Protocol):
    """What a delivery needs of the receiver that it came from."""

    source: Entity

    async def settle(self, delivery: Delivery, settlement: Settlement[Any]) -> None: ...

    async def retry(self, delivery: Delivery, delay: float) -> None: ...

    def retry_delay(self, attempt: int) -> float: ...

    def check_lease(self, delivery: Delivery) -> None: ...

    def processing(self, delivery: Delivery) -> AbstractContextManager[None] | None: ...


class Delivery:
    """A message, and the duty to settle it.

    Settle it once: `ack`, `nack` or `dead_letter`, or use it as an asynchronous context manager. Settling again does
    nothing. Its lease is extended while it is held; `lost` says that it ended all the same, and then settling raises
    LeaseLost: the message will come again, here or elsewhere.
    """

    __slots__ = (
        "_context",
        "_owner",
        "_task",
        "attempt",
        "cancelled",
        "lane",
        "lease_until",
        "message",
        "received",
        "received_at",
        "redelivered",
        "renew_at",
        "retries",
        "state",
    )

    def __init__(self, owner: Owner, received: Received[Any], received_at: float, retries: int = 0) -> None:
        self._owner = owner
        self._task: asyncio.Task[Any] | None = None
        self._context: AbstractContextManager[None] | None = None
        self.received = received
        self.message: Message = received.message
        self.attempt = received.attempt + retries
        self.retries = retries
        self.redelivered = received.redelivered or self.attempt > 1
        self.received_at = received_at
        self.lease_until = received.lease_until
        self.renew_at = (received_at + received.lease_until) / 2
        self.state = State.HELD
        self.lane: Any = None
        self.cancelled = False

    @property
    def source(self) -> str:
        """The subscription or queue that it came from."""
        return self._owner.source.name

    @property
    def body(self) -> bytes:
        return self.message.body

    @property
    def attributes(self) -> Mapping[str, str]:
        return self.message.attributes

    @property
    def ordering_key(self) -> str | None:
        return self.message.ordering_key

    @property
    def id(self) -> str:
        return self.message.id

    @property
    def lost(self) -> bool:
        """Whether its lease ended before it was settled; a blocking handler looks here and stops."""
        return self.state is State.LOST

    @property
    def settled(self) -> bool:
        return self.state is State.SETTLED

    def __repr__(self) -> str:
        state = self.state.name.lower()
        return f"Delivery(source={self.source!r}, id={self.id!r}, attempt={self.attempt}, {state})"

    async def ack(self) -> None:
        """Say that it is done with; returns once the backend knows.

        Raises LeaseLost where the lease had ended, BackendError where the backend refused.
        """
        if self.state is not State.SETTLED:
            await self._settle(Ack(self.received))

    async def nack(self, *, delay: float | None = None) -> None:
        """Give it back, to come again after `delay` seconds (0 to 600; the subscription's own backoff where None).

        It counts as a failed attempt: after the last one it goes to the dead letters instead. Raises LeaseLost,
        BackendError.
        """
        if delay is not None and not 0 <= delay <= 600:
            raise ValueError(f"delay={delay!r}: 0 to 600 seconds (contract, D4)")
        if self.state is not State.SETTLED:
            await self._failed("MaxAttempts", f"given back {self.attempt} times", delay)

    async def dead_letter(self, reason: str, description: str = "") -> None:
        """Put it among the dead letters; returns once it is there.

        `reason` is cut at 128 characters, `description` at 1,024 bytes. Raises LeaseLost, BackendError.
        """
        if self.state is not State.SETTLED:
            short = description.encode()[:MAX_DESCRIPTION].decode(errors="ignore")
            await self._settle(DeadLetter(self.received, reason[:MAX_REASON], short))

    async def give_back(self) -> None:
        """Let someone else have it at once; not a failed attempt, so never a dead letter."""
        if self.state is State.HELD:
            await self._settle(Nack(self.received))

    async def release(self) -> None:
        """Give it back because its handler was cancelled; what fails then is logged by the receiver, not raised.

        An error here would take the place of the cancellation, and whoever asked for that would wait for ever.
        """
        with contextlib.suppress(LeaseLost, BackendError):
            await self.give_back()

    async def fail(self, error: BaseException) -> None:
        """Settle it as a handler's error asks: Retry, DeadLetter, or a failed attempt."""
        if isinstance(error, DeadLetterSignal):
            await self.dead_letter(error.reason, error.description)
        elif isinstance(error, Retry):
            await self._fail_once("Retry", str(error), error.after)
        else:
            await self._fail_once(type(error).__qualname__, str(error), None)

    async def _fail_once(self, reason: str, description: str, delay: float | None) -> None:
        if self.state is not State.SETTLED:
            await self._failed(reason, description, delay)

    async def _failed(self, reason: str, description: str, delay: float | None) -> None:
        if self.attempt >= self._owner.source.max_attempts:
            await self.dead_letter(reason, description)
            return
        self._owner.check_lease(self)
        self.state = State.SETTLED
        await self._owner.retry(self, self._owner.retry_delay(self.attempt) if delay is None else delay)

    async def _settle(self, settlement: Settlement[Any]) -> None:
        self._owner.check_lease(self)
        self.state = State.SETTLED
        await self._owner.settle(self, settlement)

    # As a context manager --------------------------------------------------------------------------------------------

    def begin(self, task: asyncio.Task[Any] | None = None) -> None:
        """Note the task that handles it, this one where None: a lost lease cancels it, and a drain waits for it."""
        self._task = task or asyncio.current_task()
        self._context = self._owner.processing(self)
        if self._context is not None:
            self._context.__enter__()

    def end(self, error: BaseException | None = None) -> None:
        """Note that its handler is done, and with what error."""
        if not isinstance(error, asyncio.CancelledError):
            self.absorb_cancel()  # the handler made something else of it: what its task does next isn't cancelled
        context, self._context = self._context, None
        if context is not None:
            context.__exit__(type(error) if error is not None else None, error, None)
        self._task = None

    @property
    def running(self) -> bool:
        """Whether a task is handling it."""
        return self._task is not None

    def cancel(self) -> None:
        """Cancel the task that handles it, once."""
        if self._task is not None and not self.cancelled:
            self.cancelled = True
            self._task.cancel()

    def absorb_cancel(self) -> bool:
        """Take back the cancellation that `cancel` caused; say whether there was one and no other."""
        if not self.cancelled or self._task is None:
            return False
        self.cancelled = False
        return self._task.uncancel() == 0

    async def __aenter__(self) -> Delivery:
        self._owner.check_lease(self)
        self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            if isinstance(error, asyncio.CancelledError):
                raise error
            return await self._leave(error)
        except asyncio.CancelledError as cancelled:  # in the block, or while it is settled here
            error = cancelled
            if self.lost and self.absorb_cancel():
                raise LeaseLost(self.lost_text()) from None
            await self.release()
            raise
        finally:
            self.end(error)

    async def _leave(self, error: BaseException | None) -> bool:
        if self.state is State.SETTLED:
            return False
        if error is None:
            await self.ack()
            return False
        if not isinstance(error, Exception):
            await self.release()
            return False
        await self.fail(error)
        return isinstance(error, Retry | DeadLetterSignal)

    def lost_text(self) -> str:
        """Say what was lost, for an error."""
        return (
            f"message {self.id} of {self.source!r}, attempt {self.attempt}: its lease ended before it was settled; "
            "it will be delivered again"
        )
