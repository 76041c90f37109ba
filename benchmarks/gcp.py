"""polybus on Google Pub/Sub, beside the library's own client and the raw asynchronous one, on the local server.

The server runs in a process of its own, so that its CPU time is not measured; being one process of Python it bounds the
rates, which is why it is client CPU a message that is compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient, types

import polybus
from polybus.binding import Binding, Entity, Kind

from .harness import Aim, Contender, Report, Sample, measured
from .local import environment, served

BODY = b"x" * 256
ATTRIBUTES = {"kind": "order.created", "trace": "0123456789abcdef0123456789abcdef"}
# Messages out at once, and of one publish request: the defaults of the library.
WINDOW = 1_000
BATCH = 100

PUBLISH = (
    "The floor is PublisherAsyncClient on raw protobuf, 100 messages a request, as the library batches by default: no "
    "ids, no outcome a message, no bounds, no retries."
)
CONSUME = (
    "The floor is SubscriberAsyncClient's streaming pull read as raw protobuf, a task a message, acks every 10 ms: no "
    "leases kept, no attempts, no drain."
)


def run(report: Report) -> None:
    count = report.count(15_000)
    with _server():
        report.compare(
            "gcp: publish",
            [
                Contender("polybus", lambda: _publish_polybus(count)),
                Contender("PublisherClient.publish", lambda: _publish_library(count)),
                Contender("raw asynchronous client", lambda: _publish_raw(count)),
            ],
            aims=[
                Aim("cpu", "PublisherClient.publish", at_most=0.33),
                Aim("cpu", "raw asynchronous client", at_most=1.6),
            ],
            note=PUBLISH,
        )
        report.compare(
            "gcp: consume and ack",
            [
                Contender("polybus", lambda: _consume_polybus(count)),
                Contender("SubscriberClient.subscribe", lambda: _consume_library(count)),
                Contender("raw asynchronous client", lambda: _consume_raw(count)),
            ],
            aims=[
                Aim("cpu", "SubscriberClient.subscribe", at_most=0.33),
                Aim("cpu", "raw asynchronous client", at_most=1.6),
            ],
            note=CONSUME,
        )


@contextlib.contextmanager
def _server() -> Iterator[None]:
    """Run the local server, and let the library find it."""
    with served("gcp") as (host, port), environment(PUBSUB_EMULATOR_HOST=f"{host}:{port}"):
        yield


@dataclass(frozen=True, slots=True)
class _Place:
    """A topic and a subscription of their own for each piece of work."""

    topic: str
    subscription: str

    @classmethod
    def make(cls, *, subscribed: bool) -> _Place:
        unique = uuid.uuid4().hex[:8]
        place = cls(f"projects/bench/topics/t{unique}", f"projects/bench/subscriptions/s{unique}")
        with contextlib.closing(grpc.insecure_channel(os.environ["PUBSUB_EMULATOR_HOST"])) as channel:
            _unary(channel, "Publisher/CreateTopic", types.Topic.pb()(name=place.topic))
            if subscribed:
                made = types.Subscription.pb()(name=place.subscription, topic=place.topic, ack_deadline_seconds=60)
                _unary(channel, "Subscriber/CreateSubscription", made)
        return place

    @property
    def binding(self) -> Binding:
        topic = Entity(kind=Kind.TOPIC, name="orders", address=self.topic)
        billing = Entity(
            kind=Kind.SUBSCRIPTION,
            name="billing",
            topic="orders",
            address=self.subscription,
            options={"topic": self.topic},
        )
        return Binding(backend="gcp", bus="bench", topics={"orders": topic}, subscriptions={"billing": billing})


def _unary(channel: grpc.Channel, method: str, request: Any) -> None:
    kind = type(request)
    channel.unary_unary(
        f"/google.pubsub.v1.{method}", request_serializer=kind.SerializeToString, response_deserializer=kind.FromString
    )(request)


# Publish -------------------------------------------------------------------------------------------------------------


async def _publish_polybus(count: int) -> Sample:
    place = _Place.make(subscribed=False)
    async with polybus.connect(place.binding) as bus:
        await bus.publish("orders", BODY)  # the first one connects
        with measured(count) as taken:
            await bus.publish_many("orders", itertools.repeat(polybus.Message(BODY, ATTRIBUTES), count))
    return taken.sample


def _publish_library(count: int) -> Sample:
    place = _Place.make(subscribed=False)
    client = pubsub_v1.PublisherClient()
    with measured(count) as taken:
        for future in [client.publish(place.topic, BODY, **ATTRIBUTES) for _ in range(count)]:
            future.result()
    client.stop()
    client.transport.close()
    return taken.sample


async def _publish_raw(count: int) -> Sample:
    place = _Place.make(subscribed=False)
    client = PublisherAsyncClient()
    with measured(count) as taken:
        await _send_raw(client, place.topic, count)
    await client.transport.close()
    return taken.sample


async def _send_raw(client: PublisherAsyncClient, topic: str, count: int) -> None:
    request, message = types.PublishRequest.pb(), types.PubsubMessage.pb()
    sizes = iter([min(BATCH, count - start) for start in range(0, count, BATCH)])

    async def send() -> None:
        for size in sizes:
            raw = request(topic=topic, messages=[message(data=BODY, attributes=ATTRIBUTES) for _ in range(size)])
            await client.publish(request=types.PublishRequest.wrap(raw))

    await asyncio.gather(*(send() for _ in range(4)))


# Consume -------------------------------------------------------------------------------------------------------------


class _Seen:
    """Counts what is handled, and tells when that is all; for one thread or several."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self.all = threading.Event()
        self.all_here = asyncio.Event()

    def one(self, body: bytes, attributes: int) -> None:
        assert body == BODY
        assert attributes == len(ATTRIBUTES)
        self._left -= 1
        if not self._left:
            self.all_here.set()

    def one_in_a_thread(self, body: bytes, attributes: int) -> None:
        assert body == BODY
        assert attributes == len(ATTRIBUTES)
        with self._lock:
            self._left -= 1
            if not self._left:
                self.all.set()


async def _consume_polybus(count: int) -> Sample:
    place = _Place.make(subscribed=True)
    seen = _Seen(count)

    async def handle(delivery: polybus.Delivery) -> None:
        seen.one(delivery.body, len(delivery.attributes))

    async with polybus.connect(place.binding) as bus:
        await bus.publish_many("orders", itertools.repeat(polybus.Message(BODY, ATTRIBUTES), count))
        consumer = bus.consumer("billing", handle, options=polybus.ConsumerOptions(concurrency=100, prefetch=WINDOW))
        with measured(count) as taken:
            running = asyncio.create_task(consumer.run())
            await seen.all_here.wait()
            await consumer.drain()
        await running
    return taken.sample


async def _fill_raw(topic: str, count: int) -> None:
    client = PublisherAsyncClient()
    await _send_raw(client, topic, count)
    await client.transport.close()


async def _consume_library(count: int) -> Sample:
    place = _Place.make(subscribed=True)
    await _fill_raw(place.topic, count)
    return await asyncio.to_thread(_subscribe, place, count)


def _subscribe(place: _Place, count: int) -> Sample:
    client = pubsub_v1.SubscriberClient()
    seen = _Seen(count)

    def handle(message: Any) -> None:
        message.ack()
        seen.one_in_a_thread(message.data, len(message.attributes))

    with measured(count) as taken:
        streaming = client.subscribe(place.subscription, handle)
        seen.all.wait()
    streaming.cancel()
    streaming.result()
    client.close()
    return taken.sample


async def _consume_raw(count: int) -> Sample:
    place = _Place.make(subscribed=True)
    await _fill_raw(place.topic, count)
    client = SubscriberAsyncClient()
    seen = _Seen(count)
    over = asyncio.Event()
    acks: list[str] = []
    receiving = asyncio.create_task(_receive_raw(client, place.subscription, seen, acks, over))
    with measured(count) as taken:
        await _settle_raw(client, place.subscription, seen, acks)
    over.set()
    await receiving
    await client.transport.close()
    return taken.sample


async def _receive_raw(
    client: SubscriberAsyncClient, subscription: str, seen: _Seen, acks: list[str], over: asyncio.Event
) -> None:
    first = types.StreamingPullRequest.pb()
    tasks: set[asyncio.Task[None]] = set()

    async def requests() -> AsyncIterator[Any]:
        raw = first(subscription=subscription, stream_ack_deadline_seconds=60, max_outstanding_messages=WINDOW)
        yield types.StreamingPullRequest.wrap(raw)
        await over.wait()

    async def handle(received: Any) -> None:
        seen.one(received.message.data, len(dict(received.message.attributes)))
        acks.append(received.ack_id)

    async for response in await client.streaming_pull(requests=requests(), retry=None, timeout=None):
        for received in types.StreamingPullResponse.pb(response).received_messages:
            task = asyncio.create_task(handle(received))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _settle_raw(client: SubscriberAsyncClient, subscription: str, seen: _Seen, acks: list[str]) -> None:
    acknowledge = functools.partial(types.AcknowledgeRequest.pb(), subscription=subscription)
    while acks or not seen.all_here.is_set():
        await asyncio.sleep(0.01)
        batch = acks[:WINDOW]
        del acks[: len(batch)]
        if batch:
            await client.acknowledge(request=types.AcknowledgeRequest.wrap(acknowledge(ack_ids=batch)))
