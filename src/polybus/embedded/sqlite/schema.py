"""The file: its tables, its version, and how a connection to it is made.

A message in one subscription or queue (a source) is a row of `message`, written once, and a row of `line`, small,
that moves between three states. So a lease or a delay never rewrites a body.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from polybus.errors import BackendError, Fault, FaultKind

__all__ = [
    "DELAYED",
    "LEASED",
    "LEAST_SQLITE",
    "READY",
    "VERSION",
    "begin",
    "connect",
    "is_busy",
    "is_full",
    "open_file",
    "reopen",
    "transaction",
]

VERSION = 2
"""The version of the tables, kept in the file's `user_version`."""

APPLICATION = 0x706F6C79  # "poly", in the file's `application_id`: tells it from any other SQLite file

LEAST_SQLITE = (3, 33, 0)  # UPDATE FROM

READY, LEASED, DELAYED = 0, 1, 2
"""States of a line: `due` is when a lease ends or a delay is over; until then it is not to be delivered.

`due`, `expires` and `since` are in the store's own time (timeline.py), not of a clock.
"""

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process's transaction; the longest that one holds the lock is a second or two."""

_TIME = """
CREATE TABLE time (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    now REAL NOT NULL,                      -- the store's time; what follows are readings of that moment
    monotonic REAL NOT NULL,
    wall REAL NOT NULL,
    slept REAL NOT NULL,
    origin TEXT NOT NULL                    -- of `monotonic`: which boot of which machine
);
"""

# From version 1; the times are converted once it is known what time it is (timeline.py).
_TO_VERSION_2 = f"""
ALTER TABLE source ADD COLUMN kind TEXT;
ALTER TABLE line ADD COLUMN since REAL NOT NULL DEFAULT 0;
ALTER TABLE line ADD COLUMN claim INTEGER NOT NULL DEFAULT 0;
{_TIME}
"""

_TABLES = """
CREATE TABLE source (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,
    ordered INTEGER NOT NULL,
    kind TEXT                               -- NULL from version 1, until it is next opened
);
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: a late receipt must not fit a later message
    head BLOB NOT NULL,                     -- msgpack: id, ordering key, content type, attributes
    body BLOB,                              -- NULL where it is shared
    shared INTEGER,                         -- body.id
    published REAL NOT NULL,
    at REAL NOT NULL,                       -- the time of day when it came here, for people
    moves INTEGER NOT NULL,
    letter BLOB                             -- msgpack: reason, description; dead letters only
);
CREATE INDEX message_shared ON message (shared) WHERE shared IS NOT NULL;
CREATE TABLE body (
    id INTEGER PRIMARY KEY,
    content BLOB NOT NULL
);
CREATE TABLE line (
    seq INTEGER PRIMARY KEY,                -- message.seq
    source INTEGER NOT NULL,
    state INTEGER NOT NULL,                 -- 0 ready, 1 leased, 2 delayed
    grp TEXT NOT NULL,                      -- the ordering key, or whose it is where that is asked; else empty
    due REAL NOT NULL,
    attempt INTEGER NOT NULL,
    expires REAL NOT NULL,
    size INTEGER NOT NULL,
    since REAL NOT NULL DEFAULT 0,          -- when it came here, for its age
    claim INTEGER NOT NULL DEFAULT 0        -- of its last lease: attempts may be counted back, this never comes again
);
CREATE INDEX line_next ON line (source, state, grp, seq);
CREATE INDEX line_due ON line (source, due) WHERE state > 0;
CREATE TRIGGER message_gone AFTER DELETE ON message WHEN old.shared IS NOT NULL BEGIN
    DELETE FROM body WHERE id = old.shared AND NOT EXISTS (SELECT 1 FROM message WHERE shared = old.shared);
END;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Connect to a file that is there; transactions are begun and ended by hand."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def is_busy(error: BaseException) -> bool:
    """Tell whether another process's lock was in the way."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def is_full(error: BaseException) -> bool:
    """Tell whether there was no room on the disk."""
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL


def begin(connection: sqlite3.Connection, timeout: float = BUSY_TIMEOUT) -> None:
    """Take the write lock, waiting up to `timeout` seconds; raises sqlite3.OperationalError (SQLITE_BUSY) after it.

    SQLite's own wait sleeps up to 100 ms between two looks, which is a hundred times what a transaction takes.
    """
    patiently(lambda: connection.execute("BEGIN IMMEDIATE"), timeout)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do what is in the block in one transaction, or nothing of it."""
    begin(connection)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def patiently(action: Callable[[], object], timeout: float = BUSY_TIMEOUT) -> None:
    """Do it again as long as another process's lock is in the way, for `timeout` seconds at most."""
    deadline = time.monotonic() + timeout
    pause = 0.0002
    while True:
        try:
            action()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(pause)
            pause = min(pause * 1.5, 0.005)
        else:
            return


def open_file(path: Path) -> sqlite3.Connection:
    """Connect for writing; make the file and its tables where they are missing.

    Raises sqlite3.Error or OSError for what the system says, and BackendError (STORAGE) for a file of another kind or
    of a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    connection = connect(path)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def reopen(path: Path) -> sqlite3.Connection:
    """Connect for writing to a file that was prepared before."""
    connection = connect(path)
    try:
        _limit_log(connection)
        # The first read opens the log, too: from then on nobody else takes it for unused and removes it.
        connection.execute("SELECT count(*) FROM source").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection, path)
    if not version:
        _create(connection, path)
    elif version < VERSION:
        _upgrade(connection, path)
    _limit_log(connection)


def _limit_log(connection: sqlite3.Connection) -> None:
    # A log that has grown through a burst is cut back to this many bytes by the checkpoint after it.
    connection.execute("PRAGMA journal_size_limit = 67108864")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables; 0 for an empty file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == APPLICATION:
        if version > VERSION:
            raise _refused(
                f"{path} has version {version}, and this polybus reads {VERSION}: upgrade polybus here, or give "
                "another path"
            )
        return int(version)
    if application or version or tables:
        raise _refused(f"{path} is an SQLite file of another program: give another path")
    return 0


def _create(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # can't be changed once there are tables
    # Of several processes that come first at once, those that find the lock taken are not made to wait by SQLite.
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
    with transaction(connection):
        if not _version(connection, path):  # another process may have been faster
            for statement in _statements(_TABLES + _TIME):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables of an older version up to this one; what they hold stays."""
    with transaction(connection):
        if _version(connection, path) < VERSION:  # another process may have been faster
            for statement in _statements(_TO_VERSION_2):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _statements(script: str) -> list[str]:
    """Split a script; `executescript` would commit the transaction that is open."""
    statements: list[str] = []
    text = ""
    for line in script.strip().splitlines():
        text += line + "\n"
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements


def _refused(detail: str) -> BackendError:
    return BackendError(Fault(FaultKind.STORAGE, detail))
