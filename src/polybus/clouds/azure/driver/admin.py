"""What operators do with topics, subscriptions and queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from azure.servicebus.aio import ServiceBusReceiver

from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.clouds.azure.driver.bounds import bounded
from polybus.clouds.azure.driver.clients import DEAD_LETTERS, SUBSCRIPTIONS, Clients
from polybus.clouds.azure.driver.faults import fault, is_no_right, is_no_session
from polybus.clouds.azure.driver.publish import AzurePublisher
from polybus.clouds.azure.driver.wire import decode, why
from polybus.driver import Peeked, PublisherDriver, Stats
from polybus.errors import FaultKind, UnsupportedFeature

__all__ = ["AzureAdmin"]

# Messages of one receive-and-delete call.
PURGED_AT_ONCE = 500
# A receive that waits this long, in seconds, and brings nothing says that there is nothing left.
LAST_LOOK = 1.0
# Seconds for one look or one batch of a purge: 500 large messages take their time.
LOOK = 30.0


class AzureAdmin:
    """Peek, purge and redrive by AMQP; stats and describe by the management API, which takes the right to manage."""

    def __init__(self, clients: Clients, binding: Binding, clock: Clock) -> None:
        self._clients = clients
        self._binding = binding
        self._clock = clock
        self._receivers: dict[str, ServiceBusReceiver] = {}
        self._turn = asyncio.Lock()

    async def ping(self) -> None:
        """Open a link to the first entity of the binding; being refused there for want of a right is an answer too."""
        for target in (*self._binding.topics.values(), *self._binding.queues.values()):
            try:
                await self._clients.sender(target)
            except Exception as error:
                if fault(error).kind is not FaultKind.DENIED:
                    raise
            return

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        client = self._clients.administration
        address = _live(entity)
        topic, divided, subscription = address.partition(SUBSCRIPTIONS)
        if divided:
            found = await client.get_subscription(topic, subscription)
        else:
            found = await (client.get_topic(address) if entity.kind is Kind.TOPIC else client.get_queue(address))
        return {name: _plain(value) for name, value in found.items() if value is not None}

    async def stats(self, entity: Entity) -> Stats:
        """Return counts where the credentials have the right to manage, which nobody gets by the stack: else None."""
        client = self._clients.administration
        if entity.kind is Kind.TOPIC:
            return Stats()
        topic, divided, subscription = _live(entity).partition(SUBSCRIPTIONS)
        try:
            if divided:
                found = await client.get_subscription_runtime_properties(topic, subscription)
            else:
                found = await client.get_queue_runtime_properties(topic)
        except Exception as error:
            if is_no_right(error):
                return Stats()
            raise
        if entity.kind is Kind.DEAD_LETTERS:
            return Stats(waiting=found.dead_letter_message_count)
        # A subscription's scheduled messages wait in its topic.
        delayed = None if divided else found.scheduled_message_count
        return Stats(waiting=found.active_message_count, delayed=delayed, dead=found.dead_letter_message_count)

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        """Look by sequence number, which is the position; sessions can only be looked at by who holds them."""
        if entity.keeps_order:
            raise UnsupportedFeature(
                f"{entity.kind.value} {entity.name!r} on azure: Service Bus shows the messages of a session only to "
                "who holds it; declare a subscription with `tap = true` and `ordered = false` to look at a topic"
            )
        begin = int(after) + 1 if after is not None else 1
        async with self._turn:
            receiver = await self._receiver(entity)
            look = receiver.peek_messages(max_message_count=count, sequence_number=begin, timeout=LOOK)
            try:
                found = await bounded(look, LOOK, f"looking at {entity.name!r}")
            except BaseException:
                del self._receivers[entity.address]
                self._clients.links.close_soon(receiver)
                raise
        return [_peeked(raw, entity) for raw in found]

    async def _receiver(self, entity: Entity) -> ServiceBusReceiver:
        receiver = self._receivers.get(entity.address)
        if receiver is None:
            receiver = self._clients.receiver(entity)
            await self._clients.links.open(receiver)
            self._receivers[entity.address] = receiver
        return receiver

    async def purge(self, entity: Entity) -> int | None:
        """Receive and delete until nothing is left; what others hold at the time stays."""
        if entity.keeps_order:
            return await self._purge_sessions(entity)
        async with self._opened(self._clients.receiver(entity, delete=True)) as receiver:
            return await _delete_all(receiver)

    async def _purge_sessions(self, entity: Entity) -> int:
        deleted = 0
        while True:
            try:
                link = self._clients.session(entity, wait=LAST_LOOK, delete=True)
                async with self._opened(link) as receiver:
                    deleted += await _delete_all(receiver)
            except Exception as error:
                if is_no_session(error):
                    return deleted
                raise

    @asynccontextmanager
    async def _opened(self, receiver: ServiceBusReceiver) -> AsyncIterator[ServiceBusReceiver]:
        await self._clients.links.open(receiver)
        try:
            yield receiver
        finally:
            self._clients.links.close_soon(receiver)

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        """Return a publisher to the queue, or through the topic to this one subscription, by its tag."""
        topic, divided, _ = source.address.partition(SUBSCRIPTIONS)
        target = msgspec.structs.replace(source, kind=Kind.TOPIC, address=topic) if divided else source
        sender = await self._clients.sender(target)
        return AzurePublisher(sender, target, self._clock, to=source.tag if divided else None)

    async def aclose(self) -> None:
        """Close the links by which it looked."""
        for receiver in self._receivers.values():
            self._clients.links.close_soon(receiver)
        self._receivers.clear()


def _live(entity: Entity) -> str:
    return entity.address.removesuffix(DEAD_LETTERS)


async def _delete_all(receiver: ServiceBusReceiver) -> int:
    deleted = 0
    while True:
        call = receiver.receive_messages(max_message_count=PURGED_AT_ONCE, max_wait_time=LAST_LOOK)
        batch = await bounded(call, LOOK, "purging")
        if not batch:
            return deleted
        deleted += len(batch)


def _peeked(raw: Any, entity: Entity) -> Peeked:
    message, _ = decode(raw, entity)
    reason, description = why(raw, entity)
    enqueued = raw.enqueued_time_utc
    return Peeked(
        str(raw.sequence_number),
        message,
        raw.delivery_count or 0,
        reason,
        description,
        None if enqueued is None else enqueued.timestamp(),
    )


def _plain(value: object) -> object:
    """Return a value of the library's as one that JSON has."""
    return value if isinstance(value, str | int | float | bool) else str(value)
