"""What operators do with a file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from polybus.backends.sqlite.schema import LEASED, connect
from polybus.backends.sqlite.sources import Source
from polybus.backends.sqlite.upkeep import remove
from polybus.backends.sqlite.wire import FETCH, decode_json, unpack
from polybus.backends.sqlite.writer import Transaction
from polybus.binding import Entity, Kind
from polybus.clock import Clock
from polybus.driver import Peeked, PublisherDriver, Stats
from polybus.errors import BackendError, Fault, FaultKind

if TYPE_CHECKING:
    from polybus.backends.sqlite.driver import SqliteDriver

__all__ = ["Admin"]


class Admin:
    """Stats, peek, purge and redrive. Reads have a connection of their own, beside the writer's."""

    def __init__(self, driver: SqliteDriver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock

    async def ping(self) -> None:
        """Read the file; raises what SQLite raises."""
        await asyncio.to_thread(self._read, "SELECT count(*) FROM source")

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        described: dict[str, Any] = msgspec.to_builtins(entity)
        if entity.kind is not Kind.TOPIC:
            _, source = await self._driver.source(entity)
            described["number"] = source.id
        return {**described, "path": str(self._driver.path), "sqlite": sqlite3.sqlite_version}

    async def stats(self, entity: Entity) -> Stats:
        """Count what is there; a topic keeps nothing itself, so it has nothing to tell."""
        if entity.kind is Kind.TOPIC:
            return Stats()
        _, source = await self._driver.source(entity)
        return await asyncio.to_thread(self._stats, source)

    def _stats(self, source: Source) -> Stats:
        now = self._clock.time()
        (row,) = self._read(_STATS, source.id, now)
        waiting, leased, delayed, at = row
        dead = None
        if source.dead is not None:
            ((dead,),) = self._read(_COUNT, source.dead.id, now)
        return Stats(waiting, leased, delayed, dead, None if at is None else max(now - at, 0.0))

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        source = await self._source(entity, "peek at")
        return await asyncio.to_thread(self._peek, source, count, int(after or 0))

    def _peek(self, source: Source, count: int, after: int) -> list[Peeked]:
        with closing(connect(self._driver.path)) as connection:
            connection.execute("BEGIN")  # one view for both reads
            (text,) = connection.execute(_AFTER, (source.id, self._clock.time(), after, count)).fetchone()
            row = connection.execute(FETCH, (f"[{','.join(str(seq) for seq, _ in decode_json(text))}]",)).fetchone()
        attempts = dict(decode_json(text))
        return [
            Peeked(str(one.seq), one.message, attempts[one.seq], one.reason, one.description, one.at)
            for one in unpack(row)
        ]

    async def purge(self, entity: Entity) -> int | None:
        source = await self._source(entity, "purge")
        writer, _ = await self._driver.source(entity)
        gone = 0
        while count := await writer.submit(_Purging(source, self._clock)):
            gone += count
        return gone

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        await self._source(source, "return messages to")
        return await self._driver.open_return(source)

    async def aclose(self) -> None:
        """Do nothing: the driver holds the file."""

    async def _source(self, entity: Entity, purpose: str) -> Source:
        if entity.kind is Kind.TOPIC:
            detail = f"topic {entity.name!r} keeps no messages: {purpose} one of its subscriptions"
            raise BackendError(Fault(FaultKind.INVALID, detail))
        return (await self._driver.source(entity))[1]

    def _read(self, sql: str, *parameters: object) -> list[Any]:
        with closing(connect(self._driver.path)) as connection:
            return connection.execute(sql, parameters).fetchall()


@dataclass(frozen=True, slots=True)
class _Purging:
    """Some of a source's messages that are to go; the answer is how many did."""

    RANK: ClassVar[int] = 1
    DURABLE: ClassVar[bool] = True
    AT_ONCE: ClassVar[int] = 5_000  # some 50 ms, that others wait for

    source: Source
    clock: Clock

    @classmethod
    def idle(cls, connection: sqlite3.Connection, works: Sequence[_Purging]) -> Sequence[int] | None:
        return None

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[_Purging]) -> Sequence[int]:
        return [work._run(transaction) for work in works]

    def _run(self, transaction: Transaction) -> int:
        text = transaction.value(_UNLEASED, self.source.id, self.clock.time(), self.AT_ONCE)
        numbers = decode_json(text)
        if numbers:
            remove(transaction.connection, numbers)
        return len(numbers)


# Until a claim collects it, what is over its time stands as leased or delayed still, or is there though it expired.
_STATS = f"""
SELECT waiting, leased, delayed, (SELECT at FROM message WHERE seq = oldest) FROM (
    SELECT ifnull(sum(state = 0 OR due <= ?2), 0) AS waiting,
           ifnull(sum(state = {LEASED} AND due > ?2), 0) AS leased,
           ifnull(sum(state > {LEASED} AND due > ?2), 0) AS delayed, min(seq) AS oldest
    FROM line WHERE source = ?1 AND (expires > ?2 OR (state = {LEASED} AND due > ?2)))
"""  # noqa: S608 - made of numbers only

_COUNT = f"""
SELECT count(*) FROM line WHERE source = ?1 AND (expires > ?2 OR (state = {LEASED} AND due > ?2))
"""  # noqa: S608 - made of numbers only

_AFTER = f"""
SELECT json_group_array(json_array(seq, attempt)) FROM (
    SELECT seq, attempt FROM line
    WHERE source = ?1 AND (expires > ?2 OR (state = {LEASED} AND due > ?2)) AND seq > ?3 ORDER BY seq LIMIT ?4)
"""  # noqa: S608 - made of numbers only

_UNLEASED = f"""
SELECT json_group_array(seq) FROM (
    SELECT seq FROM line WHERE source = ?1 AND (state <> {LEASED} OR due <= ?2) LIMIT ?3)
"""  # noqa: S608 - made of numbers only
