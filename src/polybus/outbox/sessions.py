"""The connections and sessions of callers: what runs a statement in the transaction that is under way there.

They are known by the package that their class comes from, so that nothing is imported for those that aren't used.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from polybus.outbox.sql import POSTGRESQL, SQLITE

__all__ = ["Awaited", "Blocking", "awaited", "blocking"]

Values = Mapping[str, Any]

_PARAMETER = re.compile(r":(\w+)")
_KINDS = (
    "a SQLAlchemy session or connection, or a connection of psycopg, asyncpg, aiosqlite, sqlite3 or Django "
    "(django.db.connection)"
)
_NO_TRANSACTION = "no transaction is under way: a message is published in one, with what it tells of"


class Blocking(NamedTuple):
    """Runs one statement and returns how many rows it changed."""

    dialect: str
    run: Callable[[str, Values], int]


class Awaited(NamedTuple):
    """Runs one statement and returns how many rows it changed."""

    dialect: str
    run: Callable[[str, Values], Awaitable[int]]


def blocking(target: Any) -> Blocking:
    """Return what runs statements on a connection or session that blocks.

    Raises TypeError for what is none, ValueError where no transaction is under way or its database is another.
    """
    packages = _packages(target)
    if "sqlalchemy" in packages and not _is_async(target):
        return _sqlalchemy(target)
    if "psycopg" in packages and not _is_async(target):
        return _psycopg(target)
    if "django" in packages:
        return _django(target)
    if "sqlite3" in packages:
        return _sqlite3(target)
    if packages & {"sqlalchemy", "psycopg", "asyncpg", "aiosqlite"}:
        raise TypeError(f"{_type(target)} is for async code: await the outbox's other method, without _sync")
    raise TypeError(f"{_type(target)} is no place for an outbox: {_KINDS}")


async def awaited(target: Any) -> Awaited:
    """Return what runs statements on a connection or session of async code; raises as `blocking`."""
    packages = _packages(target)
    if "sqlalchemy" in packages and _is_async(target):
        return await _sqlalchemy_async(target)
    if "psycopg" in packages and _is_async(target):
        return _psycopg_async(target)
    if "asyncpg" in packages:
        return _asyncpg(target)
    if "aiosqlite" in packages:
        return _aiosqlite(target)
    if packages & {"sqlalchemy", "psycopg", "django", "sqlite3"}:
        raise TypeError(f"{_type(target)} blocks: use the outbox's method of the same name with _sync")
    raise TypeError(f"{_type(target)} is no place for an outbox: {_KINDS}")


def _packages(target: object) -> set[str]:
    return {kind.__module__.partition(".")[0] for kind in type(target).__mro__}


def _is_async(target: object) -> bool:
    return any(
        kind.__module__.startswith("sqlalchemy.ext.asyncio") or kind.__name__ == "AsyncConnection"
        for kind in type(target).__mro__
    )


def _known(dialect: str) -> str:
    if dialect not in (POSTGRESQL, SQLITE):
        raise ValueError(f"an outbox is in PostgreSQL or SQLite, and this is {dialect}")
    return dialect


def _sqlalchemy(target: Any) -> Blocking:
    import sqlalchemy

    connection = target.connection() if hasattr(target, "get_bind") else target
    _refuse_autocommit(connection)

    def run(statement: str, values: Values) -> int:
        result = connection.execute(sqlalchemy.text(statement), dict(values))
        changed: int = result.rowcount
        result.close()
        return changed

    return Blocking(_known(connection.dialect.name), run)


async def _sqlalchemy_async(target: Any) -> Awaited:
    import sqlalchemy

    connection = await target.connection() if hasattr(target, "get_bind") else target
    _refuse_autocommit(connection.sync_connection)

    async def run(statement: str, values: Values) -> int:
        result = await connection.execute(sqlalchemy.text(statement), dict(values))
        changed: int = result.rowcount
        result.close()
        return changed

    return Awaited(_known(connection.dialect.name), run)


def _refuse_autocommit(connection: Any) -> None:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        raise ValueError(_NO_TRANSACTION)


def _psycopg(target: Any) -> Blocking:
    _check_psycopg(target)

    def run(statement: str, values: Values) -> int:
        return int(target.execute(_pyformat(statement), values).rowcount)

    return Blocking(POSTGRESQL, run)


def _psycopg_async(target: Any) -> Awaited:
    _check_psycopg(target)

    async def run(statement: str, values: Values) -> int:
        return int((await target.execute(_pyformat(statement), values)).rowcount)

    return Awaited(POSTGRESQL, run)


def _check_psycopg(target: Any) -> None:
    # Without autocommit the first statement begins one.
    if target.autocommit and target.info.transaction_status.name == "IDLE":
        raise ValueError(_NO_TRANSACTION)


def _asyncpg(target: Any) -> Awaited:
    if not target.is_in_transaction():
        raise ValueError(_NO_TRANSACTION)

    async def run(statement: str, values: Values) -> int:
        numbered, names = _numbered(statement)
        status: str = await target.execute(numbered, *(values[name] for name in names))
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    return Awaited(POSTGRESQL, run)


def _django(target: Any) -> Blocking:
    if not target.in_atomic_block and target.get_autocommit():
        raise ValueError(_NO_TRANSACTION)

    def run(statement: str, values: Values) -> int:
        with target.cursor() as cursor:
            cursor.execute(_pyformat(statement), values)
            return int(cursor.rowcount)

    return Blocking(_known(target.vendor), run)


def _sqlite3(target: Any) -> Blocking:
    _check_sqlite3(target)

    def run(statement: str, values: Values) -> int:
        cursor = target.execute(statement, values)
        changed: int = cursor.rowcount
        cursor.close()
        return changed

    return Blocking(SQLITE, run)


def _aiosqlite(target: Any) -> Awaited:
    _check_sqlite3(target)

    async def run(statement: str, values: Values) -> int:
        cursor = await target.execute(statement, values)
        changed: int = cursor.rowcount
        await cursor.close()
        return changed

    return Awaited(SQLITE, run)


def _check_sqlite3(target: Any) -> None:
    # With an isolation level (the default) an INSERT begins one; Python 3.12 has `autocommit` beside it.
    begins = target.isolation_level is not None and getattr(target, "autocommit", -1) is not True
    if not begins and not target.in_transaction:
        raise ValueError(_NO_TRANSACTION)


@functools.cache
def _pyformat(statement: str) -> str:
    return _PARAMETER.sub(r"%(\1)s", statement)


@functools.cache
def _numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    names = tuple(dict.fromkeys(_PARAMETER.findall(statement)))
    return _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement), names


def _type(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
