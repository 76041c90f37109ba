"""Service Bus: polybus beside azure-servicebus by hand, on one local server in a process of its own.

By itself: `python -m benchmarks azure`. The server is the same for both, so rates compare; on Azure both are bound by
the network, and what stays different is the client's CPU time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.exceptions import MessageSizeExceededError
from azure.servicebus.management import ServiceBusAdministrationClient

import polybus
from polybus.binding import Binding, Entity, Kind
from polybus.driver import ConsumerDriver, Driver
from polybus.registry import load
from polybus.testing.proxy import DriverProxy

from .harness import Aim, Contender, Report, Sample, measured
from .local import environment, served

BODY = "x" * 200
ATTRIBUTES = {"region": "eu", "tenant": "shop-17"}
NATIVE: dict[str | bytes, Any] = dict(ATTRIBUTES.items())
QUEUE = "jobs"
HUNDRED = 100

BATCHED = "azure-servicebus by hand, full batches"
COMPLETED = "azure-servicebus by hand, receive(100), complete each"
TOGETHER = "azure-servicebus by hand, receive(100), complete together"
NAMESPACE = "local.servicebus.windows.net"

NOTE = (
    "Client CPU: all threads of the client's process; the server has its own. By hand as the library's documentation "
    "teaches: create_message_batch and add_message until it is full; receive_messages(100), then complete_message of "
    "each. By hand nothing keeps locks, retries or tells outcomes."
)


def run(report: Report) -> None:
    with environment(), _server() as connection_string:
        os.environ["AZURE_SERVICEBUS_CONNECTION_STRING"] = connection_string
        bench = Bench(connection_string)
        many = report.count(2_000)
        report.compare(
            "azure: publish to a queue",
            [Contender("polybus", lambda: bench.publish(many)), Contender(BATCHED, lambda: bench.send_by_hand(many))],
            aims=[Aim("rate", BATCHED, at_least=0.95), Aim("cpu", BATCHED, at_most=1.0)],
            rounds=3,
            note=NOTE,
        )
        report.compare(
            "azure: receive and ack",
            [
                Contender("polybus", lambda: bench.consume(many)),
                Contender(COMPLETED, lambda: bench.receive_by_hand(many, together=False)),
                Contender(TOGETHER, lambda: bench.receive_by_hand(many, together=True)),
            ],
            aims=[Aim("rate", COMPLETED, at_least=0.95), Aim("cpu", COMPLETED, at_most=1.0)],
            rounds=3,
            note=NOTE,
        )


class Bench:
    """One queue on the server, empty between pieces of work, and the work of each contender."""

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        queue = Entity(kind=Kind.QUEUE, name=QUEUE, address=QUEUE, dead_letter=f"{QUEUE}/$DeadLetterQueue", lease=60.0)
        self._binding = Binding(backend="azure", bus="bench", settings={"namespace": NAMESPACE}, queues={QUEUE: queue})

    # polybus

    async def publish(self, count: int) -> Sample:
        async with polybus.connect(self._binding) as bus:
            await bus.publish(QUEUE, BODY, attributes=ATTRIBUTES)  # connects
            with measured(count) as taken:
                await bus.publish_many(QUEUE, (polybus.Message(BODY.encode(), ATTRIBUTES) for _ in range(count)))
        await self.empty()
        return taken.sample

    async def consume(self, count: int) -> Sample:
        await self._fill(count)
        left = count
        done = asyncio.Event()

        async def handle(delivery: polybus.Delivery) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set()

        driver = _Gated(load("azure")(self._binding, polybus.SystemClock()))
        async with polybus.connect(self._binding, driver=driver) as bus:
            consumer = bus.consumer(QUEUE, handle, options=polybus.ConsumerOptions(prefetch=2 * HUNDRED))
            running = asyncio.create_task(consumer.run())
            await driver.opened.wait()
            with measured(count) as taken:
                driver.go.set()
                await done.wait()
                while consumer.in_flight:  # noqa: ASYNC110 - the last acks are under way, and set no event
                    await asyncio.sleep(0.001)
            await consumer.drain()
            await running
        return taken.sample

    # azure-servicebus by hand

    async def send_by_hand(self, count: int) -> Sample:
        async with self._client() as client, client.get_queue_sender(QUEUE) as sender:
            with measured(count) as taken:
                await _send(sender, count)
        await self.empty()
        return taken.sample

    async def receive_by_hand(self, count: int, *, together: bool) -> Sample:
        await self._fill(count)
        left = count
        async with self._client() as client, client.get_queue_receiver(QUEUE) as receiver:
            with measured(count) as taken:
                while left:
                    messages = await receiver.receive_messages(max_message_count=min(HUNDRED, left), max_wait_time=5)
                    if together:
                        await asyncio.gather(*(receiver.complete_message(message) for message in messages))
                    else:
                        for message in messages:
                            await receiver.complete_message(message)
                    left -= len(messages)
        return taken.sample

    # between them

    async def empty(self) -> None:
        """Take everything out of the queue."""
        async with self._client() as client, self._deleting(client) as receiver:
            while await receiver.receive_messages(max_message_count=1_000, max_wait_time=0.5):
                pass

    async def _fill(self, count: int) -> None:
        async with self._client() as client, client.get_queue_sender(QUEUE) as sender:
            await _send(sender, count)

    def _client(self) -> ServiceBusClient:
        return ServiceBusClient.from_connection_string(self._connection_string)

    @staticmethod
    def _deleting(client: ServiceBusClient) -> ServiceBusReceiver:
        return client.get_queue_receiver(QUEUE, receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)


class _Gated(DriverProxy):
    """Opens the link, and lets the consumer begin when it is told to."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.opened, self.go = asyncio.Event(), asyncio.Event()

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        consumer = await super().open_consumer(source, prefetch=prefetch, concurrency=concurrency)
        self.opened.set()
        await self.go.wait()
        return consumer


async def _send(sender: ServiceBusSender, count: int) -> None:
    batch = await sender.create_message_batch()
    for _ in range(count):
        message = ServiceBusMessage(BODY, application_properties=NATIVE)
        try:
            batch.add_message(message)
        except MessageSizeExceededError:
            await sender.send_messages(batch)
            batch = await sender.create_message_batch()
            batch.add_message(message)
    await sender.send_messages(batch)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """Run the local server in memory, with the queue in it, and yield its connection string."""
    with served("azure") as (host, port):
        connection_string = (
            f"Endpoint=sb://localhost:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
            "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
        )
        _make_queue(connection_string, host, port)
        yield connection_string


def _make_queue(connection_string: str, host: str, port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trusted = Path(folder) / "server.pem"
        trusted.write_text(ssl.get_server_certificate((host, port)))
        with ServiceBusAdministrationClient.from_connection_string(
            connection_string, connection_verify=str(trusted)
        ) as client:
            client.create_queue(QUEUE, max_delivery_count=25, requires_duplicate_detection=True)
