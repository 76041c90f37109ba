"""The driver over one file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from polybus.binding import Binding, Entity
from polybus.clock import Clock
from polybus.driver import AdminDriver, ConsumerDriver, PublisherDriver
from polybus.embedded.rules import features
from polybus.embedded.sqlite import faults, forks
from polybus.embedded.sqlite.admin import Admin
from polybus.embedded.sqlite.consume import Consumer
from polybus.embedded.sqlite.identity import Identity
from polybus.embedded.sqlite.opened import Opened
from polybus.embedded.sqlite.schema import BUSY_TIMEOUT, LEAST_SQLITE, open_file
from polybus.embedded.sqlite.sources import register
from polybus.embedded.sqlite.timeline import Timeline
from polybus.embedded.sqlite.writer import Store, Writer
from polybus.errors import BindingError, Fault
from polybus.feature import Feature

__all__ = ["SqliteDriver", "driver"]

# Seconds that closing waits for the disk, beside the lock: a checkpoint of a log of 64 MiB takes one or two.
_CLOSING = 5.0


class SqliteDriver:
    """One file, by one binding; it is opened at first use."""

    def __init__(self, path: Path, binding: Binding, clock: Clock, busy_timeout: float) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._binding = binding
        self._clock = clock
        self._opening: asyncio.Task[Opened] | None = None

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        return (await self._open()).publisher(target)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        there = await self._open()
        return Consumer(there.writer, self._clock, there.source(source), self.path)

    async def open_admin(self) -> AdminDriver:
        return Admin(await self._open())

    def features(self, entity: Entity) -> Feature:
        return features(entity)

    def fault(self, error: Exception) -> Fault:
        return faults.fault(error, self.path)

    def raw(self, entity: Entity) -> object:
        """Return the file's path: any SQLite client may read it."""
        return self.path

    async def aclose(self) -> None:
        opening, self._opening = self._opening, None
        if opening is None:
            return
        await asyncio.wait([opening])  # what failed was told to whoever opened
        if not opening.cancelled() and opening.exception() is None:
            await asyncio.to_thread(opening.result().writer.close, 2 * self._busy_timeout + _CLOSING)

    async def _open(self) -> Opened:
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            self._opening = asyncio.ensure_future(asyncio.to_thread(self._open_file))
        return await asyncio.shield(self._opening)

    def _open_file(self) -> Opened:
        with forks.busy():
            return self._open_now()

    def _open_now(self) -> Opened:
        connection = open_file(self.path)
        try:
            timeline, identity = Timeline(self._clock, self.path), Identity(self.path)
            timeline.open(connection)
            sources = register(connection, self.path, self._binding)
            identity.remember()
            # `begin` waits by itself; nothing else that is executed has to.
            connection.execute("PRAGMA busy_timeout = 0")
            names = {one.id: f"{one.entity.kind.value} {one.entity.name!r}" for one in sources.values()}
            store = Store(connection, self.path, timeline, identity, names, self._busy_timeout)
            return Opened(self.path, self._binding, Writer(store), sources)
        except BaseException:
            connection.close()
            raise


def driver(binding: Binding, clock: Clock) -> SqliteDriver:
    """Return a driver over the file that `settings["path"]` names; it, and its folder, are made where missing.

    `settings["busy_timeout"]` is how many seconds to wait for other processes' transactions, 10 without it.

    Raises BindingError without a path, or where Python's SQLite is too old.
    """
    import sqlite3

    path = binding.settings.get("path")
    if not isinstance(path, (str, Path)) or not str(path):
        raise BindingError(f"at $.settings.path: found {path!r}; the sqlite backend needs the path of its file")
    if sqlite3.sqlite_version_info < LEAST_SQLITE:
        least = ".".join(map(str, LEAST_SQLITE))
        raise BindingError(f"the sqlite backend needs SQLite {least}, and this Python has {sqlite3.sqlite_version}")
    busy_timeout = binding.settings.get("busy_timeout", BUSY_TIMEOUT)
    if not isinstance(busy_timeout, (int, float)) or not busy_timeout >= 0:
        raise BindingError(f"at $.settings.busy_timeout: found {busy_timeout!r}; allowed are seconds, 0 or more")
    return SqliteDriver(Path(path).absolute(), binding, clock, busy_timeout)
