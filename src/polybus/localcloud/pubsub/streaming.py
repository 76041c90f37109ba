"""StreamingPull: messages one way, acks and lease changes the other."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence

import grpc

from polybus.clock import Timer
from polybus.localcloud.pubsub import limits, protocol
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.delivery import check_ack_ids, pullable
from polybus.localcloud.pubsub.encoding import received_messages
from polybus.localcloud.pubsub.protocol import Proto
from polybus.localcloud.pubsub.refusal import Refused, invalid
from polybus.localcloud.pubsub.state import Consumer
from polybus.localcloud.pubsub.subscription import Subscription
from polybus.localcloud.pubsub.wire import END_OF_STREAM, Context, parse

__all__ = ["streaming_pull"]

# How often a client that says it understands them (protocol_version 1) is sent empty responses, in seconds; the rate at
# which clients send theirs.
HEARTBEAT = 30.0


async def streaming_pull(catalog: Catalog, initial: bytes, context: Context, seconds: float = math.inf) -> None:
    """Serve one stream until either side ends it; after `seconds` this side does, as Google ends every stream."""
    first = parse(protocol.StreamingPullRequest, initial)
    subscription = pullable(catalog, first.subscription)
    if not first.stream_ack_deadline_seconds:
        raise invalid("The initial request must have stream_ack_deadline_seconds.")
    stream = _Stream(catalog, context, subscription, first)
    stream.apply_deadline(first)
    ending = None if seconds == math.inf else catalog.clock.call_later(seconds, stream.end)
    try:
        await stream.serve(first)
    finally:
        if ending is not None:
            ending.cancel()


class _Stream:
    """Messages are taken from the subscription only when the transport has room: what waits here is never leased."""

    def __init__(self, catalog: Catalog, context: Context, subscription: Subscription, first: Proto) -> None:
        self._catalog = catalog
        self._context = context
        self._subscription = subscription
        self._consumer = Consumer(
            first.stream_ack_deadline_seconds,
            max_messages=first.max_outstanding_messages,
            max_bytes=first.max_outstanding_bytes,
            sticky=True,
        )
        self._replies: deque[Proto] = deque()
        self._heartbeats = first.protocol_version >= 1
        self._timer: Timer | None = None
        self._half_closed = False

    def apply_deadline(self, request: Proto) -> None:
        """Take over the length of leases that a request sets."""
        length = request.stream_ack_deadline_seconds
        low, high = limits.ACK_DEADLINE
        if length and not low <= length <= high:
            raise invalid(
                f"Invalid stream_ack_deadline_seconds: {length}. It must be between {low} and {high} seconds."
            )
        self._consumer.ack_seconds = length or self._consumer.ack_seconds

    def end(self) -> None:
        """End the stream from this side."""
        self._consumer.end(
            Refused(
                grpc.StatusCode.UNAVAILABLE,
                "The service was unable to fulfill your request. Please try again. [code=8a75]",
            )
        )

    async def serve(self, first: Proto) -> None:
        self._subscription.attach(self._consumer)
        reader = asyncio.create_task(self._read(first))
        self._beat(send=False)
        try:
            await self._context.write(self._properties())
            await self._write()
        finally:
            reader.cancel()
            self._subscription.detach(self._consumer)
            if self._timer is not None:
                self._timer.cancel()

    async def _write(self) -> None:
        consumer, subscription, context = self._consumer, self._subscription, self._context
        while True:
            while self._replies:
                await context.write(self._replies.popleft().SerializeToString() + self._properties())
            consumer.check()
            if self._half_closed:
                return
            batch = subscription.take(consumer)
            if batch:
                # A lease that was given is one that is known, and counted, whatever becomes of this process.
                await self._catalog.journal.flush()
                await context.write(received_messages(batch, subscription.counts_attempts) + self._properties())
            else:
                await subscription.wait(consumer)

    def _properties(self) -> bytes:
        return _PROPERTIES[self._subscription.exactly_once, self._subscription.ordered]

    def _beat(self, send: bool = True) -> None:
        if not self._heartbeats:
            return
        if send:
            self._reply(protocol.StreamingPullResponse())
        self._timer = self._catalog.clock.call_later(HEARTBEAT, self._beat)

    def _reply(self, response: Proto) -> None:
        self._replies.append(response)
        self._consumer.wake()

    async def _read(self, first: Proto) -> None:
        try:
            await self._apply(first)
            while (raw := await self._context.read()) is not END_OF_STREAM:
                request = parse(protocol.StreamingPullRequest, raw)
                _check_later(request)
                self.apply_deadline(request)
                await self._apply(request)
            self._half_closed = True
            self._consumer.wake()
        except Refused as refused:
            self._consumer.end(refused)

    async def _apply(self, request: Proto) -> None:
        if request.ack_ids:
            await self._acknowledge(request.ack_ids)
        if request.modify_deadline_ack_ids or request.modify_deadline_seconds:
            await self._modify(request.modify_deadline_ack_ids, request.modify_deadline_seconds)
        # Anything at all from the client, heartbeats included, keeps the subscription from expiring.
        self._subscription.touch()

    async def _acknowledge(self, ack_ids: Sequence[str]) -> None:
        check_ack_ids(ack_ids)
        unknown = self._subscription.acknowledge(ack_ids)
        if await self._confirms():
            response = protocol.StreamingPullResponse()
            _confirm(response.acknowledge_confirmation, ack_ids, unknown)
            self._reply(response)

    async def _modify(self, ack_ids: Sequence[str], lengths: Sequence[int]) -> None:
        low, high = limits.MODIFY_DEADLINE
        if len(ack_ids) != len(lengths):
            raise invalid("modify_deadline_ack_ids and modify_deadline_seconds must have the same size.")
        if not all(low <= length <= high for length in lengths):
            raise invalid(f"Invalid modify_deadline_seconds: each must be between {low} and {high} seconds.")
        check_ack_ids(ack_ids)
        unknown = self._subscription.modify(ack_ids, lengths)
        if await self._confirms():
            response = protocol.StreamingPullResponse()
            _confirm(response.modify_ack_deadline_confirmation, ack_ids, unknown)
            self._reply(response)

    async def _confirms(self) -> bool:
        """Say whether the client is told how its acks went; by then they are durable."""
        if self._subscription.exactly_once:
            await self._catalog.journal.commit()
            return True
        self._catalog.journal.flush_soon()
        return False


def _confirm(confirmation: Proto, ack_ids: Sequence[str], unknown: Sequence[str]) -> None:
    failed = set(unknown)
    confirmation.ack_ids.extend(ack_id for ack_id in ack_ids if ack_id not in failed)
    confirmation.invalid_ack_ids.extend(unknown)


def _check_later(request: Proto) -> None:
    """Refuse, in requests after the first, the fields that only that one may have."""
    for field in ("subscription", "client_id", "max_outstanding_messages", "max_outstanding_bytes", "protocol_version"):
        if getattr(request, field):
            raise invalid(f"{field} must not be set in requests after the initial one.")


def _encode_properties(exactly_once: bool, ordered: bool) -> bytes:
    response = protocol.StreamingPullResponse()
    response.subscription_properties.exactly_once_delivery_enabled = exactly_once
    response.subscription_properties.message_ordering_enabled = ordered
    encoded: bytes = response.SerializeToString()
    return encoded


# By (exactly once, ordered). Protobuf lets encoded messages be joined: this goes behind each response's own fields.
_PROPERTIES = {
    (once, ordered): _encode_properties(once, ordered) for once in (False, True) for ordered in (False, True)
}
