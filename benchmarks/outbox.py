"""The relay of an outbox beside a plain publisher, to an embedded bus and to the local server of AWS.

By itself: `python -m benchmarks outbox`. The outbox was filled before; what is measured is to read it, to send, and to
delete what was sent. PostgreSQL is a server of its own, where it is installed.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.databases import POSTGRESQL_MISSING, Postgresql, started

import polybus
from polybus.binding import Binding, Entity, Kind
from polybus.outbox import Outbox, Relay

from .aws import LOCAL
from .bindings import QUEUE, sqlite
from .harness import Contender, Report, Sample, measured
from .local import environment, served

BODY = "x" * 200
PLAIN = "publish_many, without an outbox"

NOTE = (
    "What an outbox costs beside sending: each message is read from the database and deleted there, in transactions of "
    "up to 500, one after the other: while one is sent, the next is not read yet. One relay, one topic or queue."
)


def run(report: Report) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polybus-bench-")))
        files = (folder / f"{number}.db" for number in itertools.count())
        server = None if POSTGRESQL_MISSING else stack.enter_context(started())
        note = NOTE + (f" PostgreSQL was not measured: {POSTGRESQL_MISSING}." if POSTGRESQL_MISSING else "")
        _compare(report, "outbox: to a bus on SQLite", lambda: sqlite(next(files)), files, server, note, 5_000)
        stack.enter_context(environment(**LOCAL))
        host, port = stack.enter_context(served("aws"))
        aws = functools.partial(_aws, f"http://{host}:{port}")
        _compare(report, "outbox: to a queue of SQS", aws, files, server, note, 2_000)


def _compare(
    report: Report,
    title: str,
    binding: Callable[[], Binding],
    files: Iterator[Path],
    server: Postgresql | None,
    note: str,
    count: int,
) -> None:
    many = report.count(count)
    contenders = [Contender("relay, outbox in SQLite", lambda: _relay(binding(), _in_sqlite(next(files)), many))]
    if server is not None:
        contenders.append(
            Contender("relay, outbox in PostgreSQL", lambda: _relay(binding(), _in_postgresql(server), many))
        )
    contenders.append(Contender(PLAIN, lambda: _plain(binding(), many)))
    report.compare(title, contenders, rounds=3, note=note)


def _aws(endpoint: str) -> Binding:
    import boto3

    made: Any = boto3.client("sqs", endpoint_url=endpoint)
    url: str = made.create_queue(QueueName=f"q{uuid.uuid4().hex[:12]}")["QueueUrl"]
    queue = Entity(kind=Kind.QUEUE, name=QUEUE, address=url, dead_letter=url)
    return Binding(backend="aws", bus="bench", settings={"endpoint": endpoint}, queues={QUEUE: queue})


def _in_sqlite(path: Path) -> tuple[str, Any]:
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    return f"sqlite:///{path}", database


def _in_postgresql(server: Postgresql) -> tuple[str, Any]:
    import psycopg

    name = server.database()
    return server.url(name), psycopg.connect(server.conninfo(name))


async def _relay(binding: Binding, place: tuple[str, Any], count: int) -> Sample:
    url, database = place
    outbox = Outbox(binding)
    outbox.create_tables_sync(database)
    for _ in range(count):
        outbox.publish_sync(database, QUEUE, BODY)
    database.commit()
    database.close()
    async with polybus.connect(binding) as bus:
        await bus.publish(QUEUE, BODY)  # connects
        relay = Relay(bus, url)
        with measured(count) as taken:
            if await relay.send_due() != count:
                raise RuntimeError("not all were sent")
        await relay.aclose()
    return taken.sample


async def _plain(binding: Binding, count: int) -> Sample:
    async with polybus.connect(binding) as bus:
        await bus.publish(QUEUE, BODY)
        with measured(count) as taken:
            await bus.publish_many(QUEUE, itertools.repeat(BODY, count))
    return taken.sample
