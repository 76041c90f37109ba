"""Receiving from an SQS queue, and settling."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from polybus.backends.aws.clients import Clients
from polybus.backends.aws.faults import entry_fault, fault, receipt_fault
from polybus.backends.aws.wire import Wire, decode, encode, why
from polybus.binding import Entity, Kind
from polybus.clock import Clock
from polybus.driver import Ack, BatchLimits, DeadLetter, LeaseUntil, Nack, Outgoing, Prepared, Received, Settlement
from polybus.errors import Fault
from polybus.topology.limits import AWS

__all__ = ["SqsConsumer", "receive_arguments"]

Receipt = str
Settle = Ack[Receipt] | Nack[Receipt] | DeadLetter[Receipt]

MOST = AWS.batch_entries.most
# After a long poll that came back full, this many more receives are made at once, without waiting: a backlog is there.
BURST = 8
# SQS doesn't say when a lease began. It is counted from this many seconds before the answer arrived (a quarter of a
# short lease), or from the call if that is later: an answer takes one round trip, 5 s is what a connect may take.
TRANSIT = 5.0


def receive_arguments(source: Entity, count: int, wait: int) -> dict[str, Any]:
    """Return the arguments of ReceiveMessage for up to 10 messages, with a wait in seconds."""
    return {
        "QueueUrl": source.address,
        "MaxNumberOfMessages": min(count, MOST),
        "WaitTimeSeconds": wait,
        "VisibilityTimeout": math.ceil(source.lease),
        "MessageAttributeNames": ["All"],
        "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
    }


class SqsConsumer:
    """Consumes one queue: a subscription's, a queue's own, or one of dead letters."""

    limits = BatchLimits(count=MOST, total_bytes=AWS.batch_bytes.most)

    def __init__(self, clients: Clients, client: Any, source: Entity, clock: Clock) -> None:
        self._clients = clients
        self._client = client
        self._source = source
        self._clock = clock
        self._stopping = False

    # Receiving -------------------------------------------------------------------------------------------------------

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Receipt]]:
        """Long poll once; a full answer means a backlog, of which the rest of `count` is fetched at once.

        A long poll is never cut off: what SQS hands to a dead connection stays invisible until its lease ends.
        """
        if self._stopping:
            return ()
        seconds = min(math.ceil(wait), self._clients.long_poll)
        received = await self._receive(count, seconds)
        more = min(math.ceil((count - len(received)) / MOST), BURST)
        if len(received) < MOST or more <= 0 or self._stopping:
            return received
        rest = await asyncio.gather(
            *(self._receive(count - len(received) - MOST * place, 0) for place in range(more)), return_exceptions=True
        )
        for batch in rest:
            # What was received is not lost for a burst call's error: that call's next one will say it again.
            if not isinstance(batch, BaseException):
                received.extend(batch)
        return received

    async def _receive(self, count: int, wait: int) -> list[Received[Receipt]]:
        begun = self._clock.monotonic()
        call = partial(self._client.receive_message, **receive_arguments(self._source, count, wait))
        answer = await (self._clients.poll(call) if wait else self._clients.run(call))
        since = max(begun, self._clock.monotonic() - min(TRANSIT, self._source.lease / 4))
        until = since + math.ceil(self._source.lease)
        return [self._received(raw, until) for raw in answer.get("Messages", ())]

    def _received(self, raw: Mapping[str, Any], until: float) -> Received[Receipt]:
        message, envelope = decode(raw, self._source)
        attempt = int(raw["Attributes"]["ApproximateReceiveCount"])
        grouped = self._source.ordered and self._source.kind is not Kind.DEAD_LETTERS
        return Received(
            message,
            attempt,
            until,
            raw["ReceiptHandle"],
            raw["Attributes"].get("MessageGroupId") if grouped else None,
            attempt > 1 or envelope.moves > 0,
            envelope.moves,
            why(envelope, self._source),
            envelope.description or None,
        )

    # Settling --------------------------------------------------------------------------------------------------------

    async def settle_batch(self, settlements: Sequence[Settlement[Receipt]]) -> Sequence[Fault | None]:
        found: list[Fault | None] = [None] * len(settlements)
        acks: list[int] = []
        nacks: list[int] = []
        letters: list[int] = []
        for place, settlement in enumerate(settlements):
            kind = acks if isinstance(settlement, Ack) else nacks if isinstance(settlement, Nack) else letters
            kind.append(place)
        if len(acks) == len(settlements):  # nearly always: three tasks fewer for each call
            await self._delete(settlements, acks, found)
            return found
        await asyncio.gather(
            self._delete(settlements, acks, found),
            self._make_visible(settlements, nacks, found),
            self._dead_letter(settlements, letters, found),
        )
        return found

    async def _delete(self, settlements: Sequence[Settle], places: Sequence[int], found: list[Fault | None]) -> None:
        entries = [self._entry(place, settlements[place]) for place in places]
        await self._batch("DeleteMessageBatch", self._client.delete_message_batch, entries, found)

    async def _make_visible(
        self, settlements: Sequence[Settle], places: Sequence[int], found: list[Fault | None]
    ) -> None:
        entries = []
        for place in places:
            settlement = settlements[place]
            delay = settlement.delay if isinstance(settlement, Nack) else 0.0
            entries.append({**self._entry(place, settlement), "VisibilityTimeout": math.ceil(delay)})
        call = self._client.change_message_visibility_batch
        await self._batch("ChangeMessageVisibilityBatch", call, entries, found)

    async def _dead_letter(
        self, settlements: Sequence[Settle], places: Sequence[int], found: list[Fault | None]
    ) -> None:
        """Send copies to the dead letters, then delete what has one (contract, D7)."""
        if not places:
            return
        target = self._source.dead_letters
        call = partial(self._client.send_message_batch, QueueUrl=target.address)
        entries: list[dict[str, Any]] = []
        size = 0
        for place in places:
            prepared = self._letter(settlements[place], target)
            if isinstance(prepared, Fault):
                found[place] = prepared
                continue
            if size + prepared.size > AWS.batch_bytes.most:
                await self._batch("SendMessageBatch", call, entries, found, receipts=False)
                entries, size = [], 0
            entries.append(self._letter_entry(place, prepared))
            size += prepared.size
        await self._batch("SendMessageBatch", call, entries, found, receipts=False)
        await self._delete(settlements, [place for place in places if found[place] is None], found)

    def _letter(self, settlement: Settle, target: Entity) -> Prepared[Wire] | Fault:
        received = settlement.received
        outgoing = Outgoing(received.message, moves=received.moves + 1)
        reason, description = "", ""
        if isinstance(settlement, DeadLetter):
            reason, description = settlement.reason, settlement.description
        return encode(outgoing, target, reason=reason or "unknown", description=description)

    def _letter_entry(self, place: int, prepared: Prepared[Wire]) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "Id": str(place),
            "MessageBody": prepared.wire.body,
            "MessageAttributes": prepared.wire.attributes,
        }
        if self._source.ordered:
            # A group of its own for each letter: in one by key, a letter that someone looks at would hide the others.
            # The ordering key itself is in the reserved attribute.
            entry["MessageGroupId"] = prepared.outgoing.message.id
            entry["MessageDeduplicationId"] = prepared.outgoing.dedup_id
        return entry

    def _entry(self, place: int, settlement: Settle) -> dict[str, Any]:
        return {"Id": str(place), "ReceiptHandle": settlement.received.receipt}

    async def _batch(
        self,
        operation: str,
        call: Callable[..., Mapping[str, Any]],
        entries: list[dict[str, Any]],
        found: list[Fault | None],
        *,
        receipts: bool = True,
    ) -> None:
        """Make one batch call, and note the faults of its entries at their places."""
        if not entries:
            return
        arguments: dict[str, Any] = {"Entries": entries}
        if receipts:
            arguments["QueueUrl"] = self._source.address
        try:
            answer = await self._clients.run(partial(call, **arguments))
        except Exception as error:  # noqa: BLE001 - the other calls of this batch have answers of their own
            failed = fault(error)
            for entry in entries:
                found[int(entry["Id"])] = failed
            return
        for failure in answer.get("Failed", ()):
            entry_failed = entry_fault(failure, operation)
            found[int(failure["Id"])] = receipt_fault(entry_failed) if receipts else entry_failed

    # Leases ----------------------------------------------------------------------------------------------------------

    async def extend_batch(self, received: Sequence[Received[Receipt]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        whole = max(math.floor(seconds), 1)
        until = LeaseUntil(self._clock.monotonic() + whole)
        found: list[Fault | None] = [None] * len(received)
        entries = [
            {"Id": str(place), "ReceiptHandle": one.receipt, "VisibilityTimeout": whole}
            for place, one in enumerate(received)
        ]
        call = self._client.change_message_visibility_batch
        await self._batch("ChangeMessageVisibilityBatch", call, entries, found)
        return [until if fault_ is None else fault_ for fault_ in found]

    # Ending ----------------------------------------------------------------------------------------------------------

    async def stop(self) -> Sequence[Received[Receipt]]:
        """Make no more receives; one that is under way ends by itself, at the latest with its long poll."""
        self._stopping = True
        return ()

    async def aclose(self) -> None:
        """Nothing is held: the client is the driver's."""
