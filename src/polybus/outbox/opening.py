"""Which store a database is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from polybus.errors import ConfigError
from polybus.outbox.sql import TABLE, checked
from polybus.outbox.store import Store

__all__ = ["open_store"]

_ENVIRONMENT = "env:"


def open_store(database: Any, table: str = TABLE) -> Store:
    """Return the store of a SQLAlchemy AsyncEngine, of a URL, or of the path of a SQLite file; nothing is opened yet.

    `env:NAME` is the URL in a variable, which no list of processes shows. Raises ConfigError for what is none of these,
    without showing it: it may hold a password.
    """
    checked(table)
    if isinstance(database, Path):
        from polybus.outbox.sqlite import SqliteStore

        return SqliteStore(database, table)
    if isinstance(database, str):
        return _of_url(_looked_up(database), table)
    return _of_engine(database, table)


def _looked_up(url: str) -> str:
    if not url.startswith(_ENVIRONMENT):
        return url
    name = url.removeprefix(_ENVIRONMENT)
    if not (found := os.environ.get(name, "").strip()):
        raise ConfigError(f"the outbox's URL is to be in {name}, which is not set")
    return found


def _of_url(url: str, table: str) -> Store:
    scheme, colon, rest = url.partition("://")
    dialect, _, way = scheme.partition("+")
    if not colon or dialect not in ("sqlite", "postgresql", "postgres"):
        raise ConfigError(
            "the outbox's URL is none: write sqlite:///shop.db, postgresql://user@host/database, or env:NAME for the "
            "variable that holds it"
        )
    if dialect == "sqlite":
        from polybus.outbox.sqlite import SqliteStore

        return SqliteStore(_sqlite_path(rest), table)
    from polybus.outbox.postgresql import PostgresqlStore, engine_of

    return PostgresqlStore(engine_of(way, rest), table, owned=True)


def _sqlite_path(rest: str) -> Path:
    path = rest.partition("?")[0].removeprefix("/")
    if path in ("", ":memory:"):
        raise ConfigError("the outbox's URL names no SQLite file: write sqlite:///shop.db, or sqlite:////var/shop.db")
    return Path(path)


def _of_engine(engine: Any, table: str) -> Store:
    url = getattr(engine, "url", None)
    if url is None or not hasattr(engine, "sync_engine"):
        kind = f"{type(engine).__module__}.{type(engine).__qualname__}"
        raise ConfigError(f"{kind} holds no outbox: give a SQLAlchemy AsyncEngine, a URL, or the path of a SQLite file")
    dialect = url.get_backend_name()
    if dialect == "sqlite":
        return _of_url(f"sqlite:///{url.database or ''}", table)
    if dialect != "postgresql":
        raise ConfigError(f"an outbox is in PostgreSQL or SQLite, and this is {dialect}")
    from polybus.outbox.postgresql import PostgresqlStore

    return PostgresqlStore(engine, table, owned=False)
