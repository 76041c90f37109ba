"""Saying which leases were lost, and why: never in silence (contract, D2)."""

from __future__ import annotations

import logging

from polybus.bus.held import HeldDelivery
from polybus.bus.outage import AGAIN, lasted
from polybus.clock import Clock

__all__ = ["Losses"]

_log = logging.getLogger("polybus")


class Losses:
    """Logs the lost leases of one source."""

    def __init__(self, source: str, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._arrived = 0
        self._said = float("-inf")

    def lost(self, delivery: HeldDelivery, why: str) -> None:
        """Log one that was lost after it was held."""
        _log.warning(
            "the lease of message %s of %r, attempt %d, was lost after %s: %s; the message comes again",
            delivery.id,
            self._source,
            delivery.attempt,
            lasted(self._clock.monotonic() - delivery.received_at),
            why,
            extra={"source": self._source, "message_id": delivery.id},
        )

    def over_on_arrival(self, count: int, late: float) -> None:
        """Log messages whose lease was over when they came: the first time, and then their number once a minute."""
        self._arrived += count
        now = self._clock.monotonic()
        if now - self._said < AGAIN:
            return
        _log.warning(
            "%d messages of %r came with their lease already over (by %s); none was handled, and they come again: "
            "the event loop or the process stood still, or this machine's clock is ahead of the backend's",
            self._arrived,
            self._source,
            lasted(late),
        )
        self._said, self._arrived = now, 0
