"""One thread for each file and process, that does what writes, as much of it as there is in one transaction.

What the consumers and publishers of a process ask for while a transaction is under way is done together in the next:
one wait for the disk, and for the lock, pays for all of it (group commit). Each kind of work merges its own: one
insert for all publishers.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

from polybus.backends.sqlite import schema, upkeep
from polybus.backends.sqlite.wake import Ringer
from polybus.clock import Clock
from polybus.errors import BusClosed

__all__ = ["Transaction", "Work", "Writer"]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

# What one transaction takes on at most: beyond this a larger one gains nothing, and other processes wait for it.
_MOST_WORKS = 256


@dataclass(slots=True)
class Transaction:
    """What a piece of work sees: the connection, and what is to be done after the commit."""

    connection: sqlite3.Connection
    woken: set[int] = field(default_factory=set)  # sources that others may wait for
    committed: list[Callable[[], object]] = field(default_factory=list)

    def value(self, sql: str, *parameters: object) -> Any:
        """Return the first column of the first row."""
        cursor = self.connection.execute(sql, parameters)
        row = cursor.fetchone()
        cursor.close()
        return None if row is None else row[0]


class Work(Protocol[T_co]):
    """A piece of work; all of one class that are there are run together."""

    RANK: ClassVar[int]  # of two kinds in one transaction, the lower runs first
    DURABLE: ClassVar[bool]  # whether it must be on the disk when it is answered

    @classmethod
    def idle(cls, connection: sqlite3.Connection, works: Sequence[Any]) -> Sequence[T_co] | None:
        """Answer without a transaction where there is nothing to do; None where there is."""

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[Any]) -> Sequence[T_co]:
        """Do all; return the answer of each, in their order."""


@dataclass(frozen=True, slots=True)
class _Asked:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


_Answer = tuple[_Asked, Any, BaseException | None]


class Writer:
    """The thread and its connection; may be used from several event loops of the process that made it."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock, busy_timeout: float) -> None:
        self._connection = connection
        self._busy_timeout = busy_timeout
        self._ringer = Ringer(path)
        self._upkeep = upkeep.Upkeep(clock)
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._durable = True
        self._closed = False
        self._pid = os.getpid()
        # A daemon: what it is at when the interpreter ends is rolled back, and nobody was told that it was done.
        self._thread = threading.Thread(target=self._serve, name=f"polybus {path.name}", daemon=True)
        self._thread.start()

    async def submit(self, work: Work[T]) -> T:
        """Have a piece of work done; returns once it is committed. Cancelling doesn't undo it.

        Raises what SQLite raised, and BusClosed after `close` or a fork.
        """
        if self._closed or self._pid != os.getpid():
            raise BusClosed("the store was closed, or opened before a fork: connect again in this process")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._asked.put(_Asked(work, loop, future))
        return await future

    def close(self) -> None:
        """Finish what was asked for, and close the file; blocks until that is done."""
        self._closed = True
        self._asked.put(None)
        self._thread.join()

    def _serve(self) -> None:
        try:
            while (group := self._next()) is not None:
                _tell(self._do(group))
        finally:
            self._ringer.close()
            self._connection.close()

    def _next(self) -> list[_Asked] | None:
        first = self._asked.get()
        if first is None:
            return None
        group = [first]
        while len(group) < _MOST_WORKS:
            try:
                asked = self._asked.get_nowait()
            except queue.Empty:
                break
            if asked is None:
                self._asked.put(None)
                break
            group.append(asked)
        return group

    def _do(self, group: list[_Asked]) -> list[_Answer]:
        kinds: dict[type[Work[Any]], list[_Asked]] = {}
        for asked in group:
            kinds.setdefault(type(asked.work), []).append(asked)
        ranked = sorted(kinds.items(), key=lambda item: item[0].RANK)
        answers = self._commit(ranked)
        if len(ranked) > 1 and any(error is not None and not schema.is_busy(error) for _, _, error in answers):
            # What one kind met, a full disk say, must not keep another from being done: an ack makes room.
            answers = [answer for kind in ranked for answer in self._commit([kind])]
        return answers

    def _commit(self, ranked: Sequence[tuple[type[Work[Any]], list[_Asked]]]) -> list[_Answer]:
        try:
            return self._try(ranked)
        except Exception as error:  # noqa: BLE001 - whoever asked is told, whatever it was
            answers: list[_Answer] = [(asked, None, error) for _, group in ranked for asked in group]
            try:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            except sqlite3.Error as worse:
                error.add_note(f"and the rollback failed: {type(worse).__name__}")
            return answers

    def _try(self, ranked: Sequence[tuple[type[Work[Any]], list[_Asked]]]) -> list[_Answer]:
        connection = self._connection
        if len(ranked) == 1:
            kind, group = ranked[0]
            idle = _idle(connection, kind, [asked.work for asked in group])
            if idle is not None:
                return [(asked, answer, None) for asked, answer in zip(group, idle, strict=True)]
        self._set_durable(any(kind.DURABLE for kind, _ in ranked))
        schema.begin(connection, self._busy_timeout)
        transaction = Transaction(connection)
        answers: list[_Answer] = []
        for kind, group in ranked:
            results = kind.run(transaction, [asked.work for asked in group])
            answers += [(asked, result, None) for asked, result in zip(group, results, strict=True)]
        self._upkeep.expire(connection)
        connection.execute("COMMIT")
        for callback in transaction.committed:
            callback()
        self._ringer.ring(transaction.woken)
        self._upkeep.shrink(connection)
        return answers

    def _set_durable(self, durable: bool) -> None:
        """Choose whether the next commit waits for the disk; a lease that a power cut undoes is no loss."""
        if durable is not self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable


def _idle(connection: sqlite3.Connection, kind: type[Work[Any]], works: Sequence[Work[Any]]) -> Sequence[Any] | None:
    try:
        return kind.idle(connection, works)
    except sqlite3.OperationalError as error:
        if schema.is_busy(error):  # another process is recovering the log of one that was killed: wait in `begin`
            return None
        raise


def _tell(answers: Sequence[_Answer]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for answer in answers:
        loops.setdefault(answer[0].loop, []).append(answer)
    for loop, told in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, told)
        except RuntimeError:
            if not loop.is_closed():  # else nobody is left to be told
                raise


def _resolve(answers: Sequence[_Answer]) -> None:
    for asked, result, error in answers:
        if asked.future.done():
            continue
        if error is None:
            asked.future.set_result(result)
        else:
            asked.future.set_exception(cast(Exception, error))
