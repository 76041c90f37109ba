"""What operators do with a file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from polybus.binding import Entity, Kind
from polybus.driver import Peeked, PublisherDriver, Stats
from polybus.embedded.sqlite import claim, forks
from polybus.embedded.sqlite.opened import Opened
from polybus.embedded.sqlite.schema import LEASED, connect
from polybus.embedded.sqlite.sources import Source
from polybus.embedded.sqlite.upkeep import remove
from polybus.embedded.sqlite.wire import FETCH, decode_json, encode_json, unpack
from polybus.embedded.sqlite.work import Transaction, Work
from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["Admin"]


class Admin:
    """Stats, peek, purge and redrive. Reads have a connection of their own, beside the writer's."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._writer = opened.writer

    async def ping(self) -> None:
        """Read the file; raises what SQLite raises."""
        await asyncio.to_thread(self._ping)

    def _ping(self) -> None:
        with self._reading() as (connection, _):
            connection.execute("SELECT count(*) FROM source").fetchone()

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        described: dict[str, Any] = msgspec.to_builtins(entity)
        if entity.kind is Kind.TOPIC:
            self._opened.check_topic(entity)
        else:
            source = self._opened.source(entity)
            described["number"] = source.id
        return {**described, "path": str(self._opened.path), "sqlite": sqlite3.sqlite_version}

    async def stats(self, entity: Entity) -> Stats:
        """Count what is there; a topic keeps nothing itself, so it has nothing to tell."""
        if entity.kind is Kind.TOPIC:
            return Stats()
        return await asyncio.to_thread(self._stats, self._opened.source(entity))

    def _stats(self, source: Source) -> Stats:
        dead = None
        with self._reading() as (connection, now):
            waiting, leased, delayed, since = connection.execute(_STATS, (source.id, now)).fetchone()
            if source.dead is not None:
                (dead,) = connection.execute(_COUNT, (source.dead.id, now)).fetchone()
        return Stats(waiting, leased, delayed, dead, None if since is None else max(now - since, 0.0))

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        source = self._source(entity, "peek at")
        return await asyncio.to_thread(self._peek, source, count, int(after or 0))

    def _peek(self, source: Source, count: int, after: int) -> list[Peeked]:
        with self._reading() as (connection, now):
            (text,) = connection.execute(_AFTER, (source.id, now, after, count)).fetchone()
            attempts = _within(decode_json(text))
            row = connection.execute(FETCH, (encode_json(list(attempts)),)).fetchone()
        return [
            Peeked(str(one.seq), one.message, attempts[one.seq], one.reason, one.description, one.at)
            for one in unpack(row)
        ]

    async def purge(self, entity: Entity) -> int | None:
        source = self._source(entity, "purge")
        gone = 0
        while count := await self._writer.submit(_Purging(source)):
            gone += count
        return gone

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        self._source(source, "return messages to")
        return self._opened.publisher_back(source)

    async def aclose(self) -> None:
        """Do nothing: the driver holds the file."""

    def _source(self, entity: Entity, purpose: str) -> Source:
        if entity.kind is Kind.TOPIC:
            detail = f"topic {entity.name!r} keeps no messages: {purpose} one of its subscriptions"
            raise BackendError(Fault(FaultKind.INVALID, detail))
        return self._opened.source(entity)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """Give a connection with one view of the store for all that is read from it, and the store's time."""
        with forks.busy(), contextlib.closing(connect(self._opened.path)) as connection:
            connection.execute("BEGIN")
            now = self._writer.timeline.follow(connection)
            self._writer.identity.check()  # else it would have read another store than the writer's
            yield connection, now


def _within(lines: Sequence[tuple[int, int, int]]) -> dict[int, int]:
    """Return the attempts of as many messages, by their numbers, as may be read at once."""
    attempts: dict[int, int] = {}
    total = 0
    for seq, attempt, size in lines:
        total += size
        if attempts and total > claim.MOST_BYTES:
            break
        attempts[seq] = attempt
    return attempts


@dataclass(frozen=True, slots=True)
class _Purging(Work[int]):
    """Some of a source's messages that are to go; the answer is how many did."""

    RANK: ClassVar[int] = 1
    DURABLE: ClassVar[bool] = True
    AT_ONCE: ClassVar[int] = 5_000  # some 50 ms, that others wait for

    source: Source

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[_Purging]) -> Sequence[int]:
        return [work._run(transaction) for work in works]

    def _run(self, transaction: Transaction) -> int:
        text = transaction.value(_UNLEASED, self.source.id, transaction.now, self.AT_ONCE)
        numbers = decode_json(text)
        if numbers:
            remove(transaction.connection, numbers)
        return len(numbers)


# Until a claim collects it, what is over its time stands as leased or delayed still, or is there though it expired.
_STATS = f"""
SELECT waiting, leased, delayed, (SELECT since FROM line WHERE seq = oldest) FROM (
    SELECT ifnull(sum(state = 0 OR due <= ?2), 0) AS waiting,
           ifnull(sum(state = {LEASED} AND due > ?2), 0) AS leased,
           ifnull(sum(state > {LEASED} AND due > ?2), 0) AS delayed, min(seq) AS oldest
    FROM line WHERE source = ?1 AND (expires > ?2 OR (state = {LEASED} AND due > ?2)))
"""  # noqa: S608 - made of numbers only

_COUNT = f"""
SELECT count(*) FROM line WHERE source = ?1 AND (expires > ?2 OR (state = {LEASED} AND due > ?2))
"""  # noqa: S608 - made of numbers only

_AFTER = f"""
SELECT json_group_array(json_array(seq, attempt, size)) FROM (
    SELECT seq, attempt, size FROM line
    WHERE source = ?1 AND (expires > ?2 OR (state = {LEASED} AND due > ?2)) AND seq > ?3 ORDER BY seq LIMIT ?4)
"""  # noqa: S608 - made of numbers only

_UNLEASED = f"""
SELECT json_group_array(seq) FROM (
    SELECT seq FROM line WHERE source = ?1 AND (state <> {LEASED} OR due <= ?2) LIMIT ?3)
"""  # noqa: S608 - made of numbers only
