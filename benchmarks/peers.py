"""The same work with litequeue, persist-queue and sqlite3, at the durability that polybus has."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import litequeue
import persistqueue
from persistqueue.serializers import json as as_json

from .harness import Sample, measured

TEXT = "x" * 100

LITEQUEUE = "litequeue"
PERSIST_QUEUE = "persist-queue"
PERSIST_QUEUE_100 = "persist-queue, task_done() after 100"


def raw(size: int) -> str:
    return f"sqlite3 by hand, {size} a transaction"


# litequeue -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _litequeue(path: Path) -> Iterator[litequeue.LiteQueue]:
    queue = litequeue.LiteQueue(path)
    queue.conn.execute("PRAGMA synchronous = FULL")
    with contextlib.closing(queue.conn):
        yield queue


def litequeue_put(path: Path, count: int) -> Sample:
    with _litequeue(path) as queue, measured(count) as taken:
        for _ in range(count):
            queue.put(TEXT)
    return taken.sample


def litequeue_take(path: Path, count: int) -> Sample:
    with _litequeue(path) as queue:
        with queue.transaction():
            for _ in range(count):
                queue.put(TEXT)
        with measured(count) as taken:
            for _ in range(count):
                queue.done(queue.pop().message_id)
    return taken.sample


# persist-queue -------------------------------------------------------------------------------------------------------


def persist_queue_put(path: Path, count: int) -> Sample:
    queue = persistqueue.SQLiteAckQueue(str(path), multithreading=True, serializer=as_json)
    with contextlib.closing(queue), measured(count) as taken:
        for _ in range(count):
            queue.put(TEXT)
    return taken.sample


def persist_queue_take(path: Path, count: int) -> Sample:
    queue = persistqueue.SQLiteAckQueue(str(path), multithreading=True, serializer=as_json)
    with contextlib.closing(queue):
        for _ in range(count):
            queue.put(TEXT)
        with measured(count) as taken:
            for _ in range(count):
                queue.ack(queue.get())
    return taken.sample


def persist_queue_take_many(path: Path, count: int) -> Sample:
    queue = persistqueue.SQLiteQueue(str(path), auto_commit=False, multithreading=True, serializer=as_json)
    with contextlib.closing(queue):
        for _ in range(count):
            queue.put(TEXT)  # a transaction each, whatever auto_commit says
        with measured(count) as taken:
            for number in range(1, count + 1):
                queue.get()
                if number % 100 == 0:
                    queue.task_done()
    return taken.sample


# sqlite3 by hand: one table, an index-only claim, delete on ack ------------------------------------------------------


@contextlib.contextmanager
def _raw(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, body BLOB, at REAL, due REAL)"
        )
        yield connection


def _insert(connection: sqlite3.Connection, count: int) -> None:
    rows = [(str(uuid.uuid4()), TEXT.encode(), time.time()) for _ in range(count)]
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO queue (id, body, at, due) VALUES (?, ?, ?, 0)", rows)
    connection.execute("COMMIT")


def raw_put(path: Path, count: int, size: int) -> Sample:
    with _raw(path) as connection, measured(count) as taken:
        for _ in range(count // size):
            _insert(connection, size)
    return taken.sample


def raw_take(path: Path, count: int, size: int) -> Sample:
    """Lease `size` in one transaction, delete them in another: the two that a consumer that may die needs."""
    with _raw(path) as connection:
        _insert(connection, count)
        with measured(count) as taken:
            for _ in range(count // size):
                connection.execute("BEGIN IMMEDIATE")
                now = time.time()
                rows = connection.execute(
                    "SELECT seq, id, body FROM queue WHERE due <= ? ORDER BY seq LIMIT ?", (now, size)
                ).fetchall()
                seqs = [(row[0],) for row in rows]
                connection.executemany("UPDATE queue SET due = ? WHERE seq = ?", [(now + 60, *seq) for seq in seqs])
                connection.execute("COMMIT")
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("DELETE FROM queue WHERE seq = ?", seqs)
                connection.execute("COMMIT")
    return taken.sample
