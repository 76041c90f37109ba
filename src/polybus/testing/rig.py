"""What the conformance suite needs of a backend, beside its driver."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Protocol

from polybus.binding import Binding, Entity
from polybus.clock import Clock, SteppedClock
from polybus.cloud import TARGETS
from polybus.driver import Driver
from polybus.errors import BindingError, FaultKind
from polybus.registry import find, load
from polybus.topology.model import Topology

__all__ = ["BaseRig", "Late", "Refusal", "Rig", "may_refuse"]


class Late(Enum):
    """What a receipt is worth once its lease is over: one of the few things in which backends may differ."""

    REFUSED = "refused"
    """Nothing: what is asked with it answers LEASE_LOST, and changes nothing."""
    MAY_WORK = "may still work"
    """It may be answered as done, and may be done (SQS standard queues, Google without exactly-once delivery). The bus
    never sends it: it decides by its own clock (contract, D2)."""


class Refusal(StrEnum):
    """What a backend may refuse (contract, P8): delays, by the kind of what is published to."""

    TOPIC = "delay on topics"
    ORDERED_TOPIC = "delay on ordered topics"
    QUEUE = "delay on queues"
    ORDERED_QUEUE = "delay on ordered queues"


def may_refuse(backend: str) -> frozenset[Refusal]:
    """Return what a backend may refuse, and no more, so that a rig can't excuse a fault as a limit: by its `Cloud`.

    One that isn't registered may refuse any delay.
    """
    try:
        targets = find(backend).no_delay_on
    except BindingError:
        targets = TARGETS
    return frozenset(Refusal(f"delay on {target}") for target in targets)


class Rig(Protocol):
    """How to make, drive and drop what the suite needs on one backend; subclass `BaseRig` for the usual answers.

    A rig is used on one event loop: `realise` once, then the tests, then `drop`.
    """

    name: str
    """The backend, as the capability table names it."""
    clock: Clock
    """What drivers and local servers run on; `advance` moves it."""
    refuses: frozenset[Refusal]
    """What this backend refuses; the suite proves that it does, and that it may."""
    max_message: int
    """Bytes of the largest message as the backend counts them, of what `realise` makes from the suite's topology."""
    ordering: bool
    """Whether this backend keeps ordering keys; where it doesn't, the suite proves that it refuses them."""
    letters_expire: bool
    """Whether dead letters go once their retention is over (Service Bus keeps them)."""
    letters_keep_time: bool
    """Whether a dead letter still says when it was published (Service Bus: when it was buried)."""
    letters_are_copies: bool
    """Whether a dead letter is a copy that is sent before the ack (D7; AWS, Google): a lost receipt may leave one."""
    foreign_attributes: Mapping[str, str]
    """Attributes that another program may send and that polybus itself would refuse; redrive takes them back (D14)."""
    foreign_key: str
    """An ordering key that another program may send; one that polybus would refuse, where the backend takes any."""
    patience: float
    """Real seconds that a test waits for what must come before it fails."""

    async def realise(self, topology: Topology) -> Binding:
        """Make everything that the topology declares, anew and empty, and return the binding that reaches it."""

    async def drop(self) -> None:
        """Remove what `realise` made, and stop what it started; called too where `realise` failed."""

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass for the bus and for the backend: at once where the clock allows, else by waiting."""

    def driver(self, binding: Binding) -> Driver:
        """Return a new driver, independent of those before it, as another process would have it."""

    def check(self, topology: Topology) -> Sequence[str]:
        """Return what `check` finds wrong with a topology on this backend, each with its path (`$.queues.jobs`)."""

    def limit_of(self, target: Entity) -> int:
        """Return the bytes of the largest message to a topic or queue, as the backend counts them."""

    def late(self, source: Entity) -> Late:
        """Return what a receipt of this source is worth once its lease is over."""

    def deduplicates(self, target: Entity) -> bool:
        """Say whether a publish that is repeated with its `dedup_id`, since its answer was lost, is accepted once.

        Not on AWS without order, and not on Google.
        """

    def may_repeat(self, source: Entity) -> bool:
        """Say whether a message may be delivered again though it was acked in time (contract, D3).

        So it may be on real accounts of AWS and Google.
        """

    def errors(self) -> Sequence[tuple[Exception, FaultKind]]:
        """Return errors as the SDK raises them, each with what `Driver.fault` must say of it; () without an SDK."""

    def astray(self, binding: Binding) -> Binding | None:
        """Return the binding with another place, where nothing answers; None where there can't be one."""

    async def publish_foreign(
        self, target: Entity, body: bytes, attributes: Mapping[str, str], ordering_key: str | None
    ) -> None:
        """Publish as a program without polybus does: with the cloud's own client and no polybus attributes (D14)."""

    async def receive_foreign(self, source: Entity) -> tuple[bytes, Mapping[str, str]]:
        """Receive one message and remove it, as a program without polybus does: body and attributes on the wire."""


class BaseRig:
    """The usual answers: a stepped clock, the registered backend of the binding, nothing refused."""

    name: str = ""
    refuses: frozenset[Refusal] = frozenset()
    max_message: int = 256 * 1024
    ordering: bool = True
    letters_expire: bool = True
    letters_keep_time: bool = True
    letters_are_copies: bool = False
    foreign_attributes: Mapping[str, str] = MappingProxyType({})
    foreign_key: str = "customer-7"
    # A loopback server answers within milliseconds; this is for a busy machine.
    patience: float = 20.0

    def __init__(self) -> None:
        self.clock: Clock = SteppedClock()

    async def advance(self, seconds: float) -> None:
        """Move the stepped clock; on a clock that can't be moved, wait."""
        if isinstance(self.clock, SteppedClock):
            self.clock.advance(seconds)
        else:
            await asyncio.sleep(seconds)

    def limit_of(self, target: Entity) -> int:
        """Return the limit of the target's own binding entry, or the backend's one limit."""
        return target.max_size or self.max_message

    def late(self, source: Entity) -> Late:
        """Say that it is worth nothing."""
        return Late.REFUSED

    def deduplicates(self, target: Entity) -> bool:
        """Say that it may be accepted twice."""
        return False

    def may_repeat(self, source: Entity) -> bool:
        """Say that it isn't: a local server has no reason to."""
        return False

    def errors(self) -> Sequence[tuple[Exception, FaultKind]]:
        """Return none."""
        return ()

    def astray(self, binding: Binding) -> Binding | None:
        """Return none."""
        return None

    def driver(self, binding: Binding) -> Driver:
        """Return a driver of the backend that the binding names."""
        return load(binding.backend)(binding, self.clock)
