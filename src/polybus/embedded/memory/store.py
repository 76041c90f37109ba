"""What is kept: the topics, subscriptions and queues of one bus, for all drivers of this process that name it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TypeVar

from polybus.binding import Binding, Entity
from polybus.embedded.memory.source import Source
from polybus.embedded.rules import DedupWindow
from polybus.errors import BackendError, BindingError, Fault, FaultKind
from polybus.topology.filters import Filter, parse

T = TypeVar("T")

__all__ = ["Store", "Topic", "reset", "shared"]


class Topic:
    """A topic: its subscriptions, each with its filter (None: everything passes)."""

    def __init__(self) -> None:
        self.subscriptions: list[tuple[Source, Filter | None]] = []
        self.dedup = DedupWindow()


class Store:
    """One bus in memory. Drivers share it when their bindings' `settings["store"]` is the same Store or name.

    It may be used from several threads and event loops of one process; their clocks must tell the same time.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._topics: dict[str, Topic] = {}
        self._sources: dict[str, Source] = {}

    def attach(self, binding: Binding) -> None:
        """Make what the binding names and isn't there; take over its settings for what is.

        Raises BindingError where the same address is used twice, or was ordered otherwise before.
        """
        with self.lock:
            for topic in binding.topics.values():
                self._topics.setdefault(topic.address, Topic())
            for queue in binding.queues.values():
                self._attach(queue)
            routes: dict[str, list[tuple[Source, Filter | None]]] = {}
            for entity in binding.subscriptions.values():
                topic_entity = binding.topics.get(entity.topic or "")
                if topic_entity is None:
                    raise BindingError(
                        f"subscription {entity.name!r}: its topic {entity.topic!r} is not in the binding"
                    )
                passes = parse(entity.filter) if entity.filter is not None else None
                routes.setdefault(topic_entity.address, []).append((self._attach(entity), passes))
            for address, subscriptions in routes.items():
                topic_here = self._topics[address]
                renewed = {id(source) for source, _ in subscriptions}
                others = [pair for pair in topic_here.subscriptions if id(pair[0]) not in renewed]
                topic_here.subscriptions = others + subscriptions

    def topic(self, entity: Entity) -> Topic:
        """Find a topic; raises BackendError (NOT_FOUND)."""
        return _found(self._topics, entity)

    def source(self, entity: Entity) -> Source:
        """Find a subscription, a queue, or dead letters; raises BackendError (NOT_FOUND)."""
        return _found(self._sources, entity)

    def reset(self) -> None:
        """Forget everything, as if the process had begun anew; no driver may be in use."""
        with self.lock:
            self._topics.clear()
            self._sources.clear()

    def _attach(self, entity: Entity) -> Source:
        source = self._sources.get(entity.address)
        letters = entity.dead_letters
        if source is None:
            if letters.address in self._sources:
                raise BindingError(f"{entity.kind.value} {entity.name!r}: {letters.address!r} is in use already")
            dead = self._sources[letters.address] = Source(letters, None)
            source = self._sources[entity.address] = Source(entity, dead)
        elif (source.entity.kind, source.ordered) != (entity.kind, entity.ordered):
            raise BindingError(
                f"{entity.kind.value} {entity.name!r}: {entity.address!r} was opened before as a "
                f"{source.entity.kind.value} with ordered = {source.ordered}; a store keeps what it was made with"
            )
        else:
            source.configure(entity)
            if source.dead is not None:
                source.dead.configure(letters)
        return source


def _found(there: Mapping[str, T], entity: Entity) -> T:
    try:
        return there[entity.address]
    except KeyError:
        raise BackendError(
            Fault(
                FaultKind.NOT_FOUND,
                f"{entity.kind.value} {entity.name!r}: the store in memory has no {entity.address!r}; "
                "it has what the bindings of its drivers name",
            )
        ) from None


_shared: dict[str, Store] = {}
_shared_lock = threading.Lock()


def shared(name: str) -> Store:
    """Return the process's store of this name, making it the first time."""
    with _shared_lock:
        return _shared.setdefault(name, Store())


def reset() -> None:
    """Forget all named stores of the process; for tests."""
    with _shared_lock:
        _shared.clear()
