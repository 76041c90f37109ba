"""The stores of `polybus.once`, each on a server or a file of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import Postgresql
from moto_process import moto

from .servers import MISSING, RedisServer

KINDS = ["sqlite", "aiosqlite", "pysqlite", "asyncpg", "psycopg", "redis", "dynamodb"]
NEEDS = {"asyncpg": "postgresql", "psycopg": "postgresql", "redis": "redis"}


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def dynamodb_server() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(params=[kind for kind in KINDS if NEEDS.get(kind) not in MISSING])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Return the kind of a store, and where an empty one is; tests may name the kinds that they are for."""
    kind = request.param
    if kind == "sqlite":
        return kind, str(tmp_path / "claims.db")
    if kind == "redis":
        import redis

        server = request.getfixturevalue("redis_server")
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
        return kind, server.url
    if kind == "dynamodb":
        return kind, _emptied(request.getfixturevalue("dynamodb_server"))
    if kind in ("aiosqlite", "pysqlite"):
        return kind, f"sqlite+{kind}:///{tmp_path / 'claims.db'}"
    server: Postgresql = request.getfixturevalue("postgresql")
    return kind, server.url(server.database(), kind)


def _emptied(url: str) -> str:
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
    return url
