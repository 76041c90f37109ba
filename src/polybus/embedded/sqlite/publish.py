"""Publishing: a row for the queue, or for each subscription whose filter passes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from polybus.binding import Entity
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.embedded.rules import BATCH, DedupWindow, check, check_key, tenant_of
from polybus.embedded.sqlite.schema import DELAYED, READY
from polybus.embedded.sqlite.sources import Route
from polybus.embedded.sqlite.wire import encode_head, encode_json
from polybus.embedded.sqlite.work import Transaction, Work
from polybus.embedded.sqlite.writer import Writer
from polybus.errors import Fault
from polybus.message import Message, Sent

__all__ = ["Publisher", "Publishing"]

SHARED_FROM = 4_096
"""Bytes from which a body is kept once for all subscriptions: a page; below it a second copy costs less than a join."""

# Bytes from which rows are inserted without waiting for those of further batches: SQLite's limit of one value is
# 1,000,000,000, and this many cost a copy.
_MOST_BYTES = 64 * 1024 * 1024

# Bytes that a message takes in the file beside its own: its two rows, and their places in three indices.
_OVERHEAD = 300

Wire = tuple[bytes, Message]


@dataclass(frozen=True, slots=True)
class Publishing(Work[None]):
    """A batch on its way into the file."""

    RANK: ClassVar[int] = 0
    DURABLE: ClassVar[bool] = True

    batch: Sequence[Prepared[Wire]]
    routes: Sequence[Route]
    dedup: DedupWindow
    returning: bool

    @property
    def adds(self) -> int:
        return sum([prepared.size for prepared in self.batch]) + _OVERHEAD * len(self.batch)

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[Publishing]) -> Sequence[None]:
        rows = _Rows(transaction)
        for work in works:
            rows.add(work)
            if rows.size > _MOST_BYTES:
                rows.insert()
        rows.insert()
        return [None] * len(works)


class _Rows:
    """The rows of several batches: their bytes in one piece, and where in it each begins."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._pieces: list[bytes] = []
        self._end = 1  # SQL counts from 1
        self._rows: list[tuple[object, ...]] = []
        self._fresh: dict[int, set[str]] = {}  # of each window: a repeat may be in the same transaction

    @property
    def size(self) -> int:
        """How many bytes wait to be inserted."""
        return self._end

    def add(self, work: Publishing) -> None:
        known = work.dedup
        fresh = self._fresh.get(id(known))
        if fresh is None:
            fresh = self._fresh[id(known)] = set()
            known.turn(self._transaction.now)
            # Only what is committed is known: a rollback must not swallow the next attempt.
            self._transaction.committed.append(functools.partial(known.update, fresh))
        for prepared in work.batch:
            dedup_id = prepared.outgoing.dedup_id
            if dedup_id:
                if dedup_id in known or dedup_id in fresh:
                    continue
                fresh.add(dedup_id)
            self._add(work, prepared)

    def _add(self, work: Publishing, prepared: Prepared[Wire]) -> None:
        head, message = prepared.wire
        outgoing = prepared.outgoing
        routes = [r for r in work.routes if r.passes is None or r.passes.matches(message.attributes)]
        if not routes:
            return
        body = message.body
        shared = None
        if len(routes) > 1 and len(body) >= SHARED_FROM:
            shared = self._transaction.connection.execute("INSERT INTO body (content) VALUES (?)", (body,)).lastrowid
            body = b""
        now, wall = self._transaction.now, self._transaction.wall
        published = wall
        if work.returning and message.published_at is not None:
            published = message.published_at
        delay = outgoing.delay
        at = self._end
        self._pieces += (head, body)
        self._end += len(head) + len(body)
        places = (at, len(head), at + len(head), len(body), shared, published, wall, outgoing.moves)
        key = message.ordering_key or ""
        state, due = (DELAYED, now + delay) if delay else (READY, 0.0)
        for route in routes:
            source = route.source
            group = key if source.ordered else ""
            if source.fairness_key is not None:
                group = tenant_of(message, source.fairness_key)
            line = (source.id, state, group, due, now + source.retention, prepared.size)
            self._rows.append((*places, *line))
            self._transaction.woken.add(source.id)

    def insert(self) -> None:
        if not self._rows:
            return
        connection = self._transaction.connection
        places = encode_json(self._rows)
        last = connection.execute(_INSERT_MESSAGES, (b"".join(self._pieces), places)).lastrowid
        # The rows of one statement get consecutive numbers: it holds the write lock.
        first = (last or 0) - len(self._rows) + 1
        connection.execute(_INSERT_LINES, (first, places, self._transaction.now))
        self._pieces, self._end, self._rows = [], 1, []


def _at(*places: int) -> str:
    return ", ".join(f"json_extract(value, '$[{place}]')" for place in places)


_INSERT_MESSAGES = f"""
INSERT INTO message (head, body, shared, published, at, moves)
SELECT substr(?1, {_at(0, 1)}), CASE WHEN {_at(4)} IS NULL THEN substr(?1, {_at(2, 3)}) END, {_at(4, 5, 6, 7)}
FROM json_each(?2)
"""  # noqa: S608 - made of numbers only

_INSERT_LINES = f"""
INSERT INTO line (source, state, grp, due, expires, size, since, seq, attempt)
SELECT {_at(8, 9, 10, 11, 12, 13)}, ?3, ?1 + key, 0 FROM json_each(?2)
"""  # noqa: S608 - made of numbers only


class Publisher:
    """Publishes to a topic or a queue, or returns messages to one subscription or queue (`returning`)."""

    def __init__(
        self,
        writer: Writer,
        entity: Entity,
        routes: Sequence[Route],
        dedup: DedupWindow,
        *,
        returning: bool,
    ) -> None:
        self._writer = writer
        self._entity = entity
        self._routes = routes
        self._dedup = dedup
        self._returning = returning

    @property
    def limits(self) -> BatchLimits:
        return BATCH

    def prepare(self, outgoing: Outgoing) -> Prepared[Wire] | Fault:
        checked = check(outgoing, self._entity, "sqlite")
        if isinstance(checked, Fault):
            return checked
        message, size = checked
        if self._entity.ordered or not self._returning:
            # An unordered subscription of an ordered topic takes back messages that have a key.
            wrong = check_key(message, self._entity, "sqlite")
            if wrong is not None:
                return wrong
        return Prepared(outgoing, size, (encode_head(message), message))

    async def publish_batch(self, batch: Sequence[Prepared[Wire]]) -> Sequence[Sent | Fault]:
        await self._writer.submit(Publishing(batch, self._routes, self._dedup, self._returning))
        return [Sent(prepared.wire[1].id) for prepared in batch]

    async def aclose(self) -> None:
        """Do nothing: the driver holds the file."""
