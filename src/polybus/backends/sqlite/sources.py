"""Subscriptions, queues and dead letters as the file knows them: by number."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polybus.backends.embedded import net_limit
from polybus.backends.sqlite import schema
from polybus.binding import Binding, Entity, Kind
from polybus.errors import BindingError
from polybus.topology.filters import Filter, parse

__all__ = ["Route", "Source", "register", "routes"]


@dataclass(frozen=True, slots=True)
class Source:
    """A subscription, a queue, or the dead letters of one. `net` is the delivery after which there is none."""

    id: int
    entity: Entity
    ordered: bool
    dead: Source | None

    @property
    def retention(self) -> float:
        return self.entity.retention

    @property
    def net(self) -> int | None:
        return net_limit(self.entity)


@dataclass(frozen=True, slots=True)
class Route:
    """A source that a topic or queue feeds, and the filter before it (None: everything passes)."""

    source: Source
    passes: Filter | None = None


def register(connection: sqlite3.Connection, path: Path, binding: Binding) -> Mapping[str, Source]:
    """Return the binding's sources by address, giving numbers to those that are new.

    Raises BindingError where one was ordered otherwise before.
    """
    wanted = [*binding.queues.values(), *binding.subscriptions.values()]
    entities = [entity for one in wanted for entity in (one.dead_letters, one)]
    known = _known(connection)
    if any(entity.address not in known for entity in entities):
        with schema.transaction(connection):
            connection.executemany(
                "INSERT OR IGNORE INTO source (address, ordered) VALUES (?, ?)",
                [(entity.address, _ordered(entity)) for entity in entities],
            )
        known = _known(connection)
    sources: dict[str, Source] = {}
    for entity in entities:
        number, ordered = known[entity.address]
        if entity.address in sources:
            raise BindingError(f"{entity.kind.value} {entity.name!r}: {entity.address!r} is used twice in the binding")
        if ordered != _ordered(entity):
            raise BindingError(
                f"{entity.kind.value} {entity.name!r}: {path} has it with ordered = {_toml(ordered)}, and the topology "
                f"says ordered = {_toml(not ordered)} now; a store keeps what it was made with: remove {_files(path)} "
                "while nothing uses it (loses what waits in it), or give the entry another name"
            )
        dead = None if entity.kind is Kind.DEAD_LETTERS else sources[entity.dead_letters.address]
        sources[entity.address] = Source(number, entity, ordered, dead)
    return sources


def routes(binding: Binding, sources: Mapping[str, Source], topic: Entity) -> list[Route]:
    """Return what a topic feeds."""
    return [
        Route(sources[entity.address], None if entity.filter is None else parse(entity.filter))
        for entity in binding.subscriptions.values()
        if entity.topic == topic.name
    ]


def _toml(value: bool) -> str:
    return str(value).lower()


def _files(path: Path) -> str:
    """Say what to remove for a store to be made anew."""
    if path.parent.name == ".polybus":
        return f"{path.parent}/"
    return f"{path}, {path.name}-wal and {path.name}-shm"


def _known(connection: sqlite3.Connection) -> dict[str, tuple[int, bool]]:
    rows = connection.execute("SELECT address, id, ordered FROM source").fetchall()
    return {address: (number, bool(ordered)) for address, number, ordered in rows}


def _ordered(entity: Entity) -> bool:
    return entity.ordered and entity.kind is not Kind.DEAD_LETTERS
