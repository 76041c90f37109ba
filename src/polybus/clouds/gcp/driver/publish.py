"""Publishing to a Pub/Sub topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from google.pubsub_v1 import types

from polybus.binding import Entity, Kind
from polybus.clouds.gcp.driver.clients import Clients, upload_seconds
from polybus.clouds.gcp.driver.line import Line
from polybus.clouds.gcp.driver.wire import Wire, encode, fill, mark_again
from polybus.clouds.gcp.limits import GCP
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.errors import Fault
from polybus.message import Sent

__all__ = ["TopicPublisher", "request_bytes", "send", "topic_of"]

# Raw protobuf: through the library's own message types a message costs 60 us of client CPU instead of 20.
_Request: Any = types.PublishRequest.pb()


def topic_of(target: Entity) -> str:
    """Return the path of the topic that reaches an entity: its own, or that of its subscription."""
    return target.address if target.kind is Kind.TOPIC else str(target.options["topic"])


def request_bytes(topic: str) -> int:
    """Return the bytes that the messages of one request to a topic may have: what its name leaves."""
    return GCP.request_bytes.most - len(topic.encode()) - 8


async def send(clients: Clients, topic: str, messages: Iterable[Wire]) -> None:
    """Publish messages in one request, which succeeds or fails as a whole."""
    request = _Request(topic=topic)
    fill(request.messages, messages)
    await clients.call(_publishing, request, topic, upload_seconds(request.ByteSize()))


def _publishing(line: Line) -> Any:
    return line.publish


class TopicPublisher:
    """Publishes to a topic, for one subscription of it alone where `to` is that one's tag."""

    def __init__(self, clients: Clients, target: Entity, topic: str, to: str | None = None) -> None:
        # A request has one ordering key (PublishRequest.messages in the API reference), and succeeds or fails as a
        # whole: nothing overtakes.
        self.limits = BatchLimits(GCP.publish_messages.most, request_bytes(topic), mixes_keys=False)
        self._clients = clients
        self._target = target
        self._topic = topic
        self._to = to

    def prepare(self, outgoing: Outgoing) -> Prepared[Wire] | Fault:
        return encode(outgoing, self._target, to=self._to, room=self.limits.total_bytes)

    async def publish_batch(self, batch: Sequence[Prepared[Wire]]) -> Sequence[Sent | Fault]:
        try:
            await send(self._clients, self._topic, [prepared.wire for prepared in batch])
        except BaseException:
            # It may have been accepted all the same, and is a second copy when it is sent again.
            for prepared in batch:
                mark_again(prepared.wire)
            raise
        return [Sent(prepared.outgoing.message.id) for prepared in batch]

    async def aclose(self) -> None:
        """Nothing is held: the connection is the driver's."""
