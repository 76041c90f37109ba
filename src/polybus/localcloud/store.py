"""Where a local server keeps what it must not lose: rows in SQLite, committed in groups.

A server holds its state in memory and mirrors each accepted change here with `put` and `delete`, then awaits
`commit()` before it answers. All changes made since the last transaction become durable in one (WAL, synchronous=FULL),
so that many requests share one fsync. Without a folder nothing is kept, and `commit` returns at once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Row", "Store"]

Row = tuple[str, str, bytes]
"""A table, a key, and the value as MessagePack."""

_DELETED = object()


class Store:
    """Rows of (table, key) -> value, in memory only or in `folder`/`name`.db.

    Values are anything that msgspec can write as MessagePack and read back without a type: dicts, lists, strings,
    bytes, numbers, None. For one event loop; `commit` is the only call that waits.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self._path = None if folder is None else folder / f"{name}.db"
        self._changes: dict[tuple[str, str], Any] = {}
        self._connection: sqlite3.Connection | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._committing: asyncio.Task[None] | None = None
        self._memory: dict[tuple[str, str], bytes] | None = None

    @property
    def durable(self) -> bool:
        """Whether rows are kept at all, in the file or, once `mirror` was called, in memory."""
        return self._path is not None or self._memory is not None

    def mirror(self) -> None:
        """Keep rows in memory where there is no folder, so that `rows` and `replace` have something; before `open`."""
        if self._path is None:
            self._memory = {}

    async def rows(self) -> list[Row]:
        """Return every row as it is kept."""
        if self._memory is not None:
            return [(kind, key, value) for (kind, key), value in self._memory.items()]
        await self.commit()
        if self._connection is None:
            return []
        return list(self._connection.execute("SELECT kind, key, value FROM rows"))

    def replace(self, rows: Iterable[Row]) -> None:
        """Keep these rows and no others; only while it is closed."""
        if self._memory is not None:
            self._memory = {(kind, key): value for kind, key, value in rows}
            return
        if self._path is None:
            return
        self.open()
        assert self._connection is not None and self._executor is not None  # noqa: S101, PT018 - opened just now
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM rows")
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
        self._release()

    def open(self) -> None:
        """Open or create the file; raise OSError or sqlite3.Error where that can't be done."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS rows (kind TEXT, key TEXT, value BLOB, PRIMARY KEY (kind, key)) WITHOUT ROWID"
        )
        self._connection = connection
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")

    def load(self, table: str) -> Iterator[tuple[str, Any]]:
        """Yield what the file holds of `table`, ordered by key; call it before the first `put`."""
        if self._memory is not None:
            for (kind, key), encoded in sorted(self._memory.items()):
                if kind == table:
                    yield key, msgspec.msgpack.decode(encoded)
            return
        if self._connection is None:
            return
        for key, value in self._connection.execute("SELECT key, value FROM rows WHERE kind = ? ORDER BY key", (table,)):
            yield key, msgspec.msgpack.decode(value)

    def put(self, table: str, key: str, value: object) -> None:
        """Set a row; it is durable after the next `commit`."""
        if self._memory is not None:
            self._memory[table, key] = msgspec.msgpack.encode(value)
        elif self._path is not None:
            self._changes[table, key] = msgspec.msgpack.encode(value)

    def delete(self, table: str, key: str) -> None:
        """Remove a row; it is gone for good after the next `commit`."""
        if self._memory is not None:
            self._memory.pop((table, key), None)
        elif self._path is not None:
            self._changes[table, key] = _DELETED

    async def commit(self) -> None:
        """Return once everything that was put and deleted before this call is durable."""
        if self._path is None:
            return
        # A commit that is under way may have begun before our changes: it ends, and the next one has them all.
        running = self._committing
        if running is not None and not running.done():
            await asyncio.shield(running)
        if self._changes and (self._committing is None or self._committing.done()):
            self._committing = asyncio.create_task(self._write())
        if self._committing is not None:
            await asyncio.shield(self._committing)

    async def _write(self) -> None:
        changes, self._changes = self._changes, {}
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._transaction, changes)
        except BaseException:
            self._changes = {**changes, **self._changes}  # for the next commit: the disk may have room again
            raise

    def _transaction(self, changes: dict[tuple[str, str], Any]) -> None:
        assert self._connection is not None  # noqa: S101 - opened before any put
        puts = [(kind, key, value) for (kind, key), value in changes.items() if value is not _DELETED]
        deletes = [row for row, value in changes.items() if value is _DELETED]
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", puts)
            connection.executemany("DELETE FROM rows WHERE kind = ? AND key = ?", deletes)

    async def close(self) -> None:
        """Commit what is left and close the file."""
        await self.commit()
        self._release()

    def _release(self) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
