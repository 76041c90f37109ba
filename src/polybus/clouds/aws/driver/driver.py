"""The driver: SNS and SQS by one binding."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any

from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.clouds.aws.driver.admin import AwsAdmin
from polybus.clouds.aws.driver.clients import MOST_CONSUMERS, Clients
from polybus.clouds.aws.driver.consume import SqsConsumer
from polybus.clouds.aws.driver.faults import fault
from polybus.clouds.aws.driver.publish import SnsPublisher, SqsPublisher
from polybus.clouds.aws.driver.wire import topics_of
from polybus.driver import AdminDriver, ConsumerDriver, PublisherDriver
from polybus.errors import Fault, MissingExtra, UnsupportedFeature
from polybus.feature import Feature

__all__ = ["AwsDriver", "driver"]


class AwsDriver:
    """Opens publishers and consumers that share one SNS and one SQS client."""

    def __init__(self, binding: Binding, clock: Clock) -> None:
        self._clients = Clients(binding.settings)
        self._topics = binding.topics
        self._clock = clock
        self._consumers: set[SqsConsumer] = set()

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        if target.kind is Kind.TOPIC:
            await self._clients.warm("sns")
            return SnsPublisher(self._clients, target)
        await self._clients.warm("sqs")
        return SqsPublisher(self._clients, target)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        if len(self._consumers) >= MOST_CONSUMERS:
            raise UnsupportedFeature(
                f"{source.kind.value} {source.name!r} on aws: {MOST_CONSUMERS} consumers of this bus are open, each "
                "with a connection of its own: use more processes"
            )
        await self._clients.warm("sqs")
        topics = topics_of(source, self._topics)
        consumer = SqsConsumer(self._clients, source, self._clock, topics=topics, on_closed=self._consumers.discard)
        self._consumers.add(consumer)
        return consumer

    async def open_admin(self) -> AdminDriver:
        return AwsAdmin(self._clients, self._clock, self._topics)

    def features(self, entity: Entity) -> Feature:
        """Delays are SQS standard queues' alone: SNS has none, and a FIFO queue delays as a whole."""
        if entity.kind is Kind.DEAD_LETTERS:
            return Feature.NACK_DELAY | Feature.COUNTS
        features = Feature.NONE if entity.kind is Kind.TOPIC else Feature.NACK_DELAY | Feature.COUNTS
        if entity.ordered:
            return features | Feature.ORDERING
        features |= Feature.FAIRNESS
        return features | Feature.DELAY if entity.kind is Kind.QUEUE else features

    def fault(self, error: Exception) -> Fault:
        return fault(error)

    def raw(self, entity: Entity) -> object:
        """Return boto3's client and the topic's ARN or the queue's URL."""
        return self._clients.made("sns" if entity.kind is Kind.TOPIC else "sqs"), entity.address

    async def aclose(self) -> None:
        self._clients.close()
        await asyncio.sleep(0)  # a transport closes its socket in the loop's next turn


def driver(binding: Binding, clock: Clock) -> AwsDriver:
    """Return a driver for a binding with `backend` aws; nothing is connected before the first call."""
    # Only looked for: importing it takes most of a second, which is spent in a thread, at the first call.
    if find_spec("boto3") is None:
        raise MissingExtra("boto3", "aws")
    return AwsDriver(binding, clock)
