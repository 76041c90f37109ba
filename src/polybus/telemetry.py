"""What the bus tells of itself, to whoever listens.

A hook gets typed events at the places where something happens. Without hooks none of these is made. Hooks run on the
event loop, must not block, and must not raise: what they raise is logged and doesn't reach the bus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

from polybus.binding import Entity
from polybus.errors import Fault
from polybus.message import Message, Sent

__all__ = [
    "Hooks",
    "LeaseExtended",
    "LeaseLostEvent",
    "NoHooks",
    "Outcome",
    "Processing",
    "Publishing",
    "Settled",
    "everywhere",
    "listen",
    "unlisten",
]

Outcome = Literal["ack", "nack", "dead_letter", "lease_lost"]


@dataclass(frozen=True, slots=True)
class Publishing:
    """A message is about to be encoded and sent."""

    backend: str
    target: Entity
    message: Message


@dataclass(frozen=True, slots=True)
class Processing:
    """A delivery is about to be given to its handler."""

    backend: str
    source: Entity
    message: Message
    attempt: int


@dataclass(frozen=True, slots=True)
class Settled:
    """A delivery was settled; `duration` is in seconds from receipt. `fault` says why where it failed."""

    backend: str
    source: Entity
    message: Message
    attempt: int
    outcome: Outcome
    duration: float
    fault: Fault | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseExtended:
    """The leases of `count` deliveries were extended."""

    backend: str
    source: Entity
    count: int


@dataclass(frozen=True, slots=True)
class LeaseLostEvent:
    """A delivery's lease ended before it was settled; it will come again."""

    backend: str
    source: Entity
    message: Message
    attempt: int


class Hooks(Protocol):
    """What a listener implements; subclass `NoHooks` to implement only some of it."""

    def inject(self, event: Publishing) -> Mapping[str, str]:
        """Return attributes to send along with a message that is about to be published: the trace context.

        They never replace the user's own.
        """

    def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
        """Note that a message is being published, and return what is to be called with its outcome."""

    def processing(self, event: Processing) -> AbstractContextManager[None]:
        """Return a context in which the handler runs; what the handler raises passes through it."""

    def settled(self, event: Settled) -> None: ...

    def lease_extended(self, event: LeaseExtended) -> None: ...

    def lease_lost(self, event: LeaseLostEvent) -> None: ...

    def in_flight(self, source: Entity, change: int) -> None:
        """Note that `change` more (or, below 0, fewer) deliveries of `source` are held by this consumer."""

    def not_taking(self, source: Entity, reason: str, change: int) -> None:
        """Note that a consumer of `source` takes nothing (1), or that this is over (-1), and why in a word.

        "room": as much is held as may be; "limit", "breaker", "key", "priority": as the handler's flow says; "pause":
        it was asked to; "threads", "stuck": calls that don't end.
        """


def _ignore(outcome: Sent | Fault) -> None:
    pass


class NoHooks:
    """Listens to nothing."""

    def inject(self, event: Publishing) -> Mapping[str, str]:
        return {}

    def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
        return _ignore

    def processing(self, event: Processing) -> AbstractContextManager[None]:
        return nullcontext()

    def settled(self, event: Settled) -> None: ...

    def lease_extended(self, event: LeaseExtended) -> None: ...

    def lease_lost(self, event: LeaseLostEvent) -> None: ...

    def in_flight(self, source: Entity, change: int) -> None: ...

    def not_taking(self, source: Entity, reason: str, change: int) -> None: ...


_listening: list[Hooks] = []


def listen(hooks: Hooks) -> None:
    """Have every bus that is connected in this process from now on tell `hooks`, beside those that it is given."""
    if hooks not in _listening:
        _listening.append(hooks)


def unlisten(hooks: Hooks) -> None:
    """Take back what `listen` did; buses that are connected go on."""
    if hooks in _listening:
        _listening.remove(hooks)


def everywhere() -> tuple[Hooks, ...]:
    """List what every bus tells."""
    return tuple(_listening)
