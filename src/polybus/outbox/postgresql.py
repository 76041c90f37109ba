"""An outbox in PostgreSQL: relays side by side, each with the ordering keys whose first rows it has locked.

A claim is a transaction that stays open while its rows are sent. Whose it is ends with its connection, so that what a
killed relay had is another's at once, and one that merely stands still keeps what it has. Of each key the first row is
locked (FOR UPDATE SKIP LOCKED); who has that has the key. Where that row is deleted by the time that it is locked, the
key was another's when we looked, and is left alone until the next look.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from polybus.errors import ConfigError, MissingExtra
from polybus.outbox.row import Row
from polybus.outbox.sql import (
    AFRESH,
    LOCKS,
    channel_of,
    no_tables,
    schedule_of,
    select_kept,
    select_later,
    select_targets,
    slot_of,
)
from polybus.outbox.store import COLUMNS, Answers, Kept, Later, Promoted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

__all__ = ["PostgresqlStore", "engine_of"]

# Seconds between two looks where PostgreSQL tells of what is new: for what a lost notification would leave.
LOOK = 5.0
# And where it can't tell, as behind a pool that hands its connections about.
LOOK_WITHOUT = 0.5
# And before a connection that told is opened again.
TURN = 1.0


def engine_of(way: str, rest: str) -> AsyncEngine:
    """Return an engine for the rest of a URL, by the driver that it names, or by one that is there."""
    try:
        from sqlalchemy.exc import ArgumentError
        from sqlalchemy.ext.asyncio import create_async_engine
    except ImportError as error:
        raise MissingExtra("sqlalchemy (for a relay on PostgreSQL)", "database") from error
    there = [name for name in ("asyncpg", "psycopg") if importlib.util.find_spec(name) is not None]
    if not way and not there:
        raise MissingExtra("asyncpg", "", install="asyncpg")
    try:
        return create_async_engine(f"postgresql+{way or there[0]}://{rest}")
    except ImportError as error:
        raise MissingExtra(str(error.name), "", install=str(error.name)) from error
    except (ArgumentError, ValueError):
        raise ConfigError("the outbox's URL can't be read: postgresql://user:password@host:5432/database") from None


class _Claim:
    def __init__(self, connection: AsyncConnection, table: str, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._connection = connection
        self._table = table

    async def settle(self, answers: Answers, now: float) -> None:
        if answers.sent:
            statement = f"DELETE FROM {self._table} WHERE seq = ANY(CAST(:seqs AS bigint[]))"
            await _execute(self._connection, statement, seqs=list(answers.sent))
        noted = f"""\
UPDATE {self._table} SET attempts = attempts + 1, reason = :reason, failed_at = CAST(:at AS double precision)
WHERE seq = CAST(:seq AS bigint)"""
        for seq, reason in answers.failed:
            await _execute(self._connection, noted, seq=seq, reason=_text(reason), at=now)
        for seq, reason in answers.again:
            await _execute(self._connection, noted, seq=seq, reason=_text(reason), at=None)


class PostgresqlStore:
    """The outbox in one PostgreSQL database; `owned` says that the engine is closed with it."""

    def __init__(self, engine: AsyncEngine, table: str, *, owned: bool) -> None:
        self._whole = engine
        # Each statement is to see what was committed by then.
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._table = table
        self._later = schedule_of(table)
        self._owned = owned
        self._news = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._notified = False

    async def check(self) -> None:
        async with self._engine.connect() as connection:
            for table in (self._table, self._later):
                found = await _execute(connection, "SELECT to_regclass(:table) IS NOT NULL", table=table)
                if not found.scalar():
                    raise no_tables("the database", table)

    async def targets(self) -> Sequence[str]:
        async with self._engine.connect() as connection:
            return [target for (target,) in await _execute(connection, select_targets(self._table))]

    @asynccontextmanager
    async def claim(self, target: str, count: int, room: int) -> AsyncIterator[_Claim]:
        async with self._engine.begin() as connection:
            yield _Claim(connection, self._table, await self._rows(connection, target, count, room))

    async def _rows(self, connection: AsyncConnection, target: str, count: int, room: int) -> list[Row]:
        heads = f"""\
SELECT line.seq, line.ordering_key FROM {self._table} AS line
WHERE line.target = :target AND line.failed_at IS NULL AND (line.ordering_key IS NULL OR NOT EXISTS (
  SELECT 1 FROM {self._table} AS earlier
  WHERE earlier.target = line.target AND earlier.ordering_key = line.ordering_key AND earlier.seq < line.seq
)) ORDER BY line.seq LIMIT CAST(:count AS bigint) FOR UPDATE OF line SKIP LOCKED"""
        claimed = list(await _execute(connection, heads, target=target, count=count))
        if not claimed:
            return []
        # Rows of a key are seen from its first on without a gap: who inserted one waited for the one before to commit.
        # Bodies are read last, and no more than there is room for.
        statement = f"""\
SELECT {COLUMNS}, attempts, failed_at, reason FROM {self._table} WHERE seq IN (
  SELECT seq FROM (
    SELECT seq, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS ahead FROM (
      SELECT seq, body FROM {self._table} AS line
      WHERE seq = ANY(CAST(:seqs AS bigint[])) OR (
        target = :target AND ordering_key = ANY(CAST(:keys AS text[])) AND failed_at IS NULL AND NOT EXISTS (
          SELECT 1 FROM {self._table} AS earlier WHERE earlier.target = line.target
            AND earlier.ordering_key = line.ordering_key AND earlier.seq < line.seq AND earlier.failed_at IS NOT NULL
        )
      ) ORDER BY seq LIMIT CAST(:count AS bigint)
    ) AS first
  ) AS sized WHERE ahead < CAST(:room AS bigint)
) ORDER BY seq"""
        keys = [key for _, key in claimed if key is not None]
        values = {"seqs": [seq for seq, _ in claimed], "keys": keys, "target": target, "count": count, "room": room}
        return [Row(*found) for found in await _execute(connection, statement, **values)]

    async def promote(self, now: float, count: int) -> Promoted:
        columns = COLUMNS.removeprefix("seq, ")
        due = f"""\
SELECT seq, target, ordering_key FROM {self._later} WHERE due_at <= CAST(:now AS double precision)
ORDER BY due_at, seq LIMIT CAST(:count AS bigint) FOR UPDATE SKIP LOCKED"""
        # What another relay is about to move is locked, and still there: what is due after it on its key waits for it.
        insert = f"""\
INSERT INTO {self._table} ({columns}) SELECT {columns} FROM {self._later} AS line
WHERE seq = CAST(:seq AS bigint) AND (ordering_key IS NULL OR NOT EXISTS (
  SELECT 1 FROM {self._later} AS earlier WHERE earlier.target = line.target
    AND earlier.ordering_key = line.ordering_key AND (earlier.due_at, earlier.seq) < (line.due_at, line.seq)
))"""
        moved = 0
        async with self._engine.begin() as connection:
            first = await self._first_due(connection)
            if first is None or first > now:
                return Promoted(0, first)
            free: dict[int, bool] = {}
            for seq, target, key in list(await _execute(connection, due, now=now, count=count)):
                # Never waiting for a key: what it waits for might wait for another key that is held here.
                if key is not None and not await self._locked(connection, slot_of(self._table, target, key), free):
                    continue
                if not (await _execute(connection, insert, seq=seq)).rowcount:
                    continue
                await _execute(connection, f"DELETE FROM {self._later} WHERE seq = CAST(:seq AS bigint)", seq=seq)
                moved += 1
            return Promoted(moved, await self._first_due(connection))

    async def _locked(self, connection: AsyncConnection, slot: int, free: dict[int, bool]) -> bool:
        if slot not in free:
            found = await _execute(
                connection, f"SELECT pg_try_advisory_xact_lock({LOCKS}, CAST(:slot AS integer))", slot=slot
            )
            free[slot] = bool(found.scalar())
        return free[slot]

    async def _first_due(self, connection: AsyncConnection) -> float | None:
        found: float | None = (await _execute(connection, f"SELECT min(due_at) FROM {self._later}")).scalar()
        return found

    async def wait(self, seconds: float) -> None:
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="polybus outbox news")
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, LOOK if self._notified else LOOK_WITHOUT)):
                await self._news.wait()
        self._news.clear()

    def woken(self) -> None:
        self._news.set()

    async def kept(self, count: int, *, every: bool) -> Sequence[Kept]:
        statement = f"{select_kept(self._table, every=every)} LIMIT CAST(:count AS bigint)"
        async with self._engine.connect() as connection:
            return [Kept(*found) for found in await _execute(connection, statement, count=count)]

    async def retry(self, ids: Sequence[str] | None) -> int:
        async with self._engine.begin() as connection:
            statement = f"UPDATE {self._table} SET {AFRESH} WHERE "
            changed = await self._change(connection, statement, ids)
            await _execute(connection, f"SELECT pg_notify('{channel_of(self._table)}', '')")
            return changed

    async def discard(self, ids: Sequence[str] | None) -> int:
        async with self._engine.begin() as connection:
            return await self._change(connection, f"DELETE FROM {self._table} WHERE ", ids)

    async def _change(self, connection: AsyncConnection, what: str, ids: Sequence[str] | None) -> int:
        chosen = "failed_at IS NOT NULL" if ids is None else "id = ANY(CAST(:ids AS text[]))"
        values = {} if ids is None else {"ids": list(ids)}
        free = f"seq IN (SELECT seq FROM {self._table} WHERE {chosen} FOR UPDATE SKIP LOCKED)"
        return int((await _execute(connection, what + free, **values)).rowcount)

    async def later(self, count: int) -> Sequence[Later]:
        statement = f"{select_later(self._table)} LIMIT CAST(:count AS bigint)"
        async with self._engine.connect() as connection:
            return [Later(*found) for found in await _execute(connection, statement, count=count)]

    async def cancel(self, ids: Sequence[str]) -> int:
        async with self._engine.begin() as connection:
            statement = f"DELETE FROM {self._later} WHERE id = ANY(CAST(:ids AS text[]))"
            return int((await _execute(connection, statement, ids=list(ids))).rowcount)

    async def aclose(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._listening = None
        if self._owned:
            await self._whole.dispose()

    # What is new ------------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Have `news` set by what the database tells, by a connection of its own, as often as one is lost."""
        while True:
            with suppress(Exception):  # then looks are more frequent, and what else is wrong shows there
                await self._listen_once()
            self._notified = False
            await asyncio.sleep(TURN)

    async def _listen_once(self) -> None:
        async with self._whole.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            try:
                if hasattr(driver, "add_listener"):
                    await self._listen_asyncpg(driver)
                else:
                    await self._listen_psycopg(driver)
            finally:
                with suppress(Exception):
                    await connection.invalidate()  # it listens, and is nobody else's any more

    async def _listen_asyncpg(self, driver: Any) -> None:
        def heard(*told: object) -> None:
            self._news.set()

        gone = asyncio.Event()
        driver.add_termination_listener(lambda connection: gone.set())
        await driver.add_listener(channel_of(self._table), heard)
        self._heard_from_now_on()
        await gone.wait()

    async def _listen_psycopg(self, driver: Any) -> None:
        await driver.set_autocommit(True)
        await driver.execute(f"LISTEN {channel_of(self._table)}")
        self._heard_from_now_on()
        async for _ in driver.notifies():
            self._news.set()

    def _heard_from_now_on(self) -> None:
        self._notified = True
        self._news.set()  # for what came before


async def _execute(connection: AsyncConnection, statement: str, **values: Any) -> Any:
    import sqlalchemy

    return await connection.execute(sqlalchemy.text(statement), values)


def _text(reason: str) -> str:
    return reason.replace("\0", "")
