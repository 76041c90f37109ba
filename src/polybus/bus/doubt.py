"""What a bus was opened on though nothing asked for it, told again and again, so that any look at a log finds it."""

from __future__ import annotations

import logging

from polybus.clock import Clock

__all__ = ["Doubt"]

_log = logging.getLogger("polybus")

# Seconds between two lines: as an outage is told (outage.py), whatever the period of a health check that pings.
_AGAIN = 60.0


class Doubt:
    """Tells why a bus may not be what was meant; nothing where `why` is ""."""

    __slots__ = ("_clock", "_last", "_what", "_why")

    def __init__(self, what: str, why: str, clock: Clock) -> None:
        self._what = what
        self._why = why
        self._clock = clock
        self._last: float | None = None

    def tell(self) -> None:
        """Log it as a WARNING, at most once a minute."""
        if not self._why:
            return
        now = self._clock.monotonic()
        if self._last is None or now - self._last >= _AGAIN:
            self._last = now
            _log.warning("%s: %s", self._what, self._why)
