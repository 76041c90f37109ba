"""What operators do with topics and subscriptions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from google.api_core.exceptions import DeadlineExceeded, MethodNotImplemented
from google.iam.v1.iam_policy_pb2 import TestIamPermissionsRequest  # type: ignore[import-untyped]
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from google.pubsub_v1 import types

from polybus.backends.gcp.clients import Clients, call
from polybus.backends.gcp.publish import TopicPublisher, topic_of
from polybus.backends.gcp.settle import modify
from polybus.backends.gcp.wire import Pb, decode, why
from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.driver import Peeked, PublisherDriver, Stats
from polybus.errors import BindingError, UnsupportedFeature
from polybus.topology.limits import GCP

__all__ = ["GcpAdmin"]

# Seconds that a pull waits for a first letter: an empty answer says that there is none. Once some have come, the others
# are close behind.
FIRST_LOOK = 2.0
NEXT_LOOK = 0.5

_Pull: Any = types.PullRequest.pb()
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
        if entity.kind is Kind.TOPIC:
            method, permission = (await self._clients.publisher()).test_iam_permissions, "pubsub.topics.publish"
        else:
            method, permission = (await self._clients.subscriber()).test_iam_permissions, "pubsub.subscriptions.consume"
        request = TestIamPermissionsRequest(resource=entity.address, permissions=[permission])
        with contextlib.suppress(MethodNotImplemented):  # Google's emulator has no IAM, and was reached
            await call(method, request, entity.address)

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        """Return Pub/Sub's own description, by the API's field names."""
        if entity.kind is Kind.TOPIC:
            topic = types.GetTopicRequest(topic=entity.address)
            found = await call((await self._clients.publisher()).get_topic, topic, entity.address)
            return _plain(types.Topic.pb(found))
        subscription = types.GetSubscriptionRequest(subscription=entity.address)
        found = await call((await self._clients.subscriber()).get_subscription, subscription, entity.address)
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
        """Lease letters for the time of the look, then give them back: Pub/Sub shows only what it hands over."""
        if entity.kind is not Kind.DEAD_LETTERS:
            raise UnsupportedFeature(
                f"{entity.kind.value} {entity.name!r} on gcp: Pub/Sub shows messages only by delivering them, which "
                "counts as an attempt; declare a subscription with `tap = true` to look at a topic"
            )
        skip = int(after) if after is not None else 0
        found: list[Pb] = []
        try:
            while len(found) < skip + count:
                received = await self._pull(entity, skip + count - len(found), NEXT_LOOK if found else FIRST_LOOK)
                if not received:
                    break
                found.extend(received)
        finally:
            subscriber = await self._clients.subscriber()
            await modify(subscriber, entity.address, [each.ack_id for each in found], 0)
        found.sort(key=lambda each: (each.message.publish_time.seconds, each.message.publish_time.nanos))
        return [_peeked(each.message, entity, place) for place, each in enumerate(found)][skip:]

    async def _pull(self, entity: Entity, count: int, wait: float) -> Sequence[Pb]:
        request = _Pull(subscription=entity.address, max_messages=min(count, GCP.ack_ids.most))
        subscriber = await self._clients.subscriber()
        try:
            answer = await call(subscriber.pull, types.PullRequest.wrap(request), entity.address, wait)
        except DeadlineExceeded:
            return ()
        received: Sequence[Pb] = types.PullResponse.pb(answer).received_messages
        return received

    async def purge(self, entity: Entity) -> int | None:
        """Seek to now, which acks all that was published before; Pub/Sub doesn't say how many there were."""
        now = Timestamp()
        now.FromNanoseconds(int(self._clock.time() * 1e9))
        request = types.SeekRequest.wrap(_Seek(subscription=entity.address, time=now))
        await call((await self._clients.subscriber()).seek, request, entity.address)
        return None

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        """Return a publisher to the source's topic whose messages pass the filter of this subscription alone."""
        return TopicPublisher(await self._clients.publisher(), source, topic_of(source), source.tag)

    async def aclose(self) -> None:
        """Nothing is held: the clients are the driver's."""


def _plain(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def _peeked(raw: Pb, entity: Entity, place: int) -> Peeked:
    message, envelope = decode(raw, entity)
    at = raw.publish_time.seconds + raw.publish_time.nanos * 1e-9
    return Peeked(str(place + 1), message, 0, why(envelope, entity), envelope.description or None, at)
