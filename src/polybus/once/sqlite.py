"""Claims in an SQLite file, by the standard library."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from polybus.claims import RETENTION, Busy, Claim, Done
from polybus.clock import Clock, SystemClock
from polybus.durations import Duration, seconds

__all__ = ["SqliteStore"]

T = TypeVar("T")

# Seconds to wait for another process's transaction: each is one statement or two.
_PATIENCE = 30.0

_TABLE = """
    CREATE TABLE IF NOT EXISTS polybus_once (
        scope TEXT NOT NULL, key TEXT NOT NULL, token INTEGER NOT NULL, until REAL NOT NULL, done REAL,
        PRIMARY KEY (scope, key)
    ) WITHOUT ROWID
"""
_CLAIM = """
    INSERT INTO polybus_once (scope, key, token, until) VALUES (:scope, :key, 1, :now + :lease)
    ON CONFLICT (scope, key) DO UPDATE SET token = token + 1, until = :now + :lease, done = NULL
    WHERE (done IS NULL AND until <= :now) OR done <= :horizon
    RETURNING token
"""
_MINE = "WHERE scope = :scope AND key = :key AND token = :token AND done IS NULL"


class SqliteStore:
    """Claims in an SQLite file, for any number of processes of one machine.

    `path` may be a file that others use as well; its table is `polybus_once`, and is made where it isn't there.
    `retention` is how long a key is kept. The time is the machine's, or that of `clock`.
    """

    def __init__(self, path: Path | str, *, retention: Duration = RETENTION, clock: Clock | None = None) -> None:
        self._path = str(path)
        self._retention = seconds(retention, "retention")
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()

    async def claim(self, scope: str, key: str, lease: float) -> Claim | Busy | Done:
        def claim(connection: sqlite3.Connection) -> Claim | Busy | Done:
            now = self._clock.time()
            given = {"scope": scope, "key": key, "now": now, "lease": lease, "horizon": now - self._retention}
            row = connection.execute(_CLAIM, given).fetchone()
            if row is not None:
                return Claim(scope, key, row[0])
            found = "SELECT until, done FROM polybus_once WHERE scope = :scope AND key = :key"
            until, done = connection.execute(found, {"scope": scope, "key": key}).fetchone()
            return Busy(until - now) if done is None else Done()

        return await self._do(claim)

    async def renew(self, claim: Claim, lease: float) -> bool:
        return await self._change(f"SET until = :now + {float(lease)!r}", claim)

    async def confirm(self, claim: Claim) -> bool:
        return await self._change("SET done = :now", claim)

    async def release(self, claim: Claim) -> None:
        await self._change("SET until = :now", claim)

    async def purge(self) -> int:
        def purge(connection: sqlite3.Connection) -> int:
            horizon = {"horizon": self._clock.time() - self._retention}
            old = "DELETE FROM polybus_once WHERE coalesce(done, until) <= :horizon"
            return connection.execute(old, horizon).rowcount

        return await self._do(purge)

    async def create_tables(self) -> None:
        """Make the file and its table; whatever is called first does so too."""
        await self._do(lambda connection: None)

    async def _change(self, change: str, claim: Claim) -> bool:
        given = {"scope": claim.scope, "key": claim.key, "token": claim.token}

        def update(connection: sqlite3.Connection) -> bool:
            statement = f"UPDATE polybus_once {change} {_MINE}"
            return connection.execute(statement, {**given, "now": self._clock.time()}).rowcount == 1

        return await self._do(update)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do some work in one transaction, in a thread; one at a time, as SQLite itself would have them."""

        def transaction() -> T:
            with (
                self._lock,
                closing(sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)) as connection,
            ):
                connection.execute("BEGIN IMMEDIATE")
                try:
                    connection.execute(_TABLE)  # a file has nobody else who would make it
                    result = work(connection)
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
                return result

        return await asyncio.to_thread(transaction)
