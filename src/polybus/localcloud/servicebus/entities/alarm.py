"""Deadlines of one mailbox, on one timer."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from polybus.clock import Clock, Timer

__all__ = ["Alarm", "Lane"]

K = TypeVar("K", bound=Hashable)


class Lane(Generic[K]):
    """Keys of one kind, each due at one time. Setting and discarding cost O(log n), amortised."""

    # A heap may hold this many discarded entries, and as many again as there are live ones, before it is rebuilt:
    # a rebuild of n entries then follows at least n discards, and memory stays within twice what is live.
    SLACK = 64

    def __init__(self, alarm: Alarm, handler: Callable[[K], None]) -> None:
        self._alarm = alarm
        self._handler = handler
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: K, when: float) -> None:
        """Make `key` due at `when`, instead of when it was due before."""
        self._due[key] = when
        heapq.heappush(self._heap, (when, next(self._alarm.order), key))
        self._compact()
        self._alarm.wake_at(when)

    def discard(self, key: K) -> None:
        if self._due.pop(key, None) is not None:
            self._compact()

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._due) + self.SLACK:
            self._heap = [(when, next(self._alarm.order), key) for key, when in self._due.items()]
            heapq.heapify(self._heap)

    def next(self) -> float | None:
        """Return when the first key is due; None without keys."""
        heap = self._heap
        while heap and self._due.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def fire(self, now: float) -> None:
        """Handle every key that is due at `now`."""
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            self._handler(key)


class Alarm:
    """One timer for all lanes of a mailbox; calls `after` once those that were due are handled."""

    # A timer that fires a little before its time would otherwise be set again for no time at all.
    SHORTEST = 0.001

    def __init__(self, clock: Clock, after: Callable[[], None]) -> None:
        self.order = itertools.count()
        self._clock = clock
        self._after = after
        self._lanes: list[Lane[Any]] = []
        self._timer: Timer | None = None
        self._at: float | None = None

    def lane(self, handler: Callable[[K], None]) -> Lane[K]:
        lane = Lane(self, handler)
        self._lanes.append(lane)
        return lane

    def wake_at(self, when: float) -> None:
        """See to it that what is due at `when` is handled then."""
        if self._at is not None and self._at <= when:
            return
        self.stop()
        self._at = when
        self._timer = self._clock.call_later(max(when - self._clock.time(), self.SHORTEST), self._ring)

    def _ring(self) -> None:
        self._timer = self._at = None
        now = self._clock.time()
        for lane in self._lanes:
            lane.fire(now)
        upcoming = [when for lane in self._lanes if (when := lane.next()) is not None]
        if upcoming:
            self.wake_at(min(upcoming))
        self._after()

    def stop(self) -> None:
        """Cancel the timer; a later deadline sets it again."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._at = None
