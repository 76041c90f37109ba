"""What SQLite's errors mean."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from polybus.errors import BackendError, BusClosed, ConfigError, Fault, FaultKind

__all__ = ["fault", "passing"]

# Primary result codes, from https://www.sqlite.org/rescode.html
_STORAGE = {
    sqlite3.SQLITE_FULL: "the disk, or the quota, is full: free some space; nothing that was accepted is lost",
    sqlite3.SQLITE_READONLY: "the file or its folder can't be written: give this user the right to write both",
    sqlite3.SQLITE_PERM: "the file can't be opened for lack of rights: give this user the right to write it",
    sqlite3.SQLITE_CANTOPEN: "the file can't be opened: check that its folder exists and that this user may write it",
    sqlite3.SQLITE_AUTH: "the file can't be opened for lack of rights: give this user the right to write it",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: copy it, try `sqlite3 FILE .recover`, or move it away to begin anew",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database: give another path, or move it away",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write, or a limit on file sizes was met: check the disk",
    sqlite3.SQLITE_NOLFS: "the file is too large for this file system: move it to another",
    sqlite3.SQLITE_SCHEMA: "the tables were changed by another program: move the file away, or undo the change",
    sqlite3.SQLITE_ERROR: "the tables are not as polybus made them: move the file away, or undo the change",
    sqlite3.SQLITE_PROTOCOL: "the file's locks don't work: it must be on a local file system",
}


_RIGHTS = "give this user the right to write the file and its folder"


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def fault(error: Exception, path: Path) -> Fault:
    """Say what an error of SQLite, or of the file system, means for the store at `path`."""
    if isinstance(error, BackendError):
        return error.fault
    if isinstance(error, ConfigError):
        return Fault(FaultKind.INVALID, str(error))  # the store is as it is: trying again changes nothing
    if isinstance(error, BusClosed):
        return Fault(FaultKind.CANCELLED, f"{path}: {error}")
    if isinstance(error, OSError):
        hint = _RIGHTS if isinstance(error, PermissionError) or error.errno == errno.EROFS else "check the path"
        return Fault(FaultKind.STORAGE, f"{path}: {error.strerror or type(error).__name__}: {hint}", _name(error))
    if not isinstance(error, sqlite3.Error):
        return Fault(FaultKind.INTERNAL, f"{path}: {type(error).__name__}")
    code: int | None = getattr(error, "sqlite_errorcode", None)  # absent where Python, not SQLite, raised it
    if code is None:
        return Fault(FaultKind.INTERNAL, f"{path}: {type(error).__name__}")
    name: str = error.sqlite_errorname
    primary = code & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Fault(FaultKind.UNAVAILABLE, f"{path}: another process holds its lock for too long", name)
    if primary == sqlite3.SQLITE_TOOBIG:
        return Fault(FaultKind.TOO_LARGE, f"{path}: over SQLite's limit of one value, 1,000,000,000 bytes", name)
    if primary in _STORAGE:
        return Fault(FaultKind.STORAGE, f"{path}: {_STORAGE[primary]}", name)
    return Fault(FaultKind.INTERNAL, f"{path}: {name}", name)


# What ends when somebody makes room or the disk comes back. For a publisher it is final, since it has to be told now; a
# consumer has nothing better to do than to wait for it, and what it holds must be settled in time.
_PASSES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def passing(error: sqlite3.Error, path: Path) -> Exception:
    """Return what a consumer raises for an error: one that can be tried again where the disk may recover."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is None or code & 0xFF not in _PASSES:
        return error
    told = fault(error, path)
    return BackendError(Fault(FaultKind.UNAVAILABLE, told.detail, told.code))
