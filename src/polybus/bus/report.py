"""Telling hooks what becomes of deliveries (contract, telemetry)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from polybus.binding import Entity
from polybus.bus.held import HeldDelivery
from polybus.clock import Clock
from polybus.driver import Ack, Settlement, ToDeadLetters
from polybus.errors import Fault, FaultKind
from polybus.telemetry import Hooks, LeaseExtended, LeaseLostEvent, Outcome, Processing, Settled

__all__ = ["Reporter"]


class Reporter:
    """Tells the hooks of one source's deliveries; where there are no hooks there is no reporter, and no call."""

    def __init__(self, hooks: Hooks, backend: str, source: Entity, clock: Clock) -> None:
        self._hooks = hooks
        self._backend = backend
        self._source = source
        self._clock = clock

    def in_flight(self, change: int) -> None:
        """Tell that so many more, or fewer, are held."""
        self._hooks.in_flight(self._source, change)

    def not_taking(self, reason: str, change: int) -> None:
        """Tell that this consumer takes nothing for a reason, or that this is over."""
        self._hooks.not_taking(self._source, reason, change)

    def processing(self, delivery: HeldDelivery) -> AbstractContextManager[None] | None:
        """Return the context that hooks want around the handler, or None where they want none."""
        return self._hooks.processing(Processing(self._backend, self._source, delivery.message, delivery.attempt))

    def settled(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None:
        """Tell what a delivery was settled as."""
        self._settled(delivery, _outcome(settlement), None, getattr(settlement, "reason", None))

    def failed(self, delivery: HeldDelivery, settlement: Settlement[Any], fault: Fault) -> None:
        """Tell what kept a delivery from being settled."""
        if fault.kind is FaultKind.LEASE_LOST:
            self.lost(delivery)
        else:
            self._settled(delivery, _outcome(settlement), fault, None)

    def held_back(self, delivery: HeldDelivery) -> None:
        """Tell of a failed attempt whose retry waits here: nothing is settled yet, and it is told but once."""
        self._settled(delivery, "nack", None, None)

    def lost(self, delivery: HeldDelivery) -> None:
        """Tell that a lease was lost."""
        self._hooks.lease_lost(LeaseLostEvent(self._backend, self._source, delivery.message, delivery.attempt))

    def extended(self, count: int) -> None:
        """Tell that so many leases were extended."""
        self._hooks.lease_extended(LeaseExtended(self._backend, self._source, count))

    def _settled(self, delivery: HeldDelivery, outcome: Outcome, fault: Fault | None, reason: str | None) -> None:
        duration = self._clock.monotonic() - delivery.received_at
        self._hooks.settled(
            Settled(self._backend, self._source, delivery.message, delivery.attempt, outcome, duration, fault, reason)
        )


def _outcome(settlement: Settlement[Any]) -> Outcome:
    if isinstance(settlement, Ack):
        return "ack"
    return "dead_letter" if isinstance(settlement, ToDeadLetters) else "nack"
