"""Publishing to an SNS topic or an SQS queue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from polybus.binding import Entity
from polybus.clouds.aws.driver.clients import Clients
from polybus.clouds.aws.driver.faults import entry_fault, left_out
from polybus.clouds.aws.driver.wire import Wire, encode, group_id, message_limit
from polybus.clouds.aws.limits import AWS
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.errors import Fault
from polybus.message import Sent
from polybus.portable import safe_id

__all__ = ["SnsPublisher", "SqsPublisher", "outcomes"]


def limits(target: Entity) -> BatchLimits:
    """Return what a batch may hold: its entries can fail one by one, so keys aren't repeated in it (contract, P6).

    They do so at the service's own faults, and for their size. For what one entry *is* (an attribute's name, no group),
    SNS, and SQS for FIFO queues, refuse the request as a whole and send nothing of it: then the bus sends each alone.
    """
    # A batch as a whole has the limit of one message of its topic or queue (SNS PublishBatch, SQS SendMessageBatch).
    return BatchLimits(
        count=AWS.batch_entries.most,
        total_bytes=min(AWS.batch_bytes.most, message_limit(target)),
        repeats_key=not target.ordered,
    )


def outcomes(batch: Sequence[Prepared[Wire]], answer: Mapping[str, Any], operation: str) -> list[Sent | Fault]:
    """Return the outcome of each entry, whose ids are its places in the batch, from a batch call's answer."""
    found: list[Sent | Fault] = [left_out(operation)] * len(batch)
    for entry in answer.get("Successful", ()):
        place = int(entry["Id"])
        found[place] = Sent(batch[place].outgoing.message.id)
    for entry in answer.get("Failed", ()):
        found[int(entry["Id"])] = entry_fault(entry, operation)
    return found


class _Publisher:
    """What the two have in common: one batch call."""

    operation = ""

    def __init__(self, clients: Clients, target: Entity) -> None:
        self.limits = limits(target)
        self._clients = clients
        self._target = target

    def prepare(self, outgoing: Outgoing) -> Prepared[Wire] | Fault:
        return encode(outgoing, self._target)

    async def publish_batch(self, batch: Sequence[Prepared[Wire]]) -> Sequence[Sent | Fault]:
        entries = [self._entry(place, prepared) for place, prepared in enumerate(batch)]
        return outcomes(batch, await self._call(entries), self.operation)

    async def aclose(self) -> None:
        """Nothing is held: the client is the driver's."""

    def _entry(self, place: int, prepared: Prepared[Wire]) -> dict[str, Any]:
        entry: dict[str, Any] = {"Id": str(place), "MessageAttributes": prepared.wire.attributes}
        key = prepared.outgoing.message.ordering_key
        if self._target.ordered and key is not None:
            entry["MessageGroupId"] = group_id(key)
            entry["MessageDeduplicationId"] = safe_id(prepared.outgoing.dedup_id)
        elif self._target.fairness_key is not None:
            # Those without the attribute are of one tenant, too: SQS would take each for one of its own.
            attributes = prepared.outgoing.message.attributes
            entry["MessageGroupId"] = group_id(attributes.get(self._target.fairness_key, ""))
        return entry

    async def _call(self, entries: list[dict[str, Any]]) -> Mapping[str, Any]:
        raise AssertionError("a topic and a queue have calls of their own")


class SnsPublisher(_Publisher):
    """Publishes to a topic."""

    operation = "PublishBatch"

    def _entry(self, place: int, prepared: Prepared[Wire]) -> dict[str, Any]:
        return {**super()._entry(place, prepared), "Message": prepared.wire.body}

    async def _call(self, entries: list[dict[str, Any]]) -> Mapping[str, Any]:
        address = self._target.address
        answer: Mapping[str, Any] = await self._clients.publish(
            "sns", self.operation, TopicArn=address, PublishBatchRequestEntries=entries
        )
        return answer


class SqsPublisher(_Publisher):
    """Publishes to a queue; redrive uses it to reach a subscription's queue alone."""

    operation = "SendMessageBatch"

    def _entry(self, place: int, prepared: Prepared[Wire]) -> dict[str, Any]:
        entry = {**super()._entry(place, prepared), "MessageBody": prepared.wire.body}
        if prepared.outgoing.delay:
            entry["DelaySeconds"] = math.ceil(prepared.outgoing.delay)
        return entry

    async def _call(self, entries: list[dict[str, Any]]) -> Mapping[str, Any]:
        address = self._target.address
        answer: Mapping[str, Any] = await self._clients.publish(
            "sqs", self.operation, QueueUrl=address, Entries=entries
        )
        return answer
