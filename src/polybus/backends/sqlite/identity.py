"""Whether the file that is open is still the one that its path names.

A store that is removed, or that a backup is moved over, goes on for those who have it open: what they commit is then in
a file that nobody will ever open again. SQLite doesn't look, so each transaction does, before its commit.
"""

from __future__ import annotations

import os
from pathlib import Path

from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["Identity"]

# SQLite's log and its index: whoever opens a store without them makes new ones, and doesn't see what is in the old.
# None of the three is ever replaced by SQLite itself while somebody has the store open.
_PARTS = ("", "-wal", "-shm")

_LEAST_SIZE = 512
"""Bytes of SQLite's smallest page: a file that was once prepared never has fewer."""


class Identity:
    """The three files of a store as they were when it was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: list[tuple[str, tuple[int, int]]] = []

    def remember(self) -> None:
        """Take note of what is there; to be called once the store was opened and read from."""
        known = []
        for part in _PARTS:
            name = f"{self._path}{part}"
            try:
                there = os.stat(name)
            except FileNotFoundError:
                if not part:
                    raise _gone(self._path, name, "removed") from None
                continue  # made at the first write, or kept in memory by this file system's SQLite
            known.append((name, (there.st_dev, there.st_ino)))
        self._known = known

    def check(self) -> None:
        """Raise BackendError (STORAGE) where one of them was removed, replaced or emptied; costs some 5 us."""
        for name, known in self._known:
            try:
                there = os.stat(name)
            except FileNotFoundError:
                raise _gone(self._path, name, "removed") from None
            if (there.st_dev, there.st_ino) != known:
                raise _gone(self._path, name, "replaced by another file")
        if self._known and os.stat(self._path).st_size < _LEAST_SIZE:
            raise _gone(self._path, str(self._path), "emptied")


def _gone(path: Path, name: str, what: str) -> BackendError:
    detail = (
        f"{path}: {name} was {what} while this process had the store open; nothing more is accepted into it. What was "
        "there and not yet handled is where that file went. Put it back while no process uses the store, or leave it "
        "(a store that is missing is made anew, empty), and restart this process"
    )
    return BackendError(Fault(FaultKind.STORAGE, detail, what.split(maxsplit=1)[0].upper()))
