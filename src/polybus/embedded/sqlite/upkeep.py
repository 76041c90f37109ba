"""Keeping the file small: what expired goes, and room that was freed is given back to the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from polybus.embedded.sqlite.schema import LEASED
from polybus.embedded.sqlite.wire import encode_json

__all__ = ["Upkeep", "remove"]

EVERY = 60.0
"""Seconds between two looks for what expired where nobody consumes; a look at a million rows takes some 0.1 s."""

AT_ONCE = 1_000  # rows that one transaction expires: some 10 ms, that others wait for

# Pages (4 KiB) that stay free for the next messages, and how many are given back at a time: some 10 ms.
SPARE_PAGES = 4_096
PAGES_AT_ONCE = 1_024


def remove(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Delete messages."""
    keys = encode_json(numbers)
    connection.execute("DELETE FROM line WHERE seq IN (SELECT value FROM json_each(?))", (keys,))
    connection.execute("DELETE FROM message WHERE seq IN (SELECT value FROM json_each(?))", (keys,))


class Upkeep:
    """What the writer does now and then, beside its work."""

    def __init__(self) -> None:
        self._due = float("-inf")
        self._shrink = False

    def due(self, now: float) -> bool:
        """Tell whether it is time to look, though nobody has anything else to do."""
        return now >= self._due

    def expire(self, connection: sqlite3.Connection, now: float) -> Sequence[int]:
        """Delete some of what expired, if it is time; within a transaction. Return the sources that it was of."""
        if now < self._due:
            return ()
        rows = connection.execute(
            "SELECT seq, source FROM line WHERE expires <= ? AND (state <> ? OR due <= ?) LIMIT ?",
            (now, LEASED, now, AT_ONCE),
        ).fetchall()
        if rows:
            remove(connection, [seq for seq, _ in rows])
        self._shrink = True
        self._due = now if len(rows) == AT_ONCE else now + EVERY
        return [source for _, source in rows]

    def shrink(self, connection: sqlite3.Connection) -> None:
        """Give some free pages back to the disk, if it is time; between two transactions."""
        if not self._shrink:
            return
        try:
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            self._shrink = free > SPARE_PAGES + PAGES_AT_ONCE
            if self._shrink:
                # It is one step a page, without a column: `execute` would stop after the first.
                connection.executescript(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
        except sqlite3.OperationalError:
            # Another process has the lock, or the disk failed: the next transaction tells, the next minute tries again.
            self._shrink = False
