"""Handlers that go on though their leases were lost: told to the log, and no longer counted as running."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from polybus.bus.delivery import Delivery
from polybus.bus.outage import AGAIN, lasted
from polybus.clock import Clock, Timer

__all__ = ["Lingering"]

_log = logging.getLogger("polybus")

# Seconds that a handler has to end once it was cancelled, or was told that its lease is lost: as at a drain, enough for
# its own clean-up, and for the end of a process that runs it.
AFTER = 2.0
# So many times the concurrency may go on: each holds a task and whatever it has open. As for threads that hang, a
# service whose every call does so must stop taking messages before it is out of memory.
MOST = 4


class Lingering:
    """Watches the handlers of one consumer; for one event loop.

    A task that swallows its cancellation can't be ended. It is left to itself: `replace` is called, so that another
    worker takes its place. When too many go on, `pause` is told why nothing more is taken, and None once it may be.
    """

    def __init__(
        self,
        source: str,
        handler: str,
        *,
        clock: Clock,
        concurrency: int,
        replace: Callable[[], None],
        pause: Callable[[str | None], None],
    ) -> None:
        self._source = source
        self._handler = handler
        self._clock = clock
        self._most = MOST * concurrency
        self._replace = replace
        self._pause = pause
        self._paused = False
        self._lost_at: dict[Delivery, float] = {}
        self._given_up: dict[Delivery, None] = {}
        self._timer: Timer | None = None
        self._due = math.inf
        self._told = -math.inf
        self._closed = False

    def lost(self, delivery: Delivery) -> None:
        """Note that a handler was told that its lease is lost."""
        self._lost_at.setdefault(delivery, self._clock.monotonic())
        self._arm(self._lost_at[delivery] + AFTER)

    def ended(self, delivery: Delivery) -> bool:
        """Note that a handler ended; say whether another has taken its place."""
        if not self._lost_at or self._lost_at.pop(delivery, None) is None:
            return False
        replaced = delivery in self._given_up
        self._given_up.pop(delivery, None)
        if self._paused and len(self._given_up) < self._most:
            self._paused = False
            _log.info("%s of %r has room again", self._handler, self._source)
            self._pause(None)
        return replaced

    def close(self) -> None:
        """Look no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, due: float) -> None:
        if due >= self._due or self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._clock.call_later(max(due - self._clock.monotonic(), 0.0), self._look)

    def _look(self) -> None:
        self._timer, self._due = None, math.inf
        now = self._clock.monotonic()
        more = [each for each, at in self._lost_at.items() if each not in self._given_up and now - at >= AFTER]
        for delivery in more:
            self._given_up[delivery] = None
            self._replace()
        if self._given_up and (more or now - self._told >= AGAIN):
            self._tell(now)
        if len(self._given_up) >= self._most and not self._paused:
            self._paused = True
            self._pause(f"{len(self._given_up)} calls go on though their leases were lost")
        waiting = [at + AFTER for each, at in self._lost_at.items() if each not in self._given_up]
        self._arm(min([*waiting, self._told + AGAIN if self._given_up else math.inf]))

    def _tell(self, now: float) -> None:
        self._told = now
        _log.warning(
            "%d calls of %s go on though they were told that their leases were lost, the longest since %s; others take "
            "their places, up to %d: have it let its cancellation through: %s",
            len(self._given_up),
            self._handler,
            lasted(now - min(self._lost_at[each] for each in self._given_up)),
            self._most,
            ", ".join(
                f"message {each.id} of {self._source!r}, attempt {each.attempt}" for each in [*self._given_up][:10]
            ),
        )
