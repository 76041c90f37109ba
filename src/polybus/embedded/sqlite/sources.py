"""Subscriptions, queues and dead letters as the file knows them: by number."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from polybus.binding import Binding, Entity, Kind
from polybus.embedded.sqlite import schema
from polybus.errors import BindingError
from polybus.portable import net_limit
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
    def fairness_key(self) -> str | None:
        return self.entity.fairness_key

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

    Raises BindingError where one was of another kind, or ordered otherwise, before.
    """
    wanted = [*binding.queues.values(), *binding.subscriptions.values()]
    entities = [entity for one in wanted for entity in (one.dead_letters, one)]
    known = _known(connection)
    if any(known.get(entity.address, _UNKNOWN).kind is None for entity in entities):
        with schema.transaction(connection):
            rows = [(entity.address, entity.keeps_order, entity.kind.value) for entity in entities]
            connection.executemany("INSERT OR IGNORE INTO source (address, ordered, kind) VALUES (?, ?, ?)", rows)
            connection.executemany(
                "UPDATE source SET kind = ? WHERE address = ? AND kind IS NULL",
                [(kind, address) for address, _, kind in rows],
            )
        known = _known(connection)
    sources: dict[str, Source] = {}
    for entity in entities:
        row = known[entity.address]
        if entity.address in sources:
            raise BindingError(f"{entity.kind.value} {entity.name!r}: {entity.address!r} is used twice in the binding")
        if row.kind != entity.kind.value:
            raise _differs(path, entity, f"as a {row.kind}", "it is a " + entity.kind.value)
        if row.ordered != entity.keeps_order:
            has, says = _toml(row.ordered), _toml(not row.ordered)
            raise _differs(path, entity, f"with ordered = {has}", f"ordered = {says}")
        dead = None if entity.kind is Kind.DEAD_LETTERS else sources[entity.dead_letters.address]
        sources[entity.address] = Source(row.id, entity, row.ordered, dead)
    return sources


def routes(binding: Binding, sources: Mapping[str, Source], topic: Entity) -> list[Route]:
    """Return what a topic feeds."""
    return [
        Route(sources[entity.address], None if entity.filter is None else parse(entity.filter))
        for entity in binding.subscriptions_of(topic)
    ]


def _differs(path: Path, entity: Entity, had: str, now: str) -> BindingError:
    return BindingError(
        f"{entity.kind.value} {entity.name!r}: {path} has it {had}, and the topology says {now} now; a store keeps "
        f"what it was made with: remove {_files(path)} while nothing uses it (loses what waits in it), or give the "
        "entry another name"
    )


def _toml(value: bool) -> str:
    return str(value).lower()


def _files(path: Path) -> str:
    """Say what to remove for a store to be made anew."""
    if path.parent.name == ".polybus":
        return f"{path.parent}/"
    return f"{path}, {path.name}-wal and {path.name}-shm"


class _Known(NamedTuple):
    """A source as it stands in the file."""

    id: int
    ordered: bool
    kind: str | None


_UNKNOWN = _Known(0, False, None)


def _known(connection: sqlite3.Connection) -> dict[str, _Known]:
    rows = connection.execute("SELECT address, id, ordered, kind FROM source").fetchall()
    return {address: _Known(number, bool(ordered), kind) for address, number, ordered, kind in rows}
