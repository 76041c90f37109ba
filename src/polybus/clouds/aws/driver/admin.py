"""What operators do with topics and queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polybus.binding import Entity, Kind
from polybus.clock import Clock
from polybus.clouds.aws.driver.clients import Clients
from polybus.clouds.aws.driver.faults import fault
from polybus.clouds.aws.driver.look import Look
from polybus.clouds.aws.driver.publish import SqsPublisher
from polybus.clouds.aws.driver.wire import decode, sent_at, topics_of, why
from polybus.driver import Peeked, PublisherDriver, Stats
from polybus.errors import FaultKind, UnsupportedFeature

__all__ = ["AwsAdmin"]


class AwsAdmin:
    """Stats, peek, purge and redrive by SQS; describe by SNS too."""

    def __init__(self, clients: Clients, clock: Clock, topics: Mapping[str, Entity]) -> None:
        self._clients = clients
        self._clock = clock
        self._topics = topics

    async def ping(self) -> None:
        """Ask SQS something that needs no right: that it denies this to who we are is as good an answer as any.

        Not STS, which says who we are: private subnets often have endpoints of SNS and SQS alone.
        """
        try:
            await self._clients.call("sqs", "ListQueues", MaxResults=1)
        except Exception as error:
            if fault(error).kind is not FaultKind.DENIED:
                raise

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        if entity.kind is Kind.TOPIC:
            answer = await self._clients.call("sns", "GetTopicAttributes", TopicArn=entity.address)
        else:
            answer = await self._attributes(entity, "All")
        return dict(answer["Attributes"])

    async def stats(self, entity: Entity) -> Stats:
        """Return SQS's approximate counts; a topic holds nothing."""
        if entity.kind is Kind.TOPIC:
            return Stats()
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        delayed = "ApproximateNumberOfMessagesDelayed"
        found = (await self._attributes(entity, *names, delayed))["Attributes"]
        return Stats(int(found[names[0]]), int(found[names[1]]), int(found[delayed]))

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        """Lease letters for the time of the look, then give them back; SQS can't show what it doesn't hand over.

        One look shows all that it can, up to `count`, so nothing comes `after` it. A letter that someone else has
        leased meanwhile, another look included, isn't seen.
        """
        if entity.kind is not Kind.DEAD_LETTERS:
            raise UnsupportedFeature(
                f"{entity.kind.value} {entity.name!r} on aws: SQS shows messages only by receiving them, which counts "
                "as an attempt; declare a subscription with `tap = true` to look at a topic"
            )
        if after is not None or count <= 0:
            return ()
        look = Look(entity, count, self._clock)
        found = await self._clients.look(entity.address, look)
        topics = topics_of(entity, self._topics)
        return [_peeked(raw, entity, topics) for raw in found]

    async def purge(self, entity: Entity) -> int | None:
        """Purge the queue; SQS takes up to 60 s for it, may delete what comes meanwhile, and doesn't say how many."""
        await self._clients.call("sqs", "PurgeQueue", QueueUrl=entity.address)
        return None

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        """Return a publisher to the subscription's or queue's own SQS queue.

        Raises UnsupportedFeature for a push subscription: it has none, and its topic delivers to others as well.
        """
        if source.push:
            raise UnsupportedFeature(
                f"redrive of the push subscription {source.name!r}: SNS delivers again only what is published to "
                f"{source.topic!r} again, for every subscription; peek at its dead letters, and publish what is needed"
            )
        await self._clients.warm("sqs")
        return SqsPublisher(self._clients, source)

    async def aclose(self) -> None:
        """Nothing is held: the clients are the driver's."""

    async def _attributes(self, entity: Entity, *names: str) -> Mapping[str, Any]:
        call = self._clients.call("sqs", "GetQueueAttributes", QueueUrl=entity.address, AttributeNames=list(names))
        found: Mapping[str, Any] = await call
        return found


def _peeked(raw: Mapping[str, Any], entity: Entity, topics: frozenset[str]) -> Peeked:
    message, envelope = decode(raw, entity, topics)
    return Peeked(raw["MessageId"], message, 0, why(envelope, entity), envelope.description or None, sent_at(raw))
