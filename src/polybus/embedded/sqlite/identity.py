"""Whether the file that is open is still the one that its path names.

A store that is removed, or that a backup is moved over, goes on for those who have it open: what they commit is then in
a file that nobody will ever open again. SQLite doesn't look, so each transaction does, before its commit.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from polybus.embedded.sqlite import schema
from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["Identity", "StoreGone"]

# SQLite's log and its index: whoever opens a store without them makes new ones, and doesn't see what is in the old.
# None of the three is ever replaced by SQLite itself while somebody has the store open.
_PARTS = ("", "-wal", "-shm")

# A folder's time has the resolution of the kernel's tick, 4 to 10 ms: what happened in the same tick doesn't show.
_SETTLED = 0.05

_LEAST_SIZE = 512
"""Bytes of SQLite's smallest page: a file that was once prepared never has fewer."""


# What reads the first pages of each table: from the file, but for those that are in the log.
_PROBES = ("SELECT max(id) FROM source", "SELECT min(seq) FROM line", "SELECT min(seq) FROM message")


class StoreGone(BackendError):
    """The file that is open is no longer the one that the path names."""


class Identity:
    """The three files of a store as they were when it was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: list[tuple[str, tuple[int, int]]] = []
        self._looked = (0, 0)
        self._real = os.path.realpath(path)
        self._folder = os.path.dirname(self._real)
        self._unchanged: tuple[int, int, int] | None = None

    def remember(self) -> None:
        """Take note of what is there; to be called once the store was opened and read from.

        Raises StoreGone where that is another file than before.
        """
        self._check_parts()
        known = []
        for part in _PARTS:
            # By the path that was given, so that a link which leads elsewhere now is noticed; SQLite's log is where
            # the link leads.
            name = f"{self._real}{part}" if part else str(self._path)
            try:
                there = os.stat(name)
            except FileNotFoundError:
                if not part:
                    raise _gone(self._path, name, "removed") from None
                continue  # made at the first write, or kept in memory by this file system's SQLite
            known.append((name, (there.st_dev, there.st_ino)))
        self._known = known

    def forget_log(self) -> None:
        """Expect another log, since the store was closed; the file stays the one that it was."""
        self._known = self._known[:1]
        self._unchanged = None

    def check(self) -> None:
        """Raise StoreGone where one of them was removed, replaced or emptied; costs some 5 us.

        Where the file was written to since the last look, by a checkpoint or by anything else, it is opened and read
        from as by a newcomer, which raises what SQLite says of a file that was cut off or overwritten.
        """
        folder = self._folder_now()
        if folder is None or folder != self._unchanged:
            self._check_parts()
            self._unchanged = folder  # only now: a part that is gone is to be found by each look, not by the first
        there = self._look_at(*self._known[0])
        if there.st_size < _LEAST_SIZE:
            raise _gone(self._path, str(self._path), "emptied")
        if (there.st_ctime_ns, there.st_size) != self._looked and self._probe():
            self._looked = (there.st_ctime_ns, there.st_size)

    def _folder_now(self) -> tuple[int, int, int] | None:
        """Return what tells the folder's state; None where it may change again without showing.

        One look at it says that nothing was removed or replaced since the last. Each look gives up the interpreter's
        lock, which costs more than the look does where another thread computes.
        """
        try:
            there = os.stat(self._folder)
        except OSError:
            return None
        if time.time_ns() - there.st_ctime_ns <= _SETTLED * 1e9:
            return None
        # Not the time of its last modification: that may be set, and whoever restores a backup does.
        return there.st_dev, there.st_ino, there.st_ctime_ns

    def _check_parts(self) -> None:
        for name, known in self._known:
            self._look_at(name, known)

    def _look_at(self, name: str, known: tuple[int, int]) -> os.stat_result:
        try:
            there = os.stat(name)
        except FileNotFoundError:
            raise _gone(self._path, name, "removed") from None
        if (there.st_dev, there.st_ino) != known:
            raise _gone(self._path, name, "replaced by another file")
        return there

    def _probe(self) -> bool:
        """Read from the file as a newcomer; say whether that could be done."""
        try:
            with contextlib.closing(schema.connect(self._path)) as connection:
                connection.execute("PRAGMA busy_timeout = 0")
                for probe in _PROBES:
                    connection.execute(probe).fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_ERROR:  # not the tables that were there
                raise
            return False  # the log is being recovered, or no descriptor is left: the next look tells
        return True


def _gone(path: Path, name: str, what: str) -> StoreGone:
    detail = (
        f"{path}: {name} was {what} while this process had the store open; nothing more is accepted into it. What was "
        "there and not yet handled is where that file went. Put it back while no process uses the store, or leave it "
        "(a store that is missing is made anew, empty), and restart this process"
    )
    return StoreGone(Fault(FaultKind.STORAGE, detail, what.split(maxsplit=1)[0].upper()))
