"""The driver: Pub/Sub by one binding."""

from __future__ import annotations

from typing import Any

from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.clouds.gcp.driver.admin import GcpAdmin
from polybus.clouds.gcp.driver.clients import Clients
from polybus.clouds.gcp.driver.consume import StreamConsumer
from polybus.clouds.gcp.driver.faults import fault
from polybus.clouds.gcp.driver.publish import TopicPublisher, topic_of
from polybus.driver import AdminDriver, ConsumerDriver, PublisherDriver
from polybus.errors import Fault
from polybus.feature import Feature

__all__ = ["GcpDriver", "driver"]


class GcpDriver:
    """Opens publishers and consumers that share connections."""

    def __init__(self, binding: Binding, clock: Clock) -> None:
        self._binding = binding
        self._clients = Clients(binding.settings)
        self._clock = clock

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        await self._clients.ready()
        return TopicPublisher(self._clients, target, topic_of(target))

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        await self._clients.ready()
        return StreamConsumer(self._clients, source, self._clock, prefetch)

    async def open_admin(self) -> AdminDriver:
        return GcpAdmin(self._clients, self._binding, self._clock)

    def features(self, entity: Entity) -> Feature:
        """Pub/Sub has neither delayed messages nor, in its API, counts; it shows letters only by handing them over."""
        if entity.kind is Kind.DEAD_LETTERS:
            return Feature.NACK_DELAY
        features = Feature.NONE if entity.kind is Kind.TOPIC else Feature.NACK_DELAY
        return features | Feature.ORDERING if entity.ordered else features

    def fault(self, error: Exception) -> Fault:
        return fault(error, self._clients.endpoint)

    def raw(self, entity: Entity) -> object:
        """Return the asynchronous client, and the path of the topic or subscription."""
        publisher, subscriber = self._clients.made()
        return publisher if entity.kind is Kind.TOPIC else subscriber, entity.address

    async def aclose(self) -> None:
        await self._clients.close()


def driver(binding: Binding, clock: Clock) -> GcpDriver:
    """Return a driver for a binding with `backend` gcp; nothing is connected before the first call.

    Raises BindingError for an endpoint that is no address, and in a process that was forked from a connected one.
    """
    return GcpDriver(binding, clock)
