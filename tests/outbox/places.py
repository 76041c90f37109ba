"""The same transaction by each kind of connection that an outbox takes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import django
import psycopg
import sqlalchemy
from django.conf import settings
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from databases import POSTGRESQL_MISSING, Postgresql
from polybus.outbox import Outbox
from polybus.outbox.sql import ddl

DIALECTS = ("sqlite",) if POSTGRESQL_MISSING else ("sqlite", "postgresql")
_ALIASES = (f"test{number}" for number in itertools.count())


class Undo(Exception):
    """Ends a transaction without a commit."""


@dataclass
class Database:
    """One database with an outbox; `url` is what a relay is given, without a driver."""

    dialect: str
    url: str
    conninfo: str
    django: dict[str, Any]

    def sqlalchemy_url(self, driver: str) -> str:
        return self.url.replace("://", f"+{driver}://", 1)

    def connect(self) -> Any:
        """Return a plain connection of the database's own kind, which blocks."""
        return sqlite3.connect(self.conninfo) if self.dialect == "sqlite" else psycopg.connect(self.conninfo)

    def rows(self, table: str = "polybus_outbox") -> list[dict[str, Any]]:
        """Return what a table has, in the order of its numbers."""
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.execute(f"SELECT * FROM {table} ORDER BY seq")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def sqlite_database(folder: Path) -> Database:
    path = folder / "shop.db"
    database = Database(
        "sqlite", f"sqlite:///{path}", str(path), {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
    )
    return _with_tables(database)


def postgresql_database(server: Postgresql) -> Database:
    name = server.database()
    parts = {"ENGINE": "django.db.backends.postgresql", "NAME": name, "HOST": str(server.folder), "USER": "polybus"}
    return _with_tables(Database("postgresql", server.url(name), server.conninfo(name), parts))


def _with_tables(database: Database) -> Database:
    with contextlib.closing(database.connect()) as connection:
        for statement in ddl(database.dialect):
            connection.execute(statement)
        connection.execute("CREATE TABLE orders (id text)")
        connection.commit()
    return database


@dataclass(frozen=True)
class Step:
    """A call of an outbox by its name without `_sync`, with what follows the session."""

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


def step(method: str, *arguments: Any, **options: Any) -> Step:
    return Step(method, arguments, options)


@contextlib.contextmanager
def _sqlite3(database: Database) -> Iterator[Any]:
    with contextlib.closing(sqlite3.connect(database.conninfo)) as connection, connection:
        yield connection


@contextlib.contextmanager
def _psycopg(database: Database) -> Iterator[Any]:
    with psycopg.connect(database.conninfo) as connection:
        yield connection


@contextlib.contextmanager
def _psycopg_autocommit(database: Database) -> Iterator[Any]:
    with psycopg.connect(database.conninfo, autocommit=True) as connection, connection.transaction():
        yield connection


@contextlib.contextmanager
def _session(database: Database) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(
        database.sqlalchemy_url("pysqlite" if database.dialect == "sqlite" else "psycopg")
    )
    try:
        with sessionmaker(engine)() as session, session.begin():
            yield session
    finally:
        engine.dispose()


@contextlib.contextmanager
def _connection(database: Database) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(
        database.sqlalchemy_url("pysqlite" if database.dialect == "sqlite" else "psycopg")
    )
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextlib.contextmanager
def _django(database: Database) -> Iterator[Any]:
    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    from django.db import connections, transaction

    alias = next(_ALIASES)
    connections.settings = connections.configure_settings({"default": {}, alias: database.django})
    try:
        with transaction.atomic(using=alias):
            yield connections[alias]
    finally:
        connections[alias].close()


@contextlib.asynccontextmanager
async def _aiosqlite(database: Database) -> AsyncIterator[Any]:
    async with aiosqlite.connect(database.conninfo) as connection:
        yield connection
        await connection.commit()


@contextlib.asynccontextmanager
async def _psycopg_async(database: Database) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(database.conninfo) as connection:
        yield connection


@contextlib.asynccontextmanager
async def _asyncpg(database: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _asyncpg_pool(database: Database) -> AsyncIterator[Any]:
    async with (
        asyncpg.create_pool(database.url, min_size=1) as pool,
        pool.acquire() as connection,
        connection.transaction(),
    ):
        yield connection


def _async_session(driver: str) -> Callable[[Database], Any]:
    @contextlib.asynccontextmanager
    async def opened(database: Database) -> AsyncIterator[Any]:
        engine = create_async_engine(database.sqlalchemy_url(driver))
        try:
            async with async_sessionmaker(engine)() as session, session.begin():
                yield session
        finally:
            await engine.dispose()

    return opened


def _async_connection(driver: str) -> Callable[[Database], Any]:
    @contextlib.asynccontextmanager
    async def opened(database: Database) -> AsyncIterator[Any]:
        engine = create_async_engine(database.sqlalchemy_url(driver))
        try:
            async with engine.begin() as connection:
                yield connection
        finally:
            await engine.dispose()

    return opened


BLOCKING: dict[str, dict[str, Callable[[Database], Any]]] = {
    "sqlite": {"sqlite3": _sqlite3, "session": _session, "connection": _connection, "django": _django},
    "postgresql": {
        "psycopg": _psycopg,
        "psycopg, autocommit": _psycopg_autocommit,
        "session": _session,
        "connection": _connection,
        "django": _django,
    },
}
AWAITED: dict[str, dict[str, Callable[[Database], Any]]] = {
    "sqlite": {
        "aiosqlite": _aiosqlite,
        "async session, aiosqlite": _async_session("aiosqlite"),
        "async connection, aiosqlite": _async_connection("aiosqlite"),
    },
    "postgresql": {
        "psycopg, async": _psycopg_async,
        "asyncpg": _asyncpg,
        "asyncpg pool": _asyncpg_pool,
        "async session, asyncpg": _async_session("asyncpg"),
        "async session, psycopg": _async_session("psycopg"),
        "async connection, asyncpg": _async_connection("asyncpg"),
    },
}
KINDS = [(dialect, kind) for dialect in DIALECTS for kind in (*BLOCKING[dialect], *AWAITED[dialect])]


async def transact(
    outbox: Outbox, database: Database, kind: str, steps: Sequence[Step], *, commit: bool = True
) -> list[Any]:
    """Do steps in one transaction of a kind of connection, and commit it or roll it back; return what they gave."""
    blocking = BLOCKING[database.dialect].get(kind)
    if blocking is not None:
        return await asyncio.to_thread(_transact, blocking, outbox, database, steps, commit)
    found: list[Any] = []
    with contextlib.suppress(Undo):
        async with AWAITED[database.dialect][kind](database) as session:
            for each in steps:
                answer = await getattr(outbox, each.method)(session, *each.arguments, **each.options)
                found.append(answer)
            if not commit:
                raise Undo
    return found


def _transact(
    opened: Callable[[Database], Any], outbox: Outbox, database: Database, steps: Sequence[Step], commit: bool
) -> list[Any]:
    found: list[Any] = []
    with contextlib.suppress(Undo), opened(database) as session:
        for each in steps:
            answer = getattr(outbox, f"{each.method}_sync")(session, *each.arguments, **each.options)
            found.append(answer)
        if not commit:
            raise Undo
    return found
