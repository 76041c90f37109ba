"""The rigs of the two embedded backends."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from polybus.binding import Binding, Entity
from polybus.driver import Ack, Driver, Outgoing, Prepared
from polybus.embedded.memory import Store
from polybus.embedded.plan import local_binding
from polybus.embedded.rules import DEFAULT_MAX_SIZE
from polybus.errors import FaultKind
from polybus.message import Message
from polybus.testing.rig import BaseRig
from polybus.topology.model import Topology

__all__ = ["MemoryRig", "SqliteRig"]


class _EmbeddedRig(BaseRig):
    max_message = DEFAULT_MAX_SIZE
    patience = 10.0  # no network; this is for a busy machine

    def __init__(self) -> None:
        super().__init__()
        self._binding: Binding | None = None
        self._foreign: Driver | None = None

    def _realised(self, binding: Binding) -> Binding:
        self._binding = binding
        return binding

    def check(self, topology: Topology) -> Sequence[str]:
        """Find nothing: what a topology can say, these backends can do."""
        return ()

    async def drop(self) -> None:
        if self._foreign is not None:
            await self._foreign.aclose()

    def deduplicates(self, target: Entity) -> bool:
        """Say that it is accepted once: a window of ids is kept for each target."""
        return True

    async def publish_foreign(
        self, target: Entity, body: bytes, attributes: Mapping[str, str], ordering_key: str | None
    ) -> None:
        """Give the store a message that no bus has seen: it has no id, no time and no content type."""
        publisher = await self._outside().open_publisher(target)
        prepared = publisher.prepare(Outgoing(Message(body, attributes, ordering_key)))
        assert isinstance(prepared, Prepared), prepared
        await publisher.publish_batch([prepared])
        await publisher.aclose()

    async def receive_foreign(self, source: Entity) -> tuple[bytes, Mapping[str, str]]:
        consumer = await self._outside().open_consumer(source, prefetch=1, concurrency=1)
        [received] = await consumer.receive_batch(1, wait=10.0)
        await consumer.settle_batch([Ack(received)])
        await consumer.stop()
        await consumer.aclose()
        return received.message.body, received.message.attributes

    def _outside(self) -> Driver:
        if self._foreign is None:
            assert self._binding is not None, "realise comes first"
            self._foreign = self.driver(self._binding)
        return self._foreign


class MemoryRig(_EmbeddedRig):
    """A store of its own, which all drivers of the binding share."""

    name = "memory"

    async def realise(self, topology: Topology) -> Binding:
        """Make the topology in a new store."""
        binding = local_binding(topology, backend="memory")
        return self._realised(msgspec.structs.replace(binding, settings={"store": Store()}))


class SqliteRig(_EmbeddedRig):
    """A file in a folder of its own, which every driver opens anew, as processes do."""

    name = "sqlite"

    async def realise(self, topology: Topology) -> Binding:
        """Make the topology in a new file."""
        self._folder = tempfile.TemporaryDirectory(prefix="polybus-", ignore_cleanup_errors=True)
        return self._realised(local_binding(topology, backend="sqlite", path=Path(self._folder.name) / "bus.db"))

    def errors(self) -> Sequence[tuple[Exception, FaultKind]]:
        """Return what SQLite and the file system raise, by meeting it."""
        folder = self._folder.name
        return (
            (_met(sqlite3.connect, folder), FaultKind.STORAGE),
            (_met(_query, ":memory:", "SELECT * FROM nothing"), FaultKind.STORAGE),
            (_met(_locked, str(Path(folder) / "locked.db")), FaultKind.UNAVAILABLE),
            (_met(_damaged, Path(folder) / "damaged.db"), FaultKind.STORAGE),
            (_met(Path(folder, "missing").read_bytes), FaultKind.STORAGE),
            (PermissionError(13, "Permission denied"), FaultKind.STORAGE),
        )

    def astray(self, binding: Binding) -> Binding:
        """Return the binding with a path that is a folder's."""
        return msgspec.structs.replace(binding, settings={**binding.settings, "path": self._folder.name})

    async def drop(self) -> None:
        """Remove the file, with its folder."""
        await super().drop()
        if self._binding is not None:
            self._folder.cleanup()


def _met(call: Callable[..., object], *arguments: object) -> Exception:
    """Return what a call raises."""
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        return error
    raise AssertionError(f"{call} raised nothing")


def _query(path: Any, sql: str) -> None:
    with closing(sqlite3.connect(path, timeout=0.0)) as connection:
        connection.execute(sql)


def _locked(path: str) -> None:
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        _query(path, "CREATE TABLE t (c)")


def _damaged(path: Path) -> None:
    path.write_bytes(b"not a database, " * 100)
    _query(path, "SELECT * FROM t")
