"""One attempt at handing a message over, as a handler sees it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from polybus.bus.held import HeldDelivery
from polybus.durations import Duration
from polybus.message import Message

__all__ = ["Delivery", "held_of", "is_last_attempt", "was_given_back"]

# What programs that were written to 0.1 may read; gone with 0.2, as the former names of modules (polybus.moved).
FORMER_NAMES = frozenset(("received", "received_at", "renew_at", "retries"))


class Delivery:
    """A message, and the duty to settle it.

    Settle it once: `ack`, `nack` or `dead_letter`, or use it as an asynchronous context manager. Settling again does
    nothing. Its lease is extended while it is held; `lost` says that it ended all the same, and then settling raises
    LeaseLost: the message will come again, here or elsewhere.
    """

    __slots__ = ("_held",)

    def __init__(self, held: HeldDelivery) -> None:
        self._held = held

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Return what a delivery showed until 0.2 though it is not for its users, with a warning."""
            if name not in FORMER_NAMES:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            warnings.warn(f"Delivery.{name} is polybus's own, and no name after 0.1", DeprecationWarning, 2)
            return getattr(self._held, name)

    @property
    def message(self) -> Message:
        """The message, as it was published."""
        return self._held.message

    @property
    def body(self) -> bytes:
        """The message's body."""
        return self._held.message.body

    @property
    def attributes(self) -> Mapping[str, str]:
        """The message's attributes."""
        return self._held.message.attributes

    @property
    def ordering_key(self) -> str | None:
        """The message's ordering key, None where it has none."""
        return self._held.message.ordering_key

    @property
    def id(self) -> str:
        """The message's id."""
        return self._held.message.id

    @property
    def source(self) -> str:
        """The subscription or queue that it came from."""
        return self._held.source

    @property
    def attempt(self) -> int:
        """Which attempt at handing the message over this is, from 1."""
        return self._held.attempt

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before, or came out of its order."""
        return self._held.redelivered

    @property
    def lease_until(self) -> float:
        """When its lease ends as far as is known, by the `monotonic` of the bus's clock; later once it is extended."""
        return self._held.lease_until

    @property
    def lost(self) -> bool:
        """Whether its lease ended before it was settled; a blocking handler looks here and stops."""
        return self._held.lost

    @property
    def settled(self) -> bool:
        """Whether it was settled: acked, given back, or dead-lettered."""
        return self._held.settled

    def with_message(self, message: Message) -> Delivery:
        """Return this delivery with another message to handle, as middleware passes it on; lease and settling are one.

        What is given back or dead-lettered is the message as it came.
        """
        return _Changed(self._held, message)

    def __repr__(self) -> str:
        state = "lost" if self.lost else "settled" if self.settled else "held"
        return f"Delivery(source={self.source!r}, id={self.id!r}, attempt={self.attempt}, {state})"

    async def ack(self) -> None:
        """Say that it is done with; returns once the backend knows.

        Raises LeaseLost where the lease had ended, BackendError where the backend refused.
        """
        await self._held.ack()

    async def nack(self, *, delay: Duration | None = None) -> None:
        """Give it back, to come again after `delay` (0 to 600 s; the subscription's own backoff where None).

        `delay` is a number of seconds, a text such as "90s", or a timedelta. It counts as a failed attempt: after the
        last one it goes to the dead letters instead. Raises ValueError for another delay, LeaseLost, BackendError.
        """
        await self._held.nack(delay=delay)

    async def dead_letter(self, reason: str, description: str = "") -> None:
        """Put it among the dead letters; returns once it is there.

        `reason` is cut at 128 characters, `description` at 1,024 bytes as they are sent (where a character beyond ASCII
        may take 6); what can't travel, such as control characters, is written as an escape. Raises LeaseLost,
        BackendError.
        """
        await self._held.dead_letter(reason, description)

    async def __aenter__(self) -> Delivery:
        self._held.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return await self._held.leave(error)


class _Changed(Delivery):
    """A delivery that shows another message than the one that came."""

    __slots__ = ("_message",)

    def __init__(self, held: HeldDelivery, message: Message) -> None:
        super().__init__(held)
        self._message = message

    @property
    def message(self) -> Message:
        return self._message

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def attributes(self) -> Mapping[str, str]:
        return self._message.attributes

    @property
    def ordering_key(self) -> str | None:
        return self._message.ordering_key

    @property
    def id(self) -> str:
        return self._message.id


def held_of(delivery: Delivery) -> HeldDelivery:
    """Return what polybus itself knows of a delivery; not for handlers."""
    return delivery._held


def was_given_back(delivery: Delivery) -> bool:
    """Say whether whoever handles it asked for it to come again, or to be a dead letter."""
    return getattr(delivery._held, "given_back", False)


def is_last_attempt(delivery: Delivery) -> bool:
    """Say whether it goes to the dead letters where this attempt fails; False in functions, whose platform counts."""
    asked = getattr(delivery._held, "is_last_attempt", None)
    return asked is not None and bool(asked())
