"""The driver: Service Bus by one binding."""

from __future__ import annotations

from typing import Any

from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.clouds.azure.driver.admin import AzureAdmin
from polybus.clouds.azure.driver.clients import Clients
from polybus.clouds.azure.driver.consume import QueueConsumer
from polybus.clouds.azure.driver.faults import fault
from polybus.clouds.azure.driver.publish import AzurePublisher
from polybus.clouds.azure.driver.sessions import SessionConsumer
from polybus.driver import AdminDriver, ConsumerDriver, PublisherDriver
from polybus.errors import Fault
from polybus.feature import Feature

__all__ = ["AzureDriver", "driver"]


class AzureDriver:
    """Opens publishers and consumers that share one client, and one sender for each topic and queue."""

    def __init__(self, binding: Binding, clock: Clock) -> None:
        self._binding = binding
        self._clients = Clients(binding.settings)
        self._clock = clock

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        return AzurePublisher(await self._clients.sender(target), target, self._clock)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        consumer: QueueConsumer | SessionConsumer
        if source.keeps_order:
            consumer = SessionConsumer(self._clients, source, self._clock, prefetch=prefetch, concurrency=concurrency)
        else:
            consumer = QueueConsumer(self._clients, source, self._clock)
        await consumer.open()
        return consumer

    async def open_admin(self) -> AdminDriver:
        return AzureAdmin(self._clients, self._binding, self._clock)

    def features(self, entity: Entity) -> Feature:
        """Delays are those of unordered entities: a scheduled message would overtake its session's others."""
        if entity.kind is Kind.DEAD_LETTERS:
            return Feature.COUNTS | Feature.PEEK
        features = Feature.NONE if entity.kind is Kind.TOPIC else Feature.COUNTS
        if not entity.ordered:
            return features | Feature.DELAY | (Feature.NONE if entity.kind is Kind.TOPIC else Feature.PEEK)
        return features | Feature.ORDERING | (Feature.NONE if entity.kind is Kind.TOPIC else Feature.GROUP_LEASE)

    def fault(self, error: Exception) -> Fault:
        return fault(error)

    def raw(self, entity: Entity) -> object:
        """Return the library's ServiceBusClient and the entity's path."""
        return self._clients.bus, entity.address

    async def aclose(self) -> None:
        await self._clients.aclose()


def driver(binding: Binding, clock: Clock) -> AzureDriver:
    """Return a driver for a binding with `backend` azure; nothing is connected before the first call.

    Raises BindingError where neither the binding nor the environment says where Service Bus is.
    """
    return AzureDriver(binding, clock)
