"""One thread for each file and process, that does what writes, as much of it as there is in one transaction.

What the consumers and publishers of a process ask for while a transaction is under way is done together in the next:
one wait for the disk, and for the lock, pays for all of it (group commit). Each kind of work merges its own: one
insert for all publishers. Where that fails, each is done by itself, so that nobody shares another's failure.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from polybus.embedded.rules import Expiries
from polybus.embedded.sqlite import forks, room, schema, upkeep
from polybus.embedded.sqlite.identity import Identity, StoreGone
from polybus.embedded.sqlite.timeline import Timeline
from polybus.embedded.sqlite.wake import Ringer
from polybus.embedded.sqlite.work import Transaction, Work
from polybus.errors import BusClosed

__all__ = ["Store", "Writer"]

T = TypeVar("T")

_log = logging.getLogger("polybus")

# What one transaction takes on at most: beyond this a larger one gains nothing, and other processes wait for it.
_MOST_WORKS = 256

# Seconds between two looks at what changes rarely: the time that others wrote, and the clock.
_LOOK_EVERY = 0.05

_CLOSED = "the store was closed, or opened before a fork: connect again in this process"


@dataclass(frozen=True, slots=True)
class _Asked:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    since: float


_Answer = tuple[_Asked, Any, BaseException | None]
_Group = list[_Asked]
_Asking = queue.SimpleQueue[_Asked | None]


@dataclass(frozen=True, slots=True)
class Store:
    """An open file. `names` says what a source is, by its number; `busy_timeout` is in seconds."""

    connection: sqlite3.Connection
    path: Path
    timeline: Timeline
    identity: Identity
    names: Mapping[int, str]
    busy_timeout: float


class Writer:
    """What the drivers of a file hold of its thread; may be used from several event loops of the process that made it.

    Once nobody holds it, the thread ends and closes the file.
    """

    def __init__(self, store: Store) -> None:
        self.timeline = store.timeline
        self.identity = store.identity
        self._asked: _Asking = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        # A daemon: what it is at when the interpreter ends is rolled back, and nobody was told that it was done.
        self._thread = threading.Thread(
            target=_Worker(store, self._asked).serve, name=f"polybus {store.path.name}", daemon=True
        )
        self._thread.start()
        weakref.finalize(self, self._asked.put, None)

    def ask(self, work: Work[T]) -> asyncio.Future[T]:
        """Have a piece of work done; the future has its answer once it is committed.

        A future that is cancelled before the work was begun undoes it; later it is done all the same. It raises what
        SQLite raised. Raises BusClosed after `close` or a fork.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if self._closed or self._pid != os.getpid():
                raise BusClosed(_CLOSED)
            self._asked.put(_Asked(work, loop, future, time.monotonic()))
        return future

    async def submit(self, work: Work[T]) -> T:
        """Have a piece of work done, and return its answer."""
        return await self.ask(work)

    def close(self, timeout: float) -> None:
        """Finish what was asked for, and close the file; blocks until that is done, `timeout` seconds at most."""
        with self._lock:
            self._closed = True
            if self._pid != os.getpid():
                return  # the thread is the parent's
            self._asked.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            _log.warning("%s is not closed after %.0f s: the disk doesn't answer", self._thread.name, timeout)


class _Worker:
    """The thread's side: it alone uses the connection."""

    def __init__(self, store: Store, asked: _Asking) -> None:
        self._store = store
        self._open: sqlite3.Connection | None = store.connection
        self._quiet = threading.Lock()  # held while something is under way
        self._paused = False
        self._asked = asked
        self._ringer = Ringer(store.path)
        self._upkeep = upkeep.Upkeep()
        self._expiries = Expiries(str(store.path))
        self._durable = True
        self._looked = float("-inf")
        self._room = room.Room(store.path)
        forks.register(self)

    @property
    def _connection(self) -> sqlite3.Connection:
        """The connection; opened again where it was closed for a fork."""
        if self._open is None:
            self._open = schema.reopen(self._store.path)
            self._durable = True
            self._store.identity.remember()
        return self._open

    def serve(self) -> None:
        try:
            while (group := self._next()) is not None:
                if group:
                    with self._quiet:
                        answers = self._do(group)
                    _tell(answers)
        finally:
            with self._quiet:
                self._expiries.tell(self._store.timeline.now(), last=True)
                self._ringer.close()
                self._close()

    def pause(self, patience: float) -> None:
        self._paused = self._quiet.acquire(timeout=patience)
        if self._paused:
            self._close()
            self._store.identity.forget_log()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._quiet.release()

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _next(self) -> _Group | None:
        """Return what was asked for since; None once there is nothing more to come."""
        asked = self._asked.get()
        group: _Group = []
        while asked is not None:
            if not asked.future.cancelled():
                group.append(asked)
            if len(group) >= _MOST_WORKS:
                return group
            try:
                asked = self._asked.get_nowait()
            except queue.Empty:
                return group
        if group:
            self._asked.put(None)
            return group
        return None

    def _do(self, group: _Group) -> list[_Answer]:
        try:
            return self._try(group)
        except Exception as error:  # noqa: BLE001 - whoever asked is told, whatever it was
            if schema.is_busy(error) or isinstance(error, StoreGone):
                return [(asked, None, error) for asked in group]
            if schema.is_full(error):
                room.empty_log(self._connection)
            elif len(group) == 1:
                return [(group[0], None, error)]
            return self._one_by_one(group, error)

    def _one_by_one(self, group: _Group, error: Exception) -> list[_Answer]:
        """Do each by itself: what one met, a full disk say, must not keep another from being done.

        Where a failure takes long, the rest shares it, so that all are told in time.
        """
        answers: list[_Answer] = []
        end = time.monotonic() + self._store.busy_timeout
        for asked in sorted(group, key=lambda asked: asked.work.RANK):
            if time.monotonic() > end:
                answers.append((asked, None, error))
                continue
            try:
                answers += self._try([asked])
            except Exception as own:  # noqa: BLE001 - as above
                answers.append((asked, None, own))
        return answers

    def _try(self, group: _Group) -> list[_Answer]:
        """Do all in one transaction, or nothing."""
        kinds: dict[type[Work[Any]], _Group] = {}
        for asked in group:
            kinds.setdefault(type(asked.work), []).append(asked)
        ranked = sorted(kinds.items(), key=lambda item: item[0].RANK)
        if len(ranked) == 1 and ranked[0][0].LOOKS:
            idle = self._idle(*ranked[0])
            if idle is not None:
                return idle
        if added := sum([asked.work.adds for asked in group]):
            self._require_room(added)
        self._set_durable(any(kind.DURABLE for kind, _ in ranked))
        waited = time.monotonic() - min([asked.since for asked in group])
        connection = self._connection
        schema.begin(connection, max(self._store.busy_timeout - waited, 0.0))
        try:
            transaction, answers = self._run(connection, ranked)
            self._store.identity.check()
            connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back(error)
            raise
        self._conclude(transaction)
        return answers

    def _idle(self, kind: type[Work[Any]], group: _Group) -> list[_Answer] | None:
        try:
            now = self._look()
            if self._upkeep.due(now):
                return None
            answers = kind.idle(self._connection, now, [asked.work for asked in group])
        except sqlite3.OperationalError as error:
            if schema.is_busy(error):  # another process is recovering the log of one that was killed: wait in `begin`
                return None
            raise
        if answers is None:
            return None
        self._store.identity.check()
        return [(asked, answer, None) for asked, answer in zip(group, answers, strict=True)]

    def _look(self) -> float:
        """Return the store's time; see now and then what others wrote, and what became of the clock."""
        timeline = self._store.timeline
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return timeline.now()
        now = timeline.follow(self._connection)
        timeline.notice()
        self._looked = time.monotonic()
        return now

    def _run(
        self, connection: sqlite3.Connection, ranked: Sequence[tuple[type[Work[Any]], _Group]]
    ) -> tuple[Transaction, list[_Answer]]:
        timeline = self._store.timeline
        transaction = Transaction(connection, timeline.monotonic(), self._look(), timeline.wall())
        answers: list[_Answer] = []
        for kind, group in ranked:
            results = kind.run(transaction, [asked.work for asked in group])
            answers += [(asked, result, None) for asked, result in zip(group, results, strict=True)]
        transaction.expired += self._upkeep.expire(connection, transaction.now)
        timeline.keep(connection, transaction.now)
        return transaction, answers

    def _roll_back(self, error: BaseException) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as worse:
            error.add_note(f"and the rollback failed: {type(worse).__name__}")

    def _conclude(self, transaction: Transaction) -> None:
        """Do what follows a commit; what fails of it is no failure of what was committed."""
        try:
            for callback in transaction.committed:
                callback()
            for source, count in Counter(transaction.expired).items() if transaction.expired else ():
                self._expiries.add(self._store.names.get(source, f"source {source}"), count)
            self._expiries.tell(transaction.now)
            self._ringer.ring(transaction.woken)
            self._upkeep.shrink(transaction.connection)
        except Exception:  # noqa: BLE001 - whatever it was, it is told, and no caller has to hear of it
            _log.warning("%s: what follows a commit failed; the commit stands", self._store.path, exc_info=True)

    def _require_room(self, size: int) -> None:
        try:
            self._room.require(self._connection, size)
        except FileNotFoundError:
            self._store.identity.check()
            raise

    def _set_durable(self, durable: bool) -> None:
        """Choose whether the next commit waits for the disk; a lease that a power cut undoes is no loss."""
        if durable is not self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable


def _tell(answers: Sequence[_Answer]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for answer in answers:
        loops.setdefault(answer[0].loop, []).append(answer)
    for loop, told in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, told)
        except RuntimeError:
            continue  # the loop was closed: nobody is left to be told


def _resolve(answers: Sequence[_Answer]) -> None:
    for asked, result, error in answers:
        if asked.future.done():
            continue
        if error is None:
            asked.future.set_result(result)
        else:
            asked.future.set_exception(cast(Exception, error))
