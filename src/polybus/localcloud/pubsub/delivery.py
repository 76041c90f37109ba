"""The unary half of delivery: Pull, Acknowledge and ModifyAckDeadline."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import grpc

from polybus.clock import wait_for
from polybus.localcloud.pubsub import limits, protocol
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.encoding import ACK_ID_LENGTH, received_messages
from polybus.localcloud.pubsub.export import export_of
from polybus.localcloud.pubsub.protocol import EMPTY, Proto
from polybus.localcloud.pubsub.refusal import INVALID_ACK_ID, Refused, invalid, unmet
from polybus.localcloud.pubsub.state import Consumer, Entry
from polybus.localcloud.pubsub.subscription import Subscription
from polybus.localcloud.pubsub.wire import Context, Method

__all__ = ["Delivery", "check_ack_ids", "pullable"]


class Delivery:
    # How long a pull waits for a first message, in seconds; within the client's own deadline. The real service answers
    # an empty pull after some time of its own choosing, at most about 90 s.
    PULL_WAIT = 30.0
    # The part of the client's deadline after which an empty answer still reaches it in time.
    PULL_SHARE = 0.8

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def methods(self) -> Mapping[str, Method]:
        return {
            "Pull": (protocol.PullRequest, self.pull),
            "Acknowledge": (protocol.AcknowledgeRequest, self.acknowledge),
            "ModifyAckDeadline": (protocol.ModifyAckDeadlineRequest, self.modify_ack_deadline),
        }

    async def pull(self, request: Proto, context: Context) -> bytes:
        if request.max_messages <= 0:
            raise invalid(
                f"The value for max_messages is too small. You passed {request.max_messages} in the request, but the "
                "minimum is 1."
            )
        subscription = pullable(self._catalog, request.subscription)
        count = min(request.max_messages, limits.PULL_MESSAGES)
        consumer = Consumer(subscription.config.ack_deadline_seconds, max_messages=count)
        subscription.attach(consumer)
        try:
            batch = subscription.take(consumer)
            if not batch and not request.return_immediately:
                remaining = cast("float | None", context.time_remaining())  # None without a deadline
                wait = self.PULL_WAIT if remaining is None else min(self.PULL_WAIT, self.PULL_SHARE * remaining)
                with contextlib.suppress(TimeoutError):
                    batch = await wait_for(self._catalog.clock, self._first(subscription, consumer), wait)
            consumer.check()
            await self._catalog.journal.flush()
            return received_messages(batch, subscription.counts_attempts)
        finally:
            subscription.detach(consumer)

    @staticmethod
    async def _first(subscription: Subscription, consumer: Consumer) -> list[Entry]:
        batch: list[Entry] = []
        while not batch and consumer.error is None:
            await subscription.wait(consumer)
            batch = subscription.take(consumer)
        return batch

    async def acknowledge(self, request: Proto, _: Context) -> Proto:
        check_ack_ids(request.ack_ids)
        if request.ByteSize() > limits.ACK_REQUEST_BYTES:
            raise _too_large(request)
        subscription = self._catalog.attached(request.subscription)
        unknown = subscription.acknowledge(request.ack_ids)
        await self._catalog.journal.commit()
        self._report(subscription, unknown)
        return EMPTY

    async def modify_ack_deadline(self, request: Proto, _: Context) -> Proto:
        low, high = limits.MODIFY_DEADLINE
        length = request.ack_deadline_seconds
        if not low <= length <= high:
            raise invalid(
                f"Invalid ack deadline given (ack_deadline={length}). Ack deadlines must be between {low} and {high} "
                "seconds."
            )
        check_ack_ids(request.ack_ids)
        if request.ByteSize() > limits.ACK_REQUEST_BYTES:
            raise _too_large(request)
        subscription = self._catalog.attached(request.subscription)
        unknown = subscription.modify(request.ack_ids, [length] * len(request.ack_ids))
        await self._catalog.journal.commit()
        self._report(subscription, unknown)
        return EMPTY

    @staticmethod
    def _report(subscription: Subscription, unknown: Iterable[str]) -> None:
        """Fail for ids that are no longer good where the subscription promises to, and nowhere else."""
        failures = dict.fromkeys(unknown, INVALID_ACK_ID)
        if failures and subscription.exactly_once:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                "Some acknowledgement ids in the request were invalid. This could be because the acknowledgement ids "
                "have expired or the acknowledgement ids were malformed.",
                failures,
            )


def pullable(catalog: Catalog, name: str) -> Subscription:
    """Return a subscription that can be pulled from."""
    subscription = catalog.attached(name)
    if subscription.config.push_config.push_endpoint:
        raise unmet("This method is not supported for this subscription type: it has a push endpoint.")
    if (export := export_of(subscription.config)) is not None:
        raise unmet(f"This method is not supported for this subscription type: it has a {export}.")
    return subscription


def check_ack_ids(ack_ids: Sequence[str]) -> None:
    """Refuse none, too many, and what can't be an ack id of this server."""
    if not ack_ids:
        raise invalid("No ack ids specified.")
    if len(ack_ids) > limits.ACK_IDS:
        raise invalid(f"Too many ack ids: {len(ack_ids)}, the maximum is {limits.ACK_IDS}.")
    for ack_id in ack_ids:
        if len(ack_id) != ACK_ID_LENGTH:
            raise invalid(f"You have passed an invalid ack ID to the service (ack_id={ack_id[:ACK_ID_LENGTH]}).")


def _too_large(request: Proto) -> Refused:
    return invalid(
        f"Request payload size exceeds the limit: {request.ByteSize()} bytes, the maximum is "
        f"{limits.ACK_REQUEST_BYTES} bytes."
    )
