"""Receiving from an SQS queue, and settling."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from polybus.binding import Entity, Kind
from polybus.clock import Clock
from polybus.clouds.aws.driver import faults
from polybus.clouds.aws.driver.clients import Clients
from polybus.clouds.aws.driver.faults import entry_fault, fault, left_out, receipt_fault
from polybus.clouds.aws.driver.wire import Wire, decode, encode, sent_at, why
from polybus.clouds.aws.limits import AWS
from polybus.driver import Ack, BatchLimits, LeaseUntil, Nack, Outgoing, Prepared, Received, Settlement, ToDeadLetters
from polybus.errors import Fault, FaultKind
from polybus.portable import safe_id

__all__ = ["Receipt", "SqsConsumer", "change_visibility", "receive_arguments"]

Settle = Ack[str] | Nack[str] | ToDeadLetters[str]

MOST = AWS.batch_entries.most
# After a long poll that came back full, this many more receives are made at once, without waiting: a backlog is there.
BURST = 8
# SQS begins a lease at some time during the poll, and doesn't say when. So it is counted from before the call, and no
# poll takes longer than this part of a lease off it.
POLL_PART = 4
# An answer that took more than this part of its lease came late: no poll takes as long.
LATE_PART = 0.5
# SQS waits whole seconds. Where the part is less than one, it waits one, for which the lease that is asked for is one
# second longer: without waiting at all, an idle consumer would ask without a pause.
LEAST_POLL = 1
# How long SQS knows a receive by its attempt id, in seconds (ReceiveMessage in the SQS API reference).
ATTEMPT_KNOWN = 300.0

# What is wrong with a request for what it holds: sent alone, its other entries may be right.
_OF_ONE = frozenset({FaultKind.INVALID, FaultKind.TOO_LARGE})
_ENDED = Fault(
    FaultKind.LEASE_LOST,
    "its lease is over by this process's clock; SQS ends each 12 hours after the receive at the latest",
)


class Receipt(str):
    """A receipt handle that knows when its lease began and ends, by the consumer's clock: then or a moment before.

    SQS ends a lease 12 hours after its beginning, whatever is asked, and refuses to be asked for more. After its end a
    standard queue takes the handle all the same, whoever has the message then: so it isn't sent.
    """

    since: float
    until: float

    def __new__(cls, handle: str, since: float, until: float) -> Receipt:
        receipt = super().__new__(cls, handle)
        receipt.since = since
        receipt.until = until
        return receipt


def receive_arguments(source: Entity, count: int, wait: int, visibility: int) -> dict[str, Any]:
    """Return the arguments of ReceiveMessage for up to 10 messages, with a wait and a lease in seconds."""
    return {
        "QueueUrl": source.address,
        "MaxNumberOfMessages": min(count, MOST),
        "WaitTimeSeconds": wait,
        "VisibilityTimeout": visibility,
        "MessageAttributeNames": ["All"],
        "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
    }


def change_visibility(client: Any, address: str, handles: Sequence[str], seconds: int) -> None:
    """Let the leases end `seconds` from now, 0 to give them back; blocks."""
    for start in range(0, len(handles), MOST):
        entries = [
            {"Id": str(place), "ReceiptHandle": handle, "VisibilityTimeout": seconds}
            for place, handle in enumerate(handles[start : start + MOST])
        ]
        client.change_message_visibility_batch(QueueUrl=address, Entries=entries)


class SqsConsumer:
    """Consumes one queue: a subscription's, a queue's own, or one of dead letters.

    `topics` are the ARNs of what may deliver here, for deliveries that come in SNS's envelope.
    """

    limits = BatchLimits(count=MOST, total_bytes=AWS.batch_bytes.most)

    def __init__(
        self,
        clients: Clients,
        source: Entity,
        clock: Clock,
        *,
        topics: frozenset[str] = frozenset(),
        on_closed: Callable[[SqsConsumer], object] = lambda consumer: None,
    ) -> None:
        self._clients = clients
        self._source = source
        self._clock = clock
        self._topics = topics
        self._on_closed = on_closed
        self._stopping = False
        self._lease = math.ceil(source.lease)
        self._longest = min(clients.long_poll, max(self._lease // POLL_PART, LEAST_POLL))
        # The attempt ids of receives whose answers were lost, with the time of the loss.
        self._lost: deque[tuple[str, float]] = deque()

    # Receiving -------------------------------------------------------------------------------------------------------

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[str]]:
        """Long poll once; a full answer means a backlog, of which the rest of `count` is fetched at once.

        What a poll brings that nobody waits for any more is given back: SQS would keep it invisible for a whole lease.
        """
        if self._stopping:
            return ()
        received = await self._receive(count, self._wait(wait))
        more = min(math.ceil((count - len(received)) / MOST), BURST)
        if len(received) < MOST or more <= 0 or self._stopping:
            return received
        calls = (self._receive(count - len(received) - MOST * place, 0) for place in range(more))
        burst = [asyncio.ensure_future(call) for call in calls]
        try:
            rest = await asyncio.gather(*burst, return_exceptions=True)
        except asyncio.CancelledError:
            # Those that were cut off give back by themselves what they bring.
            answered = (call for call in burst if not call.cancelled() and call.exception() is None)
            self._leave([*received, *(one for call in answered for one in call.result())])
            raise
        for batch in rest:
            # What was received is not lost for a burst call's error: that call's next one will say it again.
            if not isinstance(batch, BaseException):
                received.extend(batch)
        return received

    def _wait(self, wait: float) -> int:
        return min(math.ceil(wait), self._longest)

    async def _receive(self, count: int, wait: int) -> list[Received[str]]:
        visibility = self._lease + (wait if wait * POLL_PART > self._lease else 0)
        arguments = receive_arguments(self._source, count, wait, visibility)
        if self._source.ordered:
            arguments["ReceiveRequestAttemptId"] = self._attempt()
        begun = self._clock.monotonic()
        try:
            answer = await self._clients.receive(arguments, self._longest, self._returning)
        except Exception as error:
            if self._source.ordered and faults.in_doubt(error):
                self._lost.append((arguments["ReceiveRequestAttemptId"], self._clock.monotonic()))
            raise
        received = [self._received(raw, begun, begun + visibility) for raw in answer.get("Messages", ())]
        late = self._clock.monotonic() - begun > visibility * LATE_PART
        return await self._confirm(received) if late and received else received

    async def _confirm(self, received: list[Received[str]]) -> list[Received[str]]:
        """Ask for a lease of what came late, counted from now; what SQS refuses keeps the lease that may be over.

        A process that was stopped, a connection that stood still: SQS may have begun the lease just now or long ago.
        """
        now = self._clock.monotonic()
        found: list[Fault | None] = [None] * len(received)
        entries = [
            {"Id": str(place), "ReceiptHandle": one.receipt, "VisibilityTimeout": self._lease}
            for place, one in enumerate(received)
        ]
        try:
            await self._batch("ChangeMessageVisibilityBatch", entries, found)
        except asyncio.CancelledError:
            self._leave(received)
            raise
        return [
            msgspec.structs.replace(
                one, lease_until=now + self._lease, receipt=Receipt(one.receipt, now, now + self._lease)
            )
            if wrong is None
            else one
            for one, wrong in zip(received, found, strict=True)
        ]

    def _attempt(self) -> str:
        """Return the id of a new receive, or of one whose answer was lost: SQS then gives the same messages again.

        Without it, their groups would stand still until the lease of what nobody got is over.
        """
        known = min(float(self._lease), ATTEMPT_KNOWN)
        while self._lost:
            attempt, lost_at = self._lost.popleft()
            if self._clock.monotonic() - lost_at < known:
                return attempt
        return uuid.uuid4().hex

    def _leave(self, received: Sequence[Received[str]]) -> None:
        """Give back what was received, and nobody waits for, without waiting for that either."""
        address, handles = self._source.address, [one.receipt for one in received]
        self._clients.later(lambda client: change_visibility(client, address, handles, 0))

    def _returning(self, answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the arguments of the call that gives back what a receive brought; None where that is nothing."""
        entries = [
            {"Id": str(place), "ReceiptHandle": raw["ReceiptHandle"], "VisibilityTimeout": 0}
            for place, raw in enumerate(answer.get("Messages", ()))
        ]
        return {"QueueUrl": self._source.address, "Entries": entries} if entries else None

    def _received(self, raw: Mapping[str, Any], since: float, until: float) -> Received[str]:
        message, envelope = decode(raw, self._source, self._topics)
        attempt = int(raw["Attributes"]["ApproximateReceiveCount"])
        grouped = self._source.keeps_order
        return Received(
            message,
            attempt,
            until,
            Receipt(raw["ReceiptHandle"], since, until),
            raw["Attributes"].get("MessageGroupId") if grouped else None,
            attempt > 1 or envelope.moves > 0,
            envelope.moves,
            why(envelope, self._source),
            envelope.description or None,
            raw["MessageId"],
            sent_at(raw) if self._source.kind is Kind.DEAD_LETTERS else None,
        )

    # Settling --------------------------------------------------------------------------------------------------------

    async def settle_batch(self, settlements: Sequence[Settlement[str]]) -> Sequence[Fault | None]:
        found: list[Fault | None] = [None] * len(settlements)
        acks: list[int] = []
        nacks: list[int] = []
        letters: list[int] = []
        for place, settlement in enumerate(settlements):
            if self._over(settlement.received):
                found[place] = _ENDED
                continue
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
        await self._batch("DeleteMessageBatch", entries, found)

    async def _make_visible(
        self, settlements: Sequence[Settle], places: Sequence[int], found: list[Fault | None]
    ) -> None:
        entries = []
        for place in places:
            settlement = settlements[place]
            delay = math.ceil(settlement.delay) if isinstance(settlement, Nack) else 0
            if delay:
                delay = max(min(delay, self._left(settlement.received)), 0)
            entries.append({**self._entry(place, settlement), "VisibilityTimeout": delay})
        await self._batch("ChangeMessageVisibilityBatch", entries, found)
        for place in places:
            receipt = settlements[place].received.receipt
            if found[place] is None and isinstance(receipt, Receipt):
                receipt.until = -math.inf  # a standard queue would take it still, whoever has the message by then

    async def _dead_letter(
        self, settlements: Sequence[Settle], places: Sequence[int], found: list[Fault | None]
    ) -> None:
        """Send copies to the dead letters, then delete what has one (contract, D7)."""
        if not places:
            return
        if self._source.dead_letter is None:
            for place in places:
                found[place] = Fault(FaultKind.INVALID, f"{self._source.name!r} has no dead letters in the binding")
            return
        target = self._source.dead_letters
        send = partial(self._batch, "SendMessageBatch", found=found, address=target.address)
        entries: list[dict[str, Any]] = []
        size = 0
        for place in places:
            prepared = self._letter(settlements[place], target)
            if isinstance(prepared, Fault):
                found[place] = prepared
                continue
            if size + prepared.size > AWS.batch_bytes.most:
                await send(entries)
                entries, size = [], 0
            entries.append(self._letter_entry(place, prepared))
            size += prepared.size
        await send(entries)
        await self._delete(settlements, [place for place in places if found[place] is None], found)

    def _letter(self, settlement: Settle, target: Entity) -> Prepared[Wire] | Fault:
        received = settlement.received
        outgoing = Outgoing(received.message, moves=received.moves + 1, token=received.token)
        reason, description = "", ""
        if isinstance(settlement, ToDeadLetters):
            reason, description = settlement.reason, settlement.description
        return encode(outgoing, target, reason=reason or "unknown", description=description)

    def _letter_entry(self, place: int, prepared: Prepared[Wire]) -> dict[str, Any]:
        wire = prepared.wire
        entry: dict[str, Any] = {"Id": str(place), "MessageBody": wire.body, "MessageAttributes": wire.attributes}
        if self._source.ordered:
            # A group of its own for each letter: in one by key, a letter that someone looks at would hide the others.
            # The ordering key itself is in the reserved attribute; only a letter without room for that keeps its group.
            dedup = safe_id(prepared.outgoing.dedup_id)
            entry["MessageGroupId"] = wire.group or dedup
            entry["MessageDeduplicationId"] = dedup
        return entry

    def _entry(self, place: int, settlement: Settle) -> dict[str, Any]:
        return {"Id": str(place), "ReceiptHandle": settlement.received.receipt}

    async def _batch(
        self,
        operation: str,
        entries: list[dict[str, Any]],
        found: list[Fault | None],
        address: str | None = None,
    ) -> None:
        """Make one batch call, and note the faults of its entries at their places.

        What AWS refuses as a whole, for what one entry is, is sent entry by entry: the others are as good as alone.
        """
        if not entries:
            return
        try:
            arguments = {"QueueUrl": address or self._source.address, "Entries": entries}
            answer = await self._clients.call("sqs", operation, **arguments)
        except Exception as error:  # noqa: BLE001 - the other calls of this batch have answers of their own
            failed = fault(error)
            if failed.kind in _OF_ONE and len(entries) > 1:
                await asyncio.gather(*(self._batch(operation, [entry], found, address) for entry in entries))
                return
            for entry in entries:
                found[int(entry["Id"])] = failed
            return
        failures, done = answer.get("Failed", ()), answer.get("Successful", ())
        for failure in failures:
            entry_failed = entry_fault(failure, operation)
            found[int(failure["Id"])] = receipt_fault(entry_failed) if address is None else entry_failed
        if len(failures) + len(done) < len(entries):
            # Nobody said that these were done: a message whose letter is in doubt must not be deleted.
            told = {entry["Id"] for entry in (*failures, *done)}
            for entry in entries:
                if entry["Id"] not in told:
                    found[int(entry["Id"])] = left_out(operation)

    # Leases ----------------------------------------------------------------------------------------------------------

    async def extend_batch(self, received: Sequence[Received[str]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        now = self._clock.monotonic()
        whole = max(math.floor(seconds), 1)
        granted = [0 if self._over(one) else min(whole, self._left(one)) for one in received]
        found: list[Fault | None] = [None if each > 0 else _ENDED for each in granted]
        entries = [
            {"Id": str(place), "ReceiptHandle": received[place].receipt, "VisibilityTimeout": each}
            for place, each in enumerate(granted)
            if each > 0
        ]
        await self._batch("ChangeMessageVisibilityBatch", entries, found)
        for one, each, wrong in zip(received, granted, found, strict=True):
            if wrong is None and isinstance(one.receipt, Receipt):
                one.receipt.until = now + each
        return [LeaseUntil(now + each) if wrong is None else wrong for each, wrong in zip(granted, found, strict=True)]

    def _over(self, received: Received[str]) -> bool:
        """Say whether a lease is over; of a function's receipts Lambda keeps account."""
        receipt = received.receipt
        return isinstance(receipt, Receipt) and receipt.until <= self._clock.monotonic()

    def _left(self, received: Received[str]) -> int:
        """Return the most seconds from now that SQS can be asked for: up to 12 hours after the receive."""
        receipt = received.receipt
        if not isinstance(receipt, Receipt):  # a function's, whose receive was Lambda's
            return int(AWS.lease.most)
        return math.floor(receipt.since + AWS.lease.most - self._clock.monotonic())

    # Ending ----------------------------------------------------------------------------------------------------------

    async def stop(self) -> Sequence[Received[str]]:
        """Make no more receives; one that is under way ends by itself, at the latest with its long poll."""
        self._stopping = True
        return ()

    async def aclose(self) -> None:
        """Nothing is held: the clients are the driver's."""
        self._on_closed(self)
