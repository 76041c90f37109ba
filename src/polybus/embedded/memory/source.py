"""One subscription, queue or store of dead letters: what waits, what is leased, and who waits for it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import islice

from polybus.binding import Entity
from polybus.driver import Peeked, Stats
from polybus.embedded.memory.lines import Entry, FairLine, Groups, Line
from polybus.embedded.rules import DedupWindow, Expiries, tenant_of
from polybus.message import Message
from polybus.portable import MAX_ATTEMPTS_EXCEEDED, net_limit

__all__ = ["Source", "Waiter"]

# Seconds within which a time counts as come: what a float of the size of an epoch loses when two are added.
_SLACK = 1e-6

# The timeline is rebuilt when more than half of it, and this much, is of messages that are settled: large enough to
# be rare, small enough to hold no memory worth counting.
_STALE = 4_096


class Waiter:
    """A receive call that waits for a message, or for `due`."""

    __slots__ = ("due", "future", "loop")

    def __init__(self, due: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.due = due

    def fire(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Source:
    """The messages of one subscription or queue. Times are monotonic; every call is made under the store's lock."""

    def __init__(self, entity: Entity, dead: Source | None) -> None:
        self.dead = dead
        self.dedup = DedupWindow()
        self._entries: dict[int, Entry] = {}
        self.entity = entity
        self.line = _line(entity)
        self.configure(entity)
        self._timeline: list[tuple[float, int, Sequence[Entry]]] = []
        self._scheduled = 0  # entries in the timeline, settled ones too
        self._leased = 0
        self._delayed = 0
        self._seq = 0
        self._claims = itertools.count(1)
        self._expiries = Expiries("the store in memory")
        self._waiters: deque[Waiter] = deque()

    def configure(self, entity: Entity) -> None:
        """Take over what the binding says now."""
        if entity.fairness_key != self.entity.fairness_key:
            self.line = _line(entity)
            for entry in self._entries.values():
                if not entry.lease:
                    self.line.add(entry)
        self.entity = entity
        self.ordered = entity.keeps_order
        self._name = f"{entity.kind.value} {entity.name!r}"
        self._net = net_limit(entity)
        self._retention = entity.retention

    def add(self, message: Message, now: float, at: float, delay: float = 0.0, moves: int = 0) -> Entry:
        """Take a message in; `wake` is to follow."""
        self._seq += 1
        entry = Entry(self._seq, message, now, at, moves, now + self._retention)
        self._entries[entry.seq] = entry
        if delay:
            self._delay(entry, now + delay)
        self.line.add(entry)
        return entry

    def take(self, count: int, now: float, at: float) -> list[Entry]:
        """Lease up to `count` messages."""
        self.collect(now)
        if not self.line:
            return []
        until = now + self.entity.lease
        net = self._net
        claim = next(self._claims)

        def lease(entry: Entry) -> bool:
            if entry.expires <= now:
                del self._entries[entry.seq]
                self._expiries.add(self._name, 1)
                return False
            if net is not None and entry.attempt >= net:
                del self._entries[entry.seq]
                self._bury(entry, MAX_ATTEMPTS_EXCEEDED, f"delivered {entry.attempt} times, never settled", now, at)
                return False
            entry.attempt += 1
            entry.claim = claim
            entry.lease = until
            return True

        taken = self.line.take(count, lease)
        self._expiries.tell(now)
        if taken:
            self._leased += len(taken)
            self._schedule(until, taken)
        return taken

    def holds(self, entry: Entry, claim: int, now: float) -> bool:
        """Tell whether the lease of this number is still good."""
        return entry.lease > now and entry.claim == claim

    def ack(self, entry: Entry) -> None:
        entry.lease = 0.0
        self._leased -= 1
        del self._entries[entry.seq]
        self.line.done(entry)

    def nack(self, entry: Entry, delay: float, attempts: int | None, now: float) -> None:
        entry.lease = 0.0
        if attempts is not None:
            entry.attempt = max(attempts, 0)
        self._leased -= 1
        if delay > 0:
            self._delay(entry, now + delay)
        self.line.back(entry)

    def dead_letter(self, entry: Entry, reason: str, description: str, now: float, at: float) -> None:
        self.ack(entry)
        self._bury(entry, reason, description, now, at)

    def extend(self, entries: Sequence[Entry], until: float) -> None:
        for entry in entries:
            entry.lease = until
        self._schedule(until, entries)

    def collect(self, now: float) -> None:
        """Take back what has come due: leases that ended, delays that are over."""
        timeline = self._timeline
        now += _SLACK
        while timeline and timeline[0][0] <= now:
            _, _, entries = heapq.heappop(timeline)
            self._scheduled -= len(entries)
            for entry in entries:
                if entry.lease:
                    if entry.lease <= now:
                        entry.lease = 0.0
                        self._leased -= 1
                        self.line.back(entry)
                elif entry.due and entry.due <= now:
                    entry.due = 0.0
                    self._delayed -= 1
                    self.line.due(entry)

    def stats(self, now: float) -> Stats:
        self._expire(now)
        oldest = next(iter(self._entries.values()), None)
        return Stats(
            waiting=len(self._entries) - self._leased - self._delayed,
            leased=self._leased,
            delayed=self._delayed,
            dead=None if self.dead is None else self.dead.count(now),
            oldest_age=None if oldest is None else now - oldest.since,
        )

    def count(self, now: float) -> int:
        self._expire(now)
        return len(self._entries)

    def peek(self, count: int, after: int, now: float) -> list[Peeked]:
        self._expire(now)
        found = (entry for entry in self._entries.values() if entry.seq > after)
        return [
            Peeked(str(entry.seq), entry.message, entry.attempt, entry.reason, entry.description, entry.at)
            for entry in islice(found, count)
        ]

    def purge(self, now: float) -> int:
        """Delete all that isn't leased; return how many."""
        self.collect(now)
        gone = [entry for entry in self._entries.values() if not entry.lease]
        self._drop(gone)
        return len(gone)

    def wait(self, due: float) -> Waiter:
        """Queue up for the next message; `fire` is called when there is one, and is to be called at `waiter.due`."""
        if self._timeline:
            due = min(due, self._timeline[0][0])
        waiter = Waiter(due)
        self._waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """End a wait; what it was woken for and didn't take is offered to the next."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if self.line:
            self.wake()

    def wake(self) -> None:
        """Wake one that waits."""
        while self._waiters:
            if _fire(self._waiters.popleft()):
                return

    def _delay(self, entry: Entry, due: float) -> None:
        entry.due = due
        self._delayed += 1
        self._schedule(due, (entry,))

    def _bury(self, entry: Entry, reason: str, description: str, now: float, at: float) -> None:
        if self.dead is None:
            raise RuntimeError("dead letters have no dead letters")
        letter = self.dead.add(entry.message, now, at, moves=entry.moves + 1)
        letter.reason = reason
        letter.description = description
        self.dead.wake()

    def _schedule(self, due: float, entries: Sequence[Entry]) -> None:
        self._scheduled += len(entries)
        if self._scheduled > _STALE + 2 * (self._leased + self._delayed):
            self._compact()
        self._seq += 1  # ties are broken before entries are compared
        heapq.heappush(self._timeline, (due, self._seq, entries))
        for waiter in [waiter for waiter in self._waiters if waiter.due > due]:
            self._waiters.remove(waiter)
            _fire(waiter)

    def _compact(self) -> None:
        kept: list[tuple[float, int, Sequence[Entry]]] = []
        for due, seq, entries in self._timeline:
            live = [entry for entry in entries if due in (entry.lease, entry.due)]
            if live:
                kept.append((due, seq, live))
        heapq.heapify(kept)
        self._timeline = kept
        self._scheduled = sum(len(entries) for _, _, entries in kept)

    def _expire(self, now: float) -> None:
        self.collect(now)
        gone = [entry for entry in self._entries.values() if entry.expires <= now and not entry.lease]
        self._drop(gone)
        if gone:
            self._expiries.add(self._name, len(gone))
        self._expiries.tell(now)

    def _drop(self, gone: Sequence[Entry]) -> None:
        if not gone:
            return
        for entry in gone:
            if entry.due:
                entry.due = 0.0
                self._delayed -= 1
            del self._entries[entry.seq]
        self.line.keep(lambda entry: entry.seq in self._entries)


def _line(entity: Entity) -> Line | FairLine | Groups:
    if entity.keeps_order:
        return Groups()
    return Line() if entity.fairness_key is None else FairLine(partial(tenant_of, fairness_key=entity.fairness_key))


def _fire(waiter: Waiter) -> bool:
    if waiter.future.done() or waiter.loop.is_closed():
        return False
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is waiter.loop:
        waiter.fire()
    else:
        waiter.loop.call_soon_threadsafe(waiter.fire)
    return True
