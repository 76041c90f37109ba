"""How far ahead of its handlers a receiver may take."""

from __future__ import annotations

from polybus.bus.options import ConsumerOptions

__all__ = ["Pace"]

# Seconds that handlers may take, on average, for messages to be held ready behind them. What one receive brings within
# a round trip saves nothing where a handler takes longer than that; and what waits behind a handler is given back at
# each drain, which backends that count every delivery (SQS) take for an attempt (contract, D5).
BRISK = 1.0
# What the latest call of a handler counts in the average: about the last ten.
LATEST = 0.2


class Pace:
    """Says how many messages to hold: those of the options, or as many as are handled at once where that is slow.

    Only where nobody chose `prefetch`, where a give-back counts as an attempt (`counts`), and once `follow` was called:
    who iterates by hand tells no pace. Nothing is known before the first handler has ended: a service that is restarted
    again and again must not take ahead each time.
    """

    def __init__(self, options: ConsumerOptions, *, counts: bool) -> None:
        self._options = options
        self._may_adapt = counts and options.prefetch is None
        self.adapts = False
        self._took: float | None = None

    @property
    def at_first(self) -> int:
        """How many messages a driver may take before a handler has ended; who iterates by hand asks for more."""
        return self._options.concurrency if self._may_adapt else self._options.window

    def follow(self) -> None:
        """Go by how long handlers take, from now on."""
        self.adapts = self._may_adapt

    @property
    def window(self) -> int:
        """How many messages to hold at most, beside those that can't be handled yet."""
        if not self.adapts or (self._took is not None and self._took < BRISK):
            return self._options.window
        return self._options.concurrency

    def took(self, seconds: float) -> None:
        """Note how long a handler took."""
        self._took = seconds if self._took is None else self._took + LATEST * (seconds - self._took)
