"""The order of calls whose messages pass through middleware before the bus has them (contract, P6)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["ManyPlace", "Place", "Places", "within"]


class Place:
    """The place of one call among those of its ordering key: it hands its message on after those before it."""

    __slots__ = ("_before", "_over", "_places", "key")

    def __init__(self, places: Places, before: list[Place], key: str | None) -> None:
        self._places = places
        self._before = before
        self.key = key
        self._over: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()

    @property
    def over(self) -> bool:
        """Whether its message was handed on, or never will be, and that of each before it."""
        return self._over is None

    async def turn(self) -> None:
        """Wait until every call before it has handed its message on, or ended."""
        for place in self._before:
            if place._over is not None:
                await asyncio.wait([place._over])  # which doesn't cancel it where this call is cancelled
        self._before = []

    def leave(self) -> None:
        """Let those behind it pass, once those before it have; may be called again."""
        if self._over is None:
            return
        for place in self._before:
            if place._over is not None:
                place._over.add_done_callback(lambda _: self.leave())
                return
        self._before = []
        self._over.set_result(None)
        self._over = None
        self._places.left(self)


class ManyPlace(Place):
    """The place of a call that publishes many, before those of all later calls; each of its messages has one in it."""

    __slots__ = ("_inside", "_outside")

    def __init__(self, places: Places, before: list[Place], outside: dict[str, Place]) -> None:
        super().__init__(places, before, None)
        self._outside = outside
        self._inside: dict[str, Place] = {}

    def take(self, key: str) -> Place:
        """Return the place of the next of its messages."""
        known = self._inside.get(key) or self._outside.get(key)
        place = self._inside[key] = Place(self._places, [*self._before, *([] if known is None else [known])], key)
        return place


class Places:
    """The places of one target."""

    def __init__(self) -> None:
        self._last: dict[str, Place] = {}
        self._many: ManyPlace | None = None

    def take(self, key: str) -> Place | None:
        """Return a place behind all others of this key.

        None within a call that has a place here itself: that one waits for this, which would wait for it.
        """
        if self._is_within():
            return None
        before = [place for place in (self._last.get(key), self._many) if place is not None]
        place = self._last[key] = Place(self, before, key)
        return place

    def take_many(self) -> ManyPlace | None:
        """Return a place behind all others; None as of `take`."""
        if self._is_within():
            return None
        before: list[Place] = [] if self._many is None else [self._many]
        self._many = ManyPlace(self, before, dict(self._last))
        return self._many

    def left(self, place: Place) -> None:
        """Forget a place."""
        if self._many is place:
            self._many = None
        elif place.key is not None and self._last.get(place.key) is place:
            del self._last[place.key]

    def _is_within(self) -> bool:
        return any(place._places is self and not place.over for place in _within.get())


_within: ContextVar[tuple[Place, ...]] = ContextVar("polybus_places", default=())


@contextmanager
def within(place: Place | None) -> Iterator[None]:
    """Note, for the length of the block, that what is published there belongs to the call that has a place."""
    if place is None:
        yield
        return
    token = _within.set((*_within.get(), place))
    try:
        yield
    finally:
        _within.reset(token)
