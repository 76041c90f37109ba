"""The local Pub/Sub as the control face steers it.

Names are full, projects/P/topics/T, or what follows the project's name where it is the server's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import grpc

from polybus.clock import Clock
from polybus.localcloud.control.steering import Entity, Refused, Restarted, Restoring, Shown
from polybus.localcloud.events import Events
from polybus.localcloud.pubsub import protocol
from polybus.localcloud.pubsub.encoding import decode
from polybus.localcloud.pubsub.publishing import check_publish
from polybus.localcloud.pubsub.refusal import Refused as Refusal
from polybus.localcloud.pubsub.subscription import Subscription
from polybus.localcloud.store import Store

if TYPE_CHECKING:
    from polybus.localcloud.pubsub.catalog import Catalog
    from polybus.localcloud.pubsub.service import Service

__all__ = ["PubsubSteering"]

_LETTER = "CloudPubSubDeadLetterSource"  # what Google puts on a dead letter begins so
_SOURCE = f"{_LETTER}Subscription"


class Server(Restarted, Protocol):
    """What of the server is steered."""

    project: str


class PubsubSteering(Restoring):
    """See `control.steering.Steering`. Operations are methods of the API, errors the names of gRPC's statuses."""

    def __init__(self, server: Server, store: Store, clock: Clock) -> None:
        super().__init__(server, store)
        self._server = server
        self._service: Service | None = None
        self.events = Events()
        self.events.begin(clock, self._short)

    def begin(self, service: Service) -> None:
        """Take up what a server serves with when it starts."""
        self._service = service

    def _running(self) -> Service:
        if self._service is None:
            raise Refused("the server isn't started")
        return self._service

    @property
    def _catalog(self) -> Catalog:
        return self._running().catalog

    def _short(self, name: str) -> str:
        return name.removeprefix(f"projects/{self._server.project}/")

    def _full(self, name: str) -> str:
        return name if name.startswith("projects/") else f"projects/{self._server.project}/{name}"

    def _subscription(self, name: str) -> Subscription:
        found = self._catalog.subscriptions.get(self._full(name))
        if found is None:
            raise Refused(f"there is no subscription {name}")
        return found

    # -- looking

    def entities(self) -> list[Entity]:
        catalog = self._catalog
        topics = [
            Entity(self._short(topic.name), "topic", gives_to=[self._short(name) for name in topic.subscriptions])
            for topic in catalog.topics.values()
        ]
        return [*topics, *(self._described(each) for each in catalog.subscriptions.values())]

    def _described(self, subscription: Subscription) -> Entity:
        states = [state for _, state, _, _ in subscription.look()]
        letters = subscription.config.dead_letter_policy.dead_letter_topic
        return Entity(
            self._short(subscription.name),
            "subscription",
            waiting=states.count("waiting"),
            in_flight=states.count("in_flight"),
            dead_letters=self._short(letters) or None,
        )

    def messages(self, entity: str, limit: int) -> list[Shown]:
        if self._full(entity) in self._catalog.topics:
            return []
        found: list[Shown] = []
        for message, state, deliveries, until in self._subscription(entity).look():
            if len(found) == limit:
                break
            body = decode(message.wire)
            found.append(
                Shown(
                    str(message.number),
                    state,
                    body.data,
                    dict(body.attributes),
                    message.key or None,
                    deliveries,
                    message.published,
                    until,
                )
            )
        return found

    # -- doing

    async def publish(self, entity: str, body: bytes, attributes: Mapping[str, str], key: str | None) -> str:
        try:
            topic = self._catalog.topic(self._full(entity))
            message = protocol.PubsubMessage(data=body, attributes=dict(attributes), ordering_key=key or "")
            request = protocol.PublishRequest(topic=topic.name, messages=[message])
            check_publish(request)
            self._catalog.check_messages(topic, request.messages)
            [number] = topic.publish(request.messages)
        except Refusal as refusal:
            raise Refused(refusal.detail) from None
        await self._catalog.journal.commit()
        return str(number)

    async def redrive(self, entity: str) -> int:
        """Give back the letters that this subscription made, on whatever subscription of their topic they lie."""
        source = self._subscription(entity)
        letters = self._catalog.topics.get(source.config.dead_letter_policy.dead_letter_topic)
        topic = self._catalog.topics.get(source.config.topic)
        if letters is None or topic is None:
            raise Refused(f"{entity} has no dead-letter topic")
        given: set[str] = set()
        for holder in letters.subscriptions.values():
            taken: list[int] = []
            for message, state, _, _ in list(holder.look()):
                body = decode(message.wire)
                if state != "waiting" or body.attributes.get(_SOURCE) != source.name.rpartition("/")[2]:
                    continue
                taken.append(message.number)
                if body.message_id not in given:
                    given.add(body.message_id)
                    self._give_back(source, body)
            holder.drop(taken)
        await self._catalog.journal.commit()
        return len(given)

    def _give_back(self, source: Subscription, body: protocol.Proto) -> None:
        for name in [name for name in body.attributes if name.startswith(_LETTER)]:
            del body.attributes[name]
        body.ClearField("message_id")
        body.ClearField("publish_time")
        topic = self._catalog.topics[source.config.topic]
        source.add([topic.message(body)])

    def fail(self, operation: str, error: str, count: int, *, after: bool) -> None:
        faults = self._running().faults
        self._check_operation(operation)
        code = getattr(grpc.StatusCode, error.upper(), None)
        if not isinstance(code, grpc.StatusCode):
            raise Refused(f"{error} is no status of gRPC's, such as UNAVAILABLE")
        if after:
            faults.plan_after(operation, code, count)
        else:
            faults.plan(operation, code, count, "")

    def delay(self, operation: str, seconds: float, count: int) -> None:
        self._check_operation(operation)
        self._running().faults.delays.plan(operation, seconds, count)

    def _check_operation(self, operation: str) -> None:
        methods = self._running().faults.methods
        if operation not in methods:
            raise Refused(f"{operation} is no method; there are {', '.join(sorted(methods))}")

    def clear(self) -> None:
        self._running().faults.clear()

    async def cut(self) -> None:
        await self._running().cut()
