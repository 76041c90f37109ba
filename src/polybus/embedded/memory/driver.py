"""The driver over a store in memory."""

from __future__ import annotations

from typing import Any

from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.driver import AdminDriver, ConsumerDriver, PublisherDriver
from polybus.embedded.memory.admin import Admin
from polybus.embedded.memory.consume import Consumer
from polybus.embedded.memory.publish import Publisher
from polybus.embedded.memory.store import Store, shared
from polybus.embedded.rules import features
from polybus.errors import BackendError, BindingError, Fault, FaultKind
from polybus.feature import Feature

__all__ = ["MemoryDriver", "driver"]


class MemoryDriver:
    """One store in memory, by one binding and one clock."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self._clock = clock

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        to = self.store.topic(target) if target.kind is Kind.TOPIC else self.store.source(target)
        return Publisher(self.store, self._clock, target, to, returning=False)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        return Consumer(self.store, self._clock, self.store.source(source))

    async def open_admin(self) -> AdminDriver:
        return Admin(self.store, self._clock)

    def features(self, entity: Entity) -> Feature:
        return features(entity)

    def fault(self, error: Exception) -> Fault:
        if isinstance(error, BackendError):
            return error.fault
        return Fault(FaultKind.INTERNAL, f"memory: {type(error).__name__}")

    def raw(self, entity: Entity) -> object:
        """Return the topic's or source's own object in the store; a topic before a source of the same address."""
        return self.store.topic(entity) if entity.kind is Kind.TOPIC else self.store.source(entity)

    async def aclose(self) -> None:
        """Do nothing: the store outlives its drivers."""


def driver(binding: Binding, clock: Clock) -> MemoryDriver:
    """Return a driver over the store that `settings["store"]` is, or names; without it, over that of the bus's name.

    Raises BindingError where the binding contradicts itself, or what the store was made with.
    """
    setting = binding.settings.get("store", binding.bus)
    if not isinstance(setting, (str, Store)):
        raise BindingError(f"at $.settings.store: found {type(setting).__name__}; allowed is a name or a Store")
    store = setting if isinstance(setting, Store) else shared(setting)
    store.attach(binding)
    return MemoryDriver(store, clock)
