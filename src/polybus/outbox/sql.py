"""The tables, and the statements that are the same in every database, or nearly so."""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

from polybus.errors import ConfigError

__all__ = [
    "AFRESH",
    "POSTGRESQL",
    "SQLITE",
    "TABLE",
    "Insertion",
    "channel_of",
    "checked",
    "ddl",
    "insertion",
    "no_tables",
    "schedule_of",
    "select_kept",
    "select_later",
    "select_targets",
    "slot_of",
]

TABLE = "polybus_outbox"
POSTGRESQL = "postgresql"
SQLITE = "sqlite"

_NAME = re.compile(r"(?:[a-z_][a-z0-9_]{0,40}\.)?[a-z_][a-z0-9_]{0,40}")

# The locks that transactions take for ordering keys have this first number ("poly"), and one of so many second ones:
# a transaction with more keys than that takes no more locks, while PostgreSQL has room for 6,400 by default.
LOCKS = 0x706F6C79
SLOTS = 4096

_MESSAGE = ("id", "token", "target", "ordering_key", "body", "content_type", "attributes", "delay", "created_at")


def checked(table: str) -> str:
    """Return a table's name; raise ValueError for what isn't a plain one, with or without a schema."""
    if not _NAME.fullmatch(table):
        raise ValueError(
            f"table={table!r}: lower-case letters, digits and _, 41 at most, after a schema's name and a dot"
        )
    return table


def schedule_of(table: str) -> str:
    """Return the name of the table of messages that are due later."""
    return f"{table}_later"


def channel_of(table: str) -> str:
    """Return the channel on which PostgreSQL tells of new rows."""
    return table.replace(".", "_")


def ddl(dialect: str, table: str = TABLE) -> tuple[str, ...]:
    """Return the statements that create the tables where they aren't there, for "sqlite" or "postgresql".

    For a migration: each is one call of Alembic's `op.execute`. Raises ValueError for another dialect.
    """
    later, short = schedule_of(checked(table)), table.rpartition(".")[2]
    if dialect == POSTGRESQL:
        serial, blob, real = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bytea", "double precision"
    elif dialect == SQLITE:
        # AUTOINCREMENT: a number that was deleted never comes again, so that none is deleted for another.
        serial, blob, real = "integer PRIMARY KEY AUTOINCREMENT", "blob", "real"
    else:
        raise ValueError(f"dialect={dialect!r}: an outbox is in {SQLITE!r} or {POSTGRESQL!r}")
    message = f"""\
  id text NOT NULL,
  token text NOT NULL,
  target text NOT NULL,
  ordering_key text,
  body {blob} NOT NULL,
  content_type text,
  attributes text NOT NULL,
  delay {real} NOT NULL,
  created_at {real} NOT NULL"""
    return (
        f"""\
CREATE TABLE IF NOT EXISTS {table} (
  seq {serial},
{message},
  attempts integer NOT NULL DEFAULT 0,
  failed_at {real},
  reason text
)""",
        f"CREATE INDEX IF NOT EXISTS {short}_waiting ON {table} (target, seq) WHERE failed_at IS NULL",
        f"CREATE INDEX IF NOT EXISTS {short}_keys ON {table} (target, ordering_key, seq) "
        "WHERE ordering_key IS NOT NULL",
        f"""\
CREATE TABLE IF NOT EXISTS {later} (
  seq {serial},
{message},
  due_at {real} NOT NULL
)""",
        f"CREATE INDEX IF NOT EXISTS {short}_due ON {later} (due_at, seq)",
        f"CREATE INDEX IF NOT EXISTS {short}_ids ON {later} (id)",
    )


def no_tables(where: str, table: str) -> ConfigError:
    """Return what is raised where the tables aren't there; `where` names the database, or says that it is one."""
    return ConfigError(
        f"{where} has no table {table}: create it with Outbox.create_tables, or what polybus.outbox.ddl gives in a "
        "migration"
    )


def select_targets(table: str) -> str:
    """Return the statement that gives the targets of what hasn't failed, one look at the index for each of them."""
    return f"""\
WITH RECURSIVE found(target) AS (
  SELECT min(target) FROM {table} WHERE failed_at IS NULL
  UNION ALL
  SELECT (SELECT min(target) FROM {table} WHERE failed_at IS NULL AND target > found.target)
  FROM found WHERE found.target IS NOT NULL
) SELECT target FROM found WHERE target IS NOT NULL"""


def select_kept(table: str, *, every: bool) -> str:
    """Return the statement that gives the fields of a `store.Kept` each, the oldest first; a LIMIT may follow."""
    chosen = "" if every else "WHERE failed_at IS NOT NULL OR attempts > 0 "
    return f"""\
SELECT id, target, ordering_key, CASE WHEN failed_at IS NOT NULL THEN 'failed' WHEN attempts > 0 THEN 'retrying'
  ELSE 'waiting' END, created_at, attempts, failed_at, reason, length(body)
FROM {table} {chosen}ORDER BY seq"""


def select_later(table: str) -> str:
    """Return the statement that gives the fields of a `store.Later` each, the soonest first; a LIMIT may follow."""
    return f"""\
SELECT id, target, ordering_key, due_at, created_at, length(body) FROM {schedule_of(table)} ORDER BY due_at, seq"""


# What has a row sent again as if it had not been tried.
AFRESH = "failed_at = NULL, attempts = 0, reason = NULL"


class Insertion(NamedTuple):
    """The statements for a table, with `:name` where a value stands; "" where none is needed.

    `lock` goes first, alone, for a message with an ordering key: it has `slot`.
    """

    lock: str
    message: str
    later: str
    cancel: str


def insertion(dialect: str, table: str) -> Insertion:
    """Return the statements with which a dialect takes messages.

    On PostgreSQL transactions that publish with one ordering key go one after the other, from that publish to their
    end: the numbers of a key's rows, which are what the relay goes by, have the order of the commits. On SQLite all
    transactions that write do.
    """
    later = schedule_of(table)
    columns, values = ", ".join(_MESSAGE), ", ".join(f":{name}" for name in _MESSAGE)
    message = f"INSERT INTO {table} ({columns}) VALUES ({values})"
    scheduled = f"INSERT INTO {later} ({columns}, due_at) VALUES ({values}, :due_at)"
    cancel = f"DELETE FROM {later} WHERE id = :id"
    if dialect == SQLITE:
        return Insertion("", message, scheduled, cancel)
    told = f"SELECT pg_notify('{channel_of(table)}', '') FROM added"
    return Insertion(
        f"SELECT pg_advisory_xact_lock({LOCKS}, :slot)",
        f"WITH added AS ({message} RETURNING seq) {told}",
        f"WITH added AS ({scheduled} RETURNING seq) {told}",
        cancel,
    )


def slot_of(table: str, target: str, key: str) -> int:
    """Return the number of the lock of an ordering key; few share one, and then only wait for each other."""
    return zlib.crc32(f"{table}\0{target}\0{key}".encode()) % SLOTS
