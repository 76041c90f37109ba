"""What `polybus top` knows of each entry of a binding: its latest counts, how they change, or why there are none."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from polybus.driver import Stats
from polybus.errors import PolybusError

if TYPE_CHECKING:
    from polybus.binding import Entity
    from polybus.bus.bus import Bus

__all__ = ["Entry", "Row", "Watch", "entries_of"]

Kind = Literal["topic", "subscription", "queue", "dead letters"]

# Rates are over so many readings: of two alone they would jump with the clouds' approximate counts.
_READINGS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One entry now; counts of None aren't told by the cloud.

    `rate` is how many messages a second more, or below 0 fewer, are there than some readings before; of a topic all is
    the sum of its subscriptions'. `late` says that the entry hasn't answered since, `error` that it failed.
    """

    kind: Kind
    name: str
    topic: str | None = None
    waiting: int | None = None
    leased: int | None = None
    delayed: int | None = None
    oldest_age: float | None = None
    dead: int | None = None
    rate: float | None = None
    late: bool = False
    error: str | None = None


class Entry:
    """One subscription, queue or store of dead letters, and how it is read; `read` of None is not read at all."""

    def __init__(self, row: Row, read: Callable[[], Awaitable[Stats]] | None) -> None:
        self.row = row
        self._read = read
        self._reading: asyncio.Task[Stats] | None = None
        self._known: deque[tuple[float, int]] = deque(maxlen=_READINGS)

    def begin(self) -> asyncio.Task[Stats] | None:
        """Ask, unless the last answer is still to come; return what is awaited."""
        if self._read is not None and self._reading is None:
            self._reading = asyncio.ensure_future(self._read())
        return self._reading

    def end(self, now: float) -> None:
        """Take what was answered, at a time in seconds."""
        reading = self._reading
        if reading is None:
            return
        if not reading.done():
            self.row = replace(self.row, late=True)
            return
        self._reading = None
        error = asyncio.CancelledError() if reading.cancelled() else reading.exception()
        if error is not None:
            if not isinstance(error, PolybusError):
                raise error
            self._known.clear()
            self.row = Row(self.row.kind, self.row.name, self.row.topic, error=str(error).splitlines()[0])
            return
        stats = reading.result()
        self.row = Row(
            self.row.kind,
            self.row.name,
            self.row.topic,
            stats.waiting,
            stats.leased,
            stats.delayed,
            stats.oldest_age,
            stats.dead,
            self._rate(stats.waiting, now),
        )

    def _rate(self, waiting: int | None, now: float) -> float | None:
        if waiting is None:
            self._known.clear()
            return None
        self._known.append((now, waiting))
        since, before = self._known[0]
        return (waiting - before) / (now - since) if now > since else None

    def cancel(self) -> None:
        if self._reading is not None:
            self._reading.cancel()


class Watch:
    """Reads entries round by round; one that doesn't answer holds up none of the others."""

    def __init__(self, topics: Iterable[str], entries: Iterable[Entry], time: Callable[[], float]) -> None:
        self._topics = tuple(topics)
        self._entries = tuple(entries)
        self._time = time

    async def round(self, patience: float | None) -> list[Row]:
        """Ask every entry, and return what is known after so many seconds, or once all have answered."""
        asked = [task for task in (entry.begin() for entry in self._entries) if task is not None]
        if asked:
            await asyncio.wait(asked, timeout=patience)
        now = self._time()
        for entry in self._entries:
            entry.end(now)
        return list(self._rows())

    def close(self) -> None:
        """Wait for no answer any more."""
        for entry in self._entries:
            entry.cancel()

    def _rows(self) -> Iterable[Row]:
        rows = [entry.row for entry in self._entries]
        for topic in self._topics:
            mine = [row for row in rows if row.topic == topic]
            yield _sum(topic, [row for row in mine if row.kind == "subscription"])
            yield from mine
        yield from (row for row in rows if row.topic is None)


def _sum(topic: str, rows: list[Row]) -> Row:
    """Add up a topic's subscriptions; what one of them doesn't tell, the topic doesn't."""

    def total(values: list[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if known and len(known) == len(values) else None

    ages = [row.oldest_age for row in rows if row.oldest_age is not None]
    rates = [row.rate for row in rows if row.rate is not None]
    return Row(
        "topic",
        topic,
        waiting=total([row.waiting for row in rows]),
        leased=total([row.leased for row in rows]),
        delayed=total([row.delayed for row in rows]),
        oldest_age=max(ages, default=None),
        dead=total([row.dead for row in rows]),
        rate=sum(rates) if rates and len(rates) == len(rows) else None,
        late=any(row.late for row in rows),
    )


def entries_of(bus: Bus, wanted: Callable[[str], bool]) -> list[Entry]:
    """List what there is to read of a bus, of the subscriptions and queues that are `wanted`, by name."""
    binding = bus.binding
    found: list[Entry] = []
    for kind, entities in (("subscription", binding.subscriptions), ("queue", binding.queues)):
        for entity in entities.values():
            if wanted(entity.name):
                found += _entries(bus, "subscription" if kind == "subscription" else "queue", entity)
    return found


def _entries(bus: Bus, kind: Literal["subscription", "queue"], entity: Entity) -> Iterable[Entry]:
    name, topic = entity.name, entity.topic
    # What the cloud itself delivers has no place of its own on some, and then only its dead letters can be counted.
    only_letters = entity.address == entity.dead_letter
    yield Entry(Row(kind, name, topic), None if only_letters else lambda: bus.stats(name))
    if entity.dead_letter is not None:
        yield Entry(Row("dead letters", name, topic), lambda: bus.dead_letters(name).stats())
