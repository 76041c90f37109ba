"""What happens to messages on a local server, told to whoever wants to know: the control face, and tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from polybus.clock import Clock

__all__ = ["CONSUMED", "DEAD_LETTERED", "DELIVERED", "KINDS", "PUBLISHED", "Event", "Events", "Wanted"]

PUBLISHED, DELIVERED, CONSUMED, DEAD_LETTERED = KINDS = ("published", "delivered", "consumed", "dead_lettered")


class Event(NamedTuple):
    """One thing that happened, `time` in seconds since the epoch; numbers grow by one from 1 on."""

    number: int
    time: float
    kind: str
    entity: str
    message: str


class Wanted(NamedTuple):
    """Which events: those after a number, and of a kind, an entity and a message, where those are given."""

    after: int = 0
    kind: str | None = None
    entity: str | None = None
    message: str | None = None

    def takes(self, event: Event) -> bool:
        return (
            event.number > self.after
            and self.kind in (None, event.kind)
            and self.entity in (None, event.entity)
            and self.message in (None, event.message)
        )


class Events:
    """Keeps the last of them, once it is `active`; costs a look at that until then. For one event loop."""

    KEPT = 10_000

    def __init__(self) -> None:
        self.active = False
        self._time: Callable[[], float] = lambda: 0.0
        self._name: Callable[[str], str] = str
        self._last = 0
        self._kept: deque[Event] = deque(maxlen=self.KEPT)
        self._waiting: set[asyncio.Future[None]] = set()

    def begin(self, clock: Clock, name: Callable[[str], str] = str) -> None:
        """Keep what happens from now on, each entity under what `name` makes of its own name."""
        self.active = True
        self._time = clock.time
        self._name = name

    @property
    def last(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._last

    def tell(self, kind: str, entity: str, message: str) -> None:
        """Note what happened to a message."""
        if not self.active:
            return
        self._last += 1
        self._kept.append(Event(self._last, self._time(), kind, self._name(entity), message))
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def found(self, wanted: Wanted) -> list[Event]:
        """Return those of the events kept that are wanted, oldest first."""
        return [event for event in self._kept if wanted.takes(event)]

    async def wait(self, wanted: Wanted, count: int, timeout: float) -> list[Event]:
        """Return what is found once it is `count` of them; after `timeout` real seconds what there is by then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while len(self.found(wanted)) < count:
                    await self._next()
        return self.found(wanted)

    async def _next(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
