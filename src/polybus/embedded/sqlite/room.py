"""Room on the disk, kept so that a store that is full can still be emptied.

Handling a message writes too: a lease and an ack each add pages to the log, and the log is only begun anew once what
it holds fits into the file. So publishing ends while there is room for that, and consuming goes on.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["Room", "empty_log"]

KEPT = 512 * 1024
"""Bytes kept for leases and acks: some twelve transactions of ten pages, after which the log is emptied again."""

AMPLE = 256 * 1024 * 1024
"""Free bytes from which nobody needs to look closer: SURE_OF in the log and in the file, and a log of 64 MiB before."""

SURE_OF = 64 * 1024 * 1024
SURE_FOR = 1.0
"""How many bytes are added without another look where there was ample room, and for how many seconds."""

# Giving pages back writes them to the log first: as many at a time as fit into half of what is kept. So many times are
# 4 MiB, some 50 ms.
_PAGES_AT_ONCE = 64
_TIMES = 16


class Room:
    """Whether there is room for more messages, for one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sure_until = float("-inf")
        self._sure_of = 0

    def require(self, connection: sqlite3.Connection, size: int) -> None:
        """Raise BackendError (STORAGE) where the disk has no room for `size` bytes more; between two transactions.

        What is no longer needed is given back to the disk first.
        """
        self._sure_of -= size
        if self._sure_of >= 0 and time.monotonic() < self._sure_until:
            return
        if self._is_ample(size) or _fits(connection, self._path, size):
            return
        empty_log(connection)
        for _ in range(_TIMES):
            if _fits(connection, self._path, size):
                return
            if not _give_back(connection):
                break
        detail = (
            f"{self._path}: the disk is full but for what is kept so that waiting messages can be handled: free some "
            "space; nothing that was accepted is lost"
        )
        raise BackendError(Fault(FaultKind.STORAGE, detail, "SQLITE_FULL"))

    def _is_ample(self, size: int) -> bool:
        ample = _free(self._path) > AMPLE + 2 * size
        if ample:
            self._sure_of, self._sure_until = SURE_OF, time.monotonic() + SURE_FOR
        return ample


def empty_log(connection: sqlite3.Connection) -> None:
    """Move what the log holds into the file, as far as that can be done now, so that it begins anew."""
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:
        return  # no room even for that, or somebody reads: what is tried next says so


def _give_back(connection: sqlite3.Connection) -> bool:
    """Give some pages back to the disk; say whether there may be more."""
    (spare,) = connection.execute("PRAGMA freelist_count").fetchone()
    if not spare:
        return False
    try:
        # It is one step a page, without a column: `execute` would stop after the first.
        connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
    except sqlite3.OperationalError:
        return False  # as above
    empty_log(connection)
    return True


def _free(path: Path) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _fits(connection: sqlite3.Connection, path: Path, size: int) -> bool:
    """Tell whether the log can take `size` bytes more, and the file all that is in the log then."""
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (spare,) = connection.execute("PRAGMA freelist_count").fetchone()
    growth = max(pages * page - os.stat(path).st_size, 0) + max(size - spare * page, 0)
    return bool(_free(path) > KEPT + growth + size)
