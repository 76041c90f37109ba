"""Publishing to an SNS topic or an SQS queue."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from polybus.backends.aws.clients import Clients
from polybus.backends.aws.faults import entry_fault
from polybus.backends.aws.wire import Wire, encode, message_limit
from polybus.binding import Entity
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.errors import Fault, FaultKind
from polybus.message import Sent
from polybus.topology.limits import AWS

__all__ = ["SnsPublisher", "SqsPublisher", "outcomes"]


def limits(target: Entity) -> BatchLimits:
    """Return what a batch may hold: the entries of a batch can fail one by one, so FIFO keys aren't repeated in it."""
    # A batch as a whole has the limit of one message of its topic or queue (SNS PublishBatch, SQS SendMessageBatch).
    return BatchLimits(
        count=AWS.batch_entries.most,
        total_bytes=min(AWS.batch_bytes.most, message_limit(target)),
        repeats_key=not target.ordered,
    )


def outcomes(batch: Sequence[Prepared[Wire]], answer: Mapping[str, Any], operation: str) -> list[Sent | Fault]:
    """Return the outcome of each entry, whose ids are its places in the batch, from a batch call's answer."""
    missing = Fault(FaultKind.INTERNAL, f"{operation}: the answer leaves this entry out")
    found: list[Sent | Fault] = [missing] * len(batch)
    for entry in answer.get("Successful", ()):
        place = int(entry["Id"])
        found[place] = Sent(batch[place].outgoing.message.id)
    for entry in answer.get("Failed", ()):
        found[int(entry["Id"])] = entry_fault(entry, operation)
    return found


class _Publisher:
    """What the two have in common: one batch call."""

    operation = ""

    def __init__(self, clients: Clients, client: Any, target: Entity) -> None:
        self.limits = limits(target)
        self._clients = clients
        self._client = client
        self._target = target

    def prepare(self, outgoing: Outgoing) -> Prepared[Wire] | Fault:
        return encode(outgoing, self._target)

    async def publish_batch(self, batch: Sequence[Prepared[Wire]]) -> Sequence[Sent | Fault]:
        entries = [self._entry(place, prepared) for place, prepared in enumerate(batch)]
        answer = await self._clients.run(self._call(entries))
        return outcomes(batch, answer, self.operation)

    async def aclose(self) -> None:
        """Nothing is held: the client is the driver's."""

    def _entry(self, place: int, prepared: Prepared[Wire]) -> dict[str, Any]:
        entry: dict[str, Any] = {"Id": str(place), "MessageAttributes": prepared.wire.attributes}
        message = prepared.outgoing.message
        if self._target.ordered and message.ordering_key is not None:
            entry["MessageGroupId"] = message.ordering_key
            entry["MessageDeduplicationId"] = prepared.outgoing.dedup_id
        return entry

    def _call(self, entries: list[dict[str, Any]]) -> Callable[[], Mapping[str, Any]]:
        raise AssertionError("a topic and a queue have calls of their own")


class SnsPublisher(_Publisher):
    """Publishes to a topic."""

    operation = "PublishBatch"

    def _entry(self, place: int, prepared: Prepared[Wire]) -> dict[str, Any]:
        return {**super()._entry(place, prepared), "Message": prepared.wire.body}

    def _call(self, entries: list[dict[str, Any]]) -> Callable[[], Mapping[str, Any]]:
        return partial(self._client.publish_batch, TopicArn=self._target.address, PublishBatchRequestEntries=entries)


class SqsPublisher(_Publisher):
    """Publishes to a queue; redrive uses it to reach a subscription's queue alone."""

    operation = "SendMessageBatch"

    def _entry(self, place: int, prepared: Prepared[Wire]) -> dict[str, Any]:
        entry = {**super()._entry(place, prepared), "MessageBody": prepared.wire.body}
        if prepared.outgoing.delay:
            entry["DelaySeconds"] = math.ceil(prepared.outgoing.delay)
        return entry

    def _call(self, entries: list[dict[str, Any]]) -> Callable[[], Mapping[str, Any]]:
        return partial(self._client.send_message_batch, QueueUrl=self._target.address, Entries=entries)
