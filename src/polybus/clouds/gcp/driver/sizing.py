"""How many streams a consumer has, and how many messages each may bring."""

from __future__ import annotations

from collections.abc import Sequence

from polybus.clock import Clock
from polybus.clouds.gcp.driver.stream import Stream

__all__ = ["Sizing"]

# What is nacked with a delay, or held back in its order, is still out for the server. Streams with room for that many
# more are opened beside the first; the bus holds back at most as many (contract, D4).
HELD_BACK = 1_000
# Seconds after which a stream, or half of the only one, that isn't needed any more is closed.
SPARE = 60.0
# More streams than that are too small each: the smallest is closed, and what it had room for is part of the next one.
STREAMS = 12
# Another stream is worth it for this part of the prefetch; what is less than that waits for this many seconds, so that
# a stream isn't opened for each message whose handler has ended.
WORTH = 1 / 4
GATHERED = 5.0
# More than twice the prefetch is asked for only beside what is put off or held back. Where streams for that follow
# one another within a second, each is twice as large as the last: 1,000 may be put off in that time, or come of one
# key, and what is too much for a moment is asked for in the next.
BRISK = 1.0


class Sizing:
    """Says how large streams are to be, and which of them isn't needed; `prefetch` is what the bus asks for."""

    def __init__(self, prefetch: int, *, ordered: bool, clock: Clock) -> None:
        self._prefetch = prefetch
        self._ordered = ordered
        self._clock = clock
        self._missing_since: float | None = None
        self._needed = clock.monotonic()

    def first(self, missing: int, handed: int) -> int:
        """Return the size of the only stream, where `missing` are asked for and the bus has `handed` in its hands.

        It has all of an ordered subscription at first, since its keys stay with theirs.
        """
        return max(self._prefetch - handed, missing) if self._ordered else missing

    def another(self, streams: Sequence[Stream], missing: int) -> int:
        """Return the size of a stream beside others; 0 where it isn't worth it yet, or they are large enough."""
        now = self._clock.monotonic()
        if self._missing_since is None:
            self._missing_since = now
        if missing < self._prefetch * WORTH and now - self._missing_since < GATHERED:
            return 0
        limit, last = sum(stream.limit for stream in streams), streams[-1]
        if limit + missing > 2 * self._prefetch and now - last.opened < BRISK:
            missing = max(missing, 2 * last.limit)
        return max(min(missing, self._prefetch + HELD_BACK - limit), 0)

    def opened(self) -> None:
        """Note that a stream was opened."""
        self._needed = self._clock.monotonic()
        self._missing_since = None

    def enough(self) -> None:
        """Note that nothing is missing of what was asked for."""
        self._missing_since = None

    def note(self, streams: Sequence[Stream], missing: int) -> None:
        """Note whether all there is for now is needed: without what could be spared, something would be missing."""
        if streams and (not (spare := self._spare(streams)) or missing + spare > 0):
            self._needed = self._clock.monotonic()

    def unneeded(self, streams: Sequence[Stream]) -> Stream | None:
        """Return the stream to close now, if there is one."""
        now = self._clock.monotonic()
        if streams and now - self._needed > SPARE:
            self._needed = now
            return streams[-1]
        return min(streams, key=lambda stream: stream.limit) if len(streams) > STREAMS else None

    def _spare(self, streams: Sequence[Stream]) -> int:
        """Return the room of the stream that would be closed first: of the only one, as far as it may be too large."""
        last = streams[-1].limit
        if len(streams) > 1:
            return last
        return max(last - self._prefetch, 0) if self._ordered else last // 2
