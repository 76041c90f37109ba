"""What operators do with topics and subscriptions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any

import grpc
from google.api_core.exceptions import MethodNotImplemented
from google.iam.v1.iam_policy_pb2 import TestIamPermissionsRequest  # type: ignore[import-untyped]
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1 import types

from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.clouds.gcp.driver.clients import Clients
from polybus.clouds.gcp.driver.line import Line
from polybus.clouds.gcp.driver.look import FIRST, look
from polybus.clouds.gcp.driver.publish import TopicPublisher, topic_of
from polybus.clouds.gcp.driver.wire import Pb, decode, published, why
from polybus.driver import Peeked, PublisherDriver, Stats
from polybus.errors import BindingError, UnsupportedFeature

__all__ = ["GcpAdmin"]

_Seek: Any = types.SeekRequest.pb()


class GcpAdmin:
    """Describe, peek, purge and redrive; Pub/Sub's API has no counts."""

    def __init__(self, clients: Clients, binding: Binding, clock: Clock) -> None:
        self._clients = clients
        self._binding = binding
        self._clock = clock

    async def ping(self) -> None:
        """Ask what we may do with one resource: the one call that needs no right (IAMPolicy.TestIamPermissions)."""
        entities = chain(self._binding.topics.values(), self._binding.subscriptions.values())
        entity = next(chain(entities, self._binding.queues.values()), None)
        if entity is None:
            raise BindingError(f"bus {self._binding.bus!r} has no topics and queues, so there is nothing to reach")
        right = "topics.publish" if entity.kind is Kind.TOPIC else "subscriptions.consume"
        request = TestIamPermissionsRequest(resource=entity.address, permissions=[f"pubsub.{right}"])
        with contextlib.suppress(MethodNotImplemented):  # Google's emulator has no IAM, and was reached
            await self._clients.call(lambda line: line.subscriber.test_iam_permissions, request, entity.address)

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        """Return Pub/Sub's own description, by the API's field names."""
        if entity.kind is Kind.TOPIC:
            topic = types.GetTopicRequest(topic=entity.address)
            found = await self._clients.call(lambda line: line.publisher.get_topic, topic, entity.address)
            return _plain(types.Topic.pb(found))
        subscription = types.GetSubscriptionRequest(subscription=entity.address)
        found = await self._clients.call(lambda line: line.subscriber.get_subscription, subscription, entity.address)
        return _plain(types.Subscription.pb(found))

    async def stats(self, entity: Entity) -> Stats:
        """Return nothing that is known: counts are in Cloud Monitoring alone, minutes late.

        Asks for the source all the same, so that one that is gone, or can't be reached, isn't passed over. Dead letters
        come with it, and who operates it may not look at their subscription.
        """
        if entity.kind is not Kind.DEAD_LETTERS:
            await self.describe(entity)
        return Stats()

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        """Lease letters for the time of the look, then give them back: Pub/Sub shows only what it hands over.

        One look finds each letter once; with `after` it is made anew, and may find others.
        """
        if entity.kind is not Kind.DEAD_LETTERS:
            raise UnsupportedFeature(
                f"{entity.kind.value} {entity.name!r} on gcp: Pub/Sub shows messages only by delivering them, which "
                "counts as an attempt; declare a subscription with `tap = true` to look at a topic"
            )
        skip = int(after) if after is not None else 0
        first = float(self._binding.settings.get("look", FIRST))
        found = await look(self._clients, entity.address, skip + count, self._clock, first)
        return [_peeked(raw, entity, place) for place, raw in enumerate(found)][skip:]

    async def purge(self, entity: Entity) -> int | None:
        """Seek to now, by the service's clock, which acks all that was published before.

        Pub/Sub doesn't say how many there were.
        """
        now = Timestamp()
        now.FromNanoseconds(int(await self._service_time(entity) * 1e9))
        request = types.SeekRequest.wrap(_Seek(subscription=entity.address, time=now))
        await self._clients.call(lambda line: line.subscriber.seek, request, entity.address)
        return None

    async def _service_time(self, entity: Entity) -> float:
        """Return the service's time, by the Date of an answer, or ours where that is within the same second.

        A date has no parts of a second: ours has them where it is right. Where it is wrong, what was published within
        the last second may stay; what is published later is never lost. An answer without a date leaves ours alone.
        """
        request = TestIamPermissionsRequest(resource=entity.address, permissions=["pubsub.subscriptions.consume"])
        dates: list[float] = []

        def asking(line: Line) -> Any:
            async def ask(request: Any, *, retry: None, timeout: float) -> None:
                call = line.test_iam_permissions(request, timeout=timeout)
                await call
                for name, value in (*await call.initial_metadata(), *await call.trailing_metadata()):
                    if name == "date":
                        dates.append(parsedate_to_datetime(str(value)).timestamp())

            return ask

        with contextlib.suppress(MethodNotImplemented, grpc.aio.AioRpcError):
            await self._clients.call(asking, request, entity.address)
        ours = self._clock.time()
        if not dates or dates[0] <= ours < dates[0] + 1.0:
            return ours
        return dates[0]

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        """Return a publisher to the source's topic whose messages pass the filter of this subscription alone."""
        await self._clients.ready()
        return TopicPublisher(self._clients, source, topic_of(source), source.tag)

    async def aclose(self) -> None:
        """Nothing is held: the clients are the driver's."""


def _plain(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def _peeked(raw: Pb, entity: Entity, place: int) -> Peeked:
    message, envelope = decode(raw, entity)
    return Peeked(str(place + 1), message, 0, why(envelope, entity), envelope.description or None, published(raw))
