"""Each kind of connection takes a message in its own transaction; what can't be published is refused there and then."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from places import KINDS, Database, postgresql_database, sqlite_database, step, transact
from sqlalchemy.ext.asyncio import create_async_engine

import polybus
from databases import POSTGRESQL_MISSING, Postgresql
from polybus.outbox import Outbox
from polybus.topology.model import Topology

ODD = {"region": "eu", "odd": "\0 ü \N{SNOWMAN}", "empty": ""}


@pytest.fixture(params=KINDS, ids=lambda pair: f"{pair[0]}: {pair[1]}")
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    found: tuple[str, str] = request.param
    return found


@pytest.fixture
def database(kind: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if kind[0] == "sqlite":
        return sqlite_database(tmp_path)
    server: Postgresql = request.getfixturevalue("postgresql")
    return postgresql_database(server)


def test_what_is_missing_here_is_said(say: Callable[[str], None]) -> None:
    if POSTGRESQL_MISSING:
        say(f"outbox and schedule on PostgreSQL: not run, {POSTGRESQL_MISSING}")


async def test_what_is_committed_comes_as_it_was(kind: tuple[str, str], database: Database, topology: Topology) -> None:
    outbox = Outbox(topology)
    steps = [
        step("publish", "orders", b"\x00\xff", attributes=ODD, ordering_key="ada"),
        step("publish", "mails", {"to": "ada"}, delay="1s"),
        step("schedule", "mails", "later", in_=0),
        step("schedule", "mails", "never", in_=0),
    ]
    ids = await transact(outbox, database, kind[1], steps)
    assert await transact(outbox, database, kind[1], [step("cancel", ids[3]), step("cancel", "none")]) == [True, False]
    async with polybus.connect(topology) as bus, outbox.relay(bus, database.url) as relay:
        assert await relay.send_due() + 0 >= 0
        async with bus.consume("billing") as orders, await anext(aiter(orders)) as order:
            assert (order.id, order.body, dict(order.attributes), order.ordering_key) == (
                ids[0],
                b"\x00\xff",
                ODD,
                "ada",
            )
        async with bus.consume("mails") as mails:
            found = {}
            for _ in range(2):
                async with await anext(aiter(mails)) as mail:
                    found[mail.id] = mail.body
    assert found == {ids[1]: b'{"to":"ada"}', ids[2]: b"later"}
    assert database.rows() == database.rows("polybus_outbox_later") == []


async def test_nothing_is_there_of_what_was_rolled_back(
    kind: tuple[str, str], database: Database, topology: Topology
) -> None:
    steps = [step("publish", "orders", "a", ordering_key="ada"), step("schedule", "mails", "b", in_=0)]
    await transact(Outbox(topology), database, kind[1], steps, commit=False)
    assert database.rows() == database.rows("polybus_outbox_later") == []


async def test_tables_are_created_where_there_are_none(
    kind: tuple[str, str], database: Database, topology: Topology
) -> None:
    outbox = Outbox(topology, table="outgoing")
    for _ in range(2):
        await transact(outbox, database, kind[1], [step("create_tables")])
    await transact(outbox, database, kind[1], [step("publish", "mails", "a")])
    assert [row["target"] for row in database.rows("outgoing")] == ["mails"]


@pytest.mark.parametrize(
    ("error", "arguments", "options"),
    [
        (polybus.BindingError, ("nowhere", "a"), {}),
        (polybus.NotDeclared, ("mails", "a"), {}),
        (TypeError, ("orders", object()), {}),
        (ValueError, ("orders", float("nan")), {}),
        (TypeError, ("orders", "a"), {"ordering_key": 1}),
        (polybus.UnsupportedFeature, ("orders", "a"), {"delay": 1}),
        (ValueError, ("orders", "a"), {"ordering_key": "a\0b"}),
        (ValueError, ("orders", "a"), {"attributes": {"a": "\ud800"}}),
    ],
)
def test_what_can_t_be_published_is_refused_at_once(
    error: type[Exception], arguments: tuple[Any, ...], options: dict[str, Any], topology: Topology
) -> None:
    outbox = Outbox(topology, service="shop")
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        outbox.create_tables_sync(connection)
        with pytest.raises(error):
            outbox.publish_sync(connection, *arguments, **options)
        assert connection.execute("SELECT count(*) FROM polybus_outbox").fetchone() == (0,)


@pytest.mark.parametrize("options", [{}, {"at": 1, "in_": 1}])
def test_one_time_is_given_to_a_schedule(options: dict[str, Any], topology: Topology) -> None:
    with pytest.raises(TypeError, match="one of at= and in_="):
        Outbox(topology).schedule_sync(None, "mails", "a", **options)


async def test_the_wrong_half_of_an_outbox_says_which_is_right(tmp_path: Path, topology: Topology) -> None:
    outbox = Outbox(topology)
    with contextlib.closing(sqlite3.connect(":memory:")) as connection, pytest.raises(TypeError, match="_sync"):
        await outbox.publish(connection, "mails", "a")
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    async with engine.connect() as waiting:
        with pytest.raises(TypeError, match="without _sync"):
            outbox.publish_sync(waiting, "mails", "a")
    await engine.dispose()
    with pytest.raises(TypeError, match=r"builtins\.int is no place for an outbox: a SQLAlchemy session"):
        await outbox.publish(1, "mails", "a")


def test_without_a_transaction_nothing_is_published(topology: Topology) -> None:
    outbox = Outbox(topology)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(ValueError, match="no transaction is under way"):
        outbox.publish_sync(connection, "mails", "a")
    connection.close()
    engine = sqlalchemy.create_engine("sqlite://")
    automatic = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with pytest.raises(ValueError, match="no transaction is under way"):
        outbox.publish_sync(automatic, "mails", "a")
    automatic.close()
    engine.dispose()


if not POSTGRESQL_MISSING:

    async def test_without_a_transaction_in_postgresql_nothing_is_published(
        postgresql: Postgresql, topology: Topology
    ) -> None:
        database = postgresql_database(postgresql)
        outbox = Outbox(topology)
        connection = psycopg.connect(database.conninfo, autocommit=True)
        with pytest.raises(ValueError, match="no transaction is under way"):
            outbox.publish_sync(connection, "mails", "a")
        connection.close()
        waiting = await asyncpg.connect(database.url)
        with pytest.raises(ValueError, match="no transaction is under way"):
            await outbox.publish(waiting, "mails", "a")
        await waiting.close()
