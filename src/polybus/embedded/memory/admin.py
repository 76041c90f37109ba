"""What operators do with a store in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from polybus.binding import Entity, Kind
from polybus.clock import Clock
from polybus.driver import Peeked, PublisherDriver, Stats
from polybus.embedded.memory.publish import Publisher
from polybus.embedded.memory.store import Store
from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["Admin"]


class Admin:
    """Stats, peek, purge and redrive."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def ping(self) -> None:
        """Do nothing: what is in memory is there."""

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        described: dict[str, Any] = msgspec.to_builtins(entity)
        with self._store.lock:
            if entity.kind is Kind.TOPIC:
                routes = self._store.topic(entity).subscriptions
                described["subscriptions"] = [source.entity.name for source, _ in routes]
            else:
                described = msgspec.to_builtins(self._store.source(entity).entity)
        return described

    async def stats(self, entity: Entity) -> Stats:
        """Count what is there; a topic keeps nothing itself, so it has nothing to tell."""
        with self._store.lock:
            if entity.kind is Kind.TOPIC:
                self._store.topic(entity)
                return Stats()
            return self._store.source(entity).stats(self._clock.monotonic())

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        _keeps_messages(entity, "peek at")
        with self._store.lock:
            return self._store.source(entity).peek(count, int(after or 0), self._clock.monotonic())

    async def purge(self, entity: Entity) -> int | None:
        _keeps_messages(entity, "purge")
        with self._store.lock:
            return self._store.source(entity).purge(self._clock.monotonic())

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        _keeps_messages(source, "return messages to")
        return Publisher(self._store, self._clock, source, self._store.source(source), returning=True)

    async def aclose(self) -> None:
        """Do nothing: the store holds all."""


def _keeps_messages(entity: Entity, purpose: str) -> None:
    if entity.kind is Kind.TOPIC:
        raise BackendError(
            Fault(FaultKind.INVALID, f"topic {entity.name!r} keeps no messages: {purpose} one of its subscriptions")
        )
