"""Long polls: who waits for a queue, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from polybus.clock import Timer
from polybus.localcloud.aws.timeline import Timeline

__all__ = ["Awaited", "Waiters"]


class Awaited(Protocol):
    """What is waited for: a queue."""

    timeline: Timeline

    @property
    def available(self) -> int:
        """How many receives could be answered now."""

    @property
    def next_due(self) -> float | None:
        """When the next delay or lease may end."""

    def advance(self, now: float) -> None:
        """Let happen what is due."""


class Waiters:
    """One alarm for all: the next end of a delay or lease, and only while somebody waits for it."""

    def __init__(self, queue: Awaited) -> None:
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._alarm: Timer | None = None
        self._alarm_at = float("inf")

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, seconds: float) -> None:
        """Return when there may be something to take, or `seconds` are over; the caller looks for itself.

        A poll that is cancelled (its client hung up) passes its turn on.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        timer = self._queue.timeline.clock.call_later(seconds, lambda: self._end(future))
        due = self._queue.next_due
        if due is not None:
            self.expect(due)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.wake()
            raise
        finally:
            timer.cancel()
            self._remove(future)

    def wake(self) -> None:
        """Let as many look as could find something."""
        turns = min(self._queue.available, len(self._waiting))
        while turns > 0 and self._waiting:
            self._end(self._waiting.popleft())
            turns -= 1

    def wake_all(self) -> None:
        while self._waiting:
            self._end(self._waiting.popleft())

    def expect(self, due: float) -> None:
        """Something may become available at `due`."""
        if not self._waiting or due >= self._alarm_at:
            return
        self._disarm()
        self._alarm_at = due
        timeline = self._queue.timeline
        self._alarm = timeline.clock.call_later(max(due - timeline.now(), 0.0), self._ring)

    def _ring(self) -> None:
        self._disarm()
        self._queue.advance(self._queue.timeline.now())
        self.wake()
        due = self._queue.next_due
        if due is not None:
            self.expect(due)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        self._alarm_at = float("inf")

    def _remove(self, future: asyncio.Future[None]) -> None:
        if future in self._waiting:
            self._waiting.remove(future)
        if not self._waiting:
            self._disarm()

    @staticmethod
    def _end(future: asyncio.Future[None]) -> None:
        if not future.done():
            future.set_result(None)
