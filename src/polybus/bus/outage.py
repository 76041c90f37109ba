"""An outage, as a log tells it: when it began, each minute that it goes on, and how long it was."""

from __future__ import annotations

import logging

from polybus.clock import Clock
from polybus.errors import Fault, FaultKind

__all__ = ["Outage", "lasted"]

_log = logging.getLogger("polybus")

# Seconds between two lines on the same outage: often enough to see in any window of a log that it goes on, and too
# seldom to hide other lines.
AGAIN = 60.0


class Outage:
    """Failures in a row of one thing, from the first until `over`."""

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._said = 0.0
        self.since: float | None = None
        """When it began, by the clock's `monotonic`; None while there is none."""
        self.tries = 0
        self.last: Fault | None = None

    @property
    def text(self) -> str | None:
        """Say in a line what is wrong, and for how long; None while nothing is."""
        if self.since is None:
            return None
        return f"{self._what} fails since {lasted(self._clock.monotonic() - self.since)}: {self.last}"

    def failed(self, fault: Fault, wait: float) -> None:
        """Note one more failure, and log it where it is the first or a minute has gone by."""
        now = self._clock.monotonic()
        self.tries += 1
        self.last = fault
        if self.since is None:
            self.since = self._said = now
            _log.warning("%s failed, next try in %.1f s: %s", self._what, wait, fault)
        elif now - self._said >= AGAIN:
            self._said = now
            _log.warning(
                "%s fails since %s, %d tries, next try in %.1f s: %s",
                self._what,
                lasted(now - self.since),
                self.tries,
                wait,
                fault,
            )
        else:
            _log.debug("%s failed, next try in %.1f s: %s", self._what, wait, fault)

    def silent(self, seconds: float) -> None:
        """Note that nothing was answered for so many seconds by now, and log it."""
        if self.since is None:
            self.since = self._clock.monotonic() - seconds
            self.tries = 1
        self._said = self._clock.monotonic()
        self.last = Fault(FaultKind.TIMEOUT, "the backend does not answer")
        _log.warning("%s: no answer since %s; still waiting", self._what, lasted(self._said - self.since))

    def over(self) -> None:
        """Note that it works, and log how long it did not."""
        if self.since is None:
            return
        _log.info(
            "%s works again after %s, %d failed tries",
            self._what,
            lasted(self._clock.monotonic() - self.since),
            self.tries,
        )
        self.since, self.tries, self.last = None, 0, None


def lasted(seconds: float) -> str:
    """Return a length of time as people say it: 0.4 s, 12 s, 2m10s, 3h05m."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
