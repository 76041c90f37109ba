"""What operators do with topics and queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from polybus.backends.aws.clients import Clients
from polybus.backends.aws.consume import receive_arguments
from polybus.backends.aws.publish import SqsPublisher
from polybus.backends.aws.wire import decode, why
from polybus.binding import Entity, Kind
from polybus.driver import Peeked, PublisherDriver, Stats
from polybus.errors import UnsupportedFeature
from polybus.topology.limits import AWS

__all__ = ["AwsAdmin"]


class AwsAdmin:
    """Stats, peek, purge and redrive by SQS; describe by SNS too."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def ping(self) -> None:
        """Ask who we are: the one call that needs no right."""
        sts = await self._clients.get("sts")
        await self._clients.run(sts.get_caller_identity)

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        if entity.kind is Kind.TOPIC:
            sns = await self._clients.get("sns")
            answer = await self._clients.run(partial(sns.get_topic_attributes, TopicArn=entity.address))
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
        """Lease letters for the time of the look, then give them back; SQS can't show what it doesn't hand over."""
        if entity.kind is not Kind.DEAD_LETTERS:
            raise UnsupportedFeature(
                f"{entity.kind.value} {entity.name!r} on aws: SQS shows messages only by receiving them, which counts "
                "as an attempt; declare a subscription with `tap = true` to look at a topic"
            )
        skip = int(after) if after is not None else 0
        sqs = await self._clients.get("sqs")
        found: list[Mapping[str, Any]] = []
        try:
            while len(found) < skip + count:
                arguments = receive_arguments(entity, min(skip + count - len(found), AWS.batch_entries.most), 1)
                answer = await self._clients.poll(partial(sqs.receive_message, **arguments))
                messages = answer.get("Messages", ())
                if not messages:
                    break
                found.extend(messages)
        finally:
            await self._give_back(sqs, entity, found)
        found.sort(key=lambda raw: raw["Attributes"].get("SentTimestamp", ""))
        return [_peeked(raw, entity, place) for place, raw in enumerate(found)][skip:]

    async def purge(self, entity: Entity) -> int | None:
        """Purge the queue; SQS takes up to 60 s for it, and doesn't say how many there were."""
        sqs = await self._clients.get("sqs")
        await self._clients.run(partial(sqs.purge_queue, QueueUrl=entity.address))
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
        return SqsPublisher(self._clients, await self._clients.get("sqs"), source)

    async def aclose(self) -> None:
        """Nothing is held: the clients are the driver's."""

    async def _attributes(self, entity: Entity, *names: str) -> Mapping[str, Any]:
        sqs = await self._clients.get("sqs")
        call = partial(sqs.get_queue_attributes, QueueUrl=entity.address, AttributeNames=list(names))
        found: Mapping[str, Any] = await self._clients.run(call)
        return found

    async def _give_back(self, sqs: Any, entity: Entity, found: Sequence[Mapping[str, Any]]) -> None:
        most = AWS.batch_entries.most
        for start in range(0, len(found), most):
            entries = [
                {"Id": str(place), "ReceiptHandle": raw["ReceiptHandle"], "VisibilityTimeout": 0}
                for place, raw in enumerate(found[start : start + most])
            ]
            call = partial(sqs.change_message_visibility_batch, QueueUrl=entity.address, Entries=entries)
            await self._clients.run(call)


def _peeked(raw: Mapping[str, Any], entity: Entity, place: int) -> Peeked:
    message, envelope = decode(raw, entity)
    sent = raw["Attributes"].get("SentTimestamp")
    return Peeked(
        str(place + 1),
        message,
        0,
        why(envelope, entity),
        envelope.description or None,
        None if sent is None else int(sent) / 1000,
    )
