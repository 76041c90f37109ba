"""When leases end, as our own clock reads it.

The service tells a lock's end by its clock, which need not agree with this machine's. What both agree on is that an
answer is given after its question was asked: so renewing one lock, once in a while, shows what the service's clock read
at the latest moment that can be proven, and every other lock's end follows from that. The machine's wall clock takes no
part in it.
"""

from __future__ import annotations

import logging

from polybus.clock import Clock

__all__ = ["Leases", "Skew"]

# Two clocks that run free drift apart by 500 parts in a million at most (what NTP corrects without a step): 0.3 s in
# this many seconds.
GOOD_FOR = 600.0
# The wall and the monotonic clock moving apart by more than this, in seconds, says that one of them stepped or that the
# machine slept: what was learnt before may be wrong.
STEP = 1.0
# From here a machine's clock is wrong, in seconds, and not merely as good as such clocks are.
WRONG = 5.0


class Skew:
    """Says once, for a whole driver, that the machine's clock and Service Bus's disagree."""

    def __init__(self) -> None:
        self._said = False

    def note(self, ahead: float, behind: float, source: str) -> None:
        """Take the least that the machine's clock is ahead of the service's, and behind it; one of them is negative."""
        if self._said or max(ahead, behind) <= WRONG:
            return
        self._said = True
        logging.getLogger("polybus").warning(
            "this machine's clock is %.0f s %s Service Bus (seen at %r); leases are counted without it, but delays and "
            "times aren't: synchronise the clock. Is it right, then the lock duration there isn't the binding's: see "
            "`polybus check --live`",
            max(ahead, behind),
            "ahead of" if ahead > behind else "behind",
            source,
        )


class Leases:
    """The ends of one source's locks, each `seconds` long."""

    def __init__(self, clock: Clock, seconds: float, source: str, skew: Skew) -> None:
        self.clock = clock
        self.seconds = seconds
        self._source = source
        self._skew = skew
        self._offset: float | None = None
        self._learnt_at = 0.0
        self._apart = 0.0

    @property
    def known(self) -> bool:
        """Whether locks that the service tells of can be dated."""
        now = self.clock.monotonic()
        if self._offset is not None and (
            now - self._learnt_at > GOOD_FOR or abs(self.clock.time() - now - self._apart) > STEP
        ):
            self._offset = None
        return self._offset is not None

    def renewed(self, begun: float, locked: float) -> float:
        """Return the end of a lock that was granted for a question asked at `begun`, and learn from it.

        `begun` is a reading of `monotonic`, `locked` the end that the service told, in seconds since the epoch.
        """
        told = locked - self.seconds
        now, wall = self.clock.monotonic(), self.clock.time()
        self._skew.note(wall - (now - begun) - told, told - wall, self._source)
        offset = begun - told
        # The quickest answer is the nearest to the truth; an older one is kept while it is good. One that took half a
        # lease would make every lease as much shorter.
        quick = now - begun <= self.seconds / 2
        if quick and (not self.known or self._offset is None or offset >= self._offset):
            self._offset, self._learnt_at, self._apart = offset, now, wall - now
        return begun + self.seconds

    def until(self, locked: float | None) -> float:
        """Return the end of a lock as a reading of `monotonic`: never later than the service's. Ask `known` before."""
        now = self.clock.monotonic()
        if locked is None or self._offset is None:
            return now
        return min(locked + self._offset, now + self.seconds)
