"""An outbox in SQLite: one relay at a time sends, and others wait for its end.

Which of them it is, SQLite's own locks say: it holds a transaction open in a file beside the database, for as long as
it lives. So a relay that was killed is followed at once, and one that merely stands still by none that would overtake
it. The database itself is locked for no longer than a statement takes, however long sending does.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from polybus.errors import ConfigError
from polybus.outbox.row import Row
from polybus.outbox.sql import AFRESH, no_tables, schedule_of, select_kept, select_later, select_targets
from polybus.outbox.store import COLUMNS, Answers, Kept, Later, Promoted

__all__ = ["SqliteStore"]

T = TypeVar("T")

# Seconds that a statement waits for the app's transactions.
BUSY = 30.0
# Seconds between two looks, from the first after something was there to the last while nothing comes: nobody tells of
# what another process committed.
FIRST_LOOK = 0.02
LAST_LOOK = 0.5

_ROW = f"SELECT {COLUMNS}, attempts, failed_at, reason FROM"


class _Claim:
    def __init__(self, store: SqliteStore, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._store = store

    async def settle(self, answers: Answers, now: float) -> None:
        await self._store.run(lambda database: self._store.settle(database, answers, now))


class SqliteStore:
    """The outbox in one SQLite file."""

    def __init__(self, path: Path, table: str) -> None:
        self._path = path
        self._table = table
        self._later = schedule_of(table)
        self._database: sqlite3.Connection | None = None
        self._guard: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="polybus outbox")
        self._look = FIRST_LOOK
        self._news = asyncio.Event()
        # Of other relays the guard keeps it; these keep one claim of it from another.
        self._claims: dict[str, asyncio.Lock] = {}

    async def check(self) -> None:
        def look(database: sqlite3.Connection) -> None:
            known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {self._table, self._later} <= known:
                raise no_tables(str(self._path), self._table)

        await self.run(look)

    async def targets(self) -> Sequence[str]:
        statement = select_targets(self._table)

        def look(database: sqlite3.Connection) -> list[str]:
            if not self._leads():
                return []
            return [target for (target,) in database.execute(statement)]

        return await self.run(look)

    @asynccontextmanager
    async def claim(self, target: str, count: int, room: int) -> AsyncIterator[_Claim]:
        # Room is counted before the bodies are read: the inner SELECT takes the length of each from its header.
        statement = f"""\
{_ROW} {self._table} WHERE seq IN (
  SELECT seq FROM (
    SELECT seq, sum(length(body)) OVER (ORDER BY seq) - length(body) AS ahead FROM (
      SELECT seq, body FROM {self._table} AS line
      WHERE target = :target AND failed_at IS NULL AND (ordering_key IS NULL OR NOT EXISTS (
        SELECT 1 FROM {self._table} AS earlier WHERE earlier.target = line.target
          AND earlier.ordering_key = line.ordering_key AND earlier.seq < line.seq AND earlier.failed_at IS NOT NULL
      )) ORDER BY seq LIMIT :count
    )
  ) WHERE ahead < :room
) ORDER BY seq"""

        def look(database: sqlite3.Connection) -> list[Row]:
            values = {"target": target, "count": count, "room": room}
            return [Row(*found) for found in database.execute(statement, values)]

        async with self._claims.setdefault(target, asyncio.Lock()):
            yield _Claim(self, await self.run(look))

    def settle(self, database: sqlite3.Connection, answers: Answers, now: float) -> None:
        """Write down what became of rows, in one transaction."""
        with _transaction(database):
            database.execute(
                f"DELETE FROM {self._table} WHERE seq IN (SELECT value FROM json_each(?))",
                (json.dumps(list(answers.sent)),),
            )
            noted = f"UPDATE {self._table} SET attempts = attempts + 1, reason = ?, failed_at = ? WHERE seq = ?"
            database.executemany(noted, [(reason, now, seq) for seq, reason in answers.failed])
            database.executemany(noted, [(reason, None, seq) for seq, reason in answers.again])

    async def promote(self, now: float, count: int) -> Promoted:
        columns = COLUMNS.removeprefix("seq, ")

        def move(database: sqlite3.Connection) -> Promoted:
            if not self._leads():
                return Promoted(0, None)
            first = _first_due(database, self._later)
            if first is None or first > now:
                return Promoted(0, first)
            with _transaction(database):
                due = f"SELECT seq FROM {self._later} WHERE due_at <= ? ORDER BY due_at, seq LIMIT ?"
                moved = [seq for (seq,) in database.execute(due, (now, count))]
                for seq in moved:
                    database.execute(
                        f"INSERT INTO {self._table} ({columns}) SELECT {columns} FROM {self._later} WHERE seq = ?",
                        (seq,),
                    )
                    database.execute(f"DELETE FROM {self._later} WHERE seq = ?", (seq,))
            return Promoted(len(moved), _first_due(database, self._later))

        return await self.run(move)

    async def wait(self, seconds: float) -> None:
        look = self._look
        self._look = min(2 * look, LAST_LOOK)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, look)):
                await self._news.wait()
        self._news.clear()

    async def kept(self, count: int, *, every: bool) -> Sequence[Kept]:
        statement = f"{select_kept(self._table, every=every)} LIMIT ?"
        return await self.run(lambda database: [Kept(*found) for found in database.execute(statement, (count,))])

    async def retry(self, ids: Sequence[str] | None) -> int:
        return await self._change(f"UPDATE {self._table} SET {AFRESH}", ids)

    async def discard(self, ids: Sequence[str] | None) -> int:
        return await self._change(f"DELETE FROM {self._table}", ids)

    async def _change(self, what: str, ids: Sequence[str] | None) -> int:
        chosen = "failed_at IS NOT NULL" if ids is None else "id IN (SELECT value FROM json_each(?))"
        values = () if ids is None else (json.dumps(list(ids)),)
        return await self.run(lambda database: database.execute(f"{what} WHERE {chosen}", values).rowcount)

    async def later(self, count: int) -> Sequence[Later]:
        statement = f"{select_later(self._table)} LIMIT ?"
        return await self.run(lambda database: [Later(*found) for found in database.execute(statement, (count,))])

    async def cancel(self, ids: Sequence[str]) -> int:
        statement = f"DELETE FROM {self._later} WHERE id IN (SELECT value FROM json_each(?))"
        values = (json.dumps(list(ids)),)
        return await self.run(lambda database: database.execute(statement, values).rowcount)

    async def aclose(self) -> None:
        def close() -> None:
            for each in (self._database, self._guard):
                if each is not None:
                    each.close()
            self._database = self._guard = None

        await asyncio.get_running_loop().run_in_executor(self._thread, close)
        self._thread.shutdown(wait=False)

    def woken(self) -> None:
        self._look = FIRST_LOOK
        self._news.set()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a piece of work in the store's thread; once begun, it is done also where the caller is cancelled."""

        def call() -> T:
            if self._database is None:
                self._database = _opened(self._path)
            return work(self._database)

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _leads(self) -> bool:
        """Say whether this relay is the one that sends; become it where there is none."""
        if self._guard is not None:
            return True
        guard = sqlite3.connect(f"{self._path}-relay", timeout=0, isolation_level=None)
        try:
            guard.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            guard.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            return False
        self._guard = guard
        return True


def _opened(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise ConfigError(f"{path}, which is to hold the outbox, is no file")
    return sqlite3.connect(path, timeout=BUSY, isolation_level=None)


def _first_due(database: sqlite3.Connection, later: str) -> float | None:
    with closing(database.execute(f"SELECT min(due_at) FROM {later}")) as found:
        first: Any = found.fetchone()[0]
    return first if first is None else float(first)


class _transaction:
    """A transaction that takes the lock to write at its beginning, so that it can't fail half-way for it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")
