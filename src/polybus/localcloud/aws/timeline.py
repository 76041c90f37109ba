"""Wall-clock time that never goes back."""

from __future__ import annotations

from polybus.clock import Clock

__all__ = ["Timeline"]


class Timeline:
    """Reads a clock as seconds since the epoch; leases and retention must not jump when the machine's clock is set."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._epoch = clock.time() - clock.monotonic()
        self._last = 0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self.clock.monotonic() + self._epoch

    def order(self) -> int:
        """Return a number larger than every one before it, across restarts too: microseconds since the epoch."""
        self._last = max(self._last + 1, int(self.now() * 1_000_000))
        return self._last

    def not_before(self, order: int) -> None:
        """Keep `order` from numbers already used, in case the machine's clock was set back between two runs."""
        self._last = max(self._last, order)
