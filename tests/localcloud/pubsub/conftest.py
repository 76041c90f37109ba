"""A server in a thread, on a clock that tests move, and what tests do with it over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.protobuf import duration_pb2
from google.pubsub_v1 import PublisherClient, SubscriberAsyncClient, SubscriberClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport, SubscriberGrpcTransport

from polybus.clock import SteppedClock
from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import running_in_thread

# Far more than anything here takes; reached only where something is broken.
BOUND = 30.0


class Rig:
    """What a test does to one server, with the library's generated synchronous clients."""

    def __init__(self, address: str, project: str = "local") -> None:
        self.address = address
        self.project = project
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(address, options=options)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self.channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self.channel))

    def close(self) -> None:
        self.channel.close()

    def path(self, kind: str, name: str) -> str:
        return f"projects/{self.project}/{kind}/{name}"

    def topic(self, name: str = "orders", **config: Any) -> str:
        return self.publisher.create_topic(request={"name": self.path("topics", name), **config}).name

    def subscription(self, name: str, topic: str, **config: Any) -> str:
        request = {"name": self.path("subscriptions", name), "topic": topic, **config}
        return self.subscriber.create_subscription(request=request).name

    def pair(self, **config: Any) -> tuple[str, str]:
        """A topic and its subscription."""
        topic = self.topic()
        return topic, self.subscription("billing", topic, **config)

    def publish(self, topic: str, *bodies: bytes, key: str = "", **attributes: str) -> list[str]:
        messages = [{"data": body, "ordering_key": key, "attributes": attributes} for body in bodies]
        return list(self.publisher.publish(request={"topic": topic, "messages": messages}).message_ids)

    def pull(self, subscription: str, count: int = 1000) -> list[types.ReceivedMessage]:
        """What is there now, without waiting."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            request = {"subscription": subscription, "max_messages": count, "return_immediately": True}
            return list(self.subscriber.pull(request=request).received_messages)

    def bodies(self, subscription: str, count: int = 1000) -> list[bytes]:
        return [received.message.data for received in self.pull(subscription, count)]

    def wait(self, subscription: str, count: int = 1000) -> list[types.ReceivedMessage]:
        """What is there as soon as anything is."""
        request = {"subscription": subscription, "max_messages": count}
        return list(self.subscriber.pull(request=request, timeout=BOUND).received_messages)

    def ack(self, subscription: str, received: Sequence[types.ReceivedMessage]) -> None:
        self.subscriber.acknowledge(subscription=subscription, ack_ids=[each.ack_id for each in received])

    def nack(self, subscription: str, received: Sequence[types.ReceivedMessage]) -> None:
        self.extend(subscription, received, 0)

    def extend(self, subscription: str, received: Sequence[types.ReceivedMessage], length: int) -> None:
        ack_ids = [each.ack_id for each in received]
        self.subscriber.modify_ack_deadline(subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=length)

    def update(self, subscription: str, paths: Sequence[str], **config: Any) -> types.Subscription:
        return self.subscriber.update_subscription(
            request={"subscription": {"name": subscription, **config}, "update_mask": {"paths": list(paths)}}
        )


class Stream:
    """One streaming pull, with the library's generated asynchronous client."""

    def __init__(self, client: SubscriberAsyncClient, subscription: str, **first: Any) -> None:
        self._client = client
        self._first = {"subscription": subscription, "stream_ack_deadline_seconds": 10, **first}
        self._requests: asyncio.Queue[types.StreamingPullRequest | None] = asyncio.Queue()
        self._opening: asyncio.Future[Any] | None = None

    def open(self) -> None:
        """Start the call; how that goes, `response` tells."""
        opening = self._client.streaming_pull(requests=self._sending(), retry=None, timeout=None)
        self._opening = asyncio.ensure_future(opening)

    async def _sending(self) -> AsyncIterator[types.StreamingPullRequest]:
        yield types.StreamingPullRequest(**self._first)
        while (request := await self._requests.get()) is not None:
            yield request

    def send(self, **fields: Any) -> None:
        self._requests.put_nowait(types.StreamingPullRequest(**fields))

    def ack(self, received: Sequence[types.ReceivedMessage]) -> None:
        self.send(ack_ids=[each.ack_id for each in received])

    def half_close(self) -> None:
        self._requests.put_nowait(None)

    async def response(self) -> types.StreamingPullResponse:
        """The next response of any kind; StopAsyncIteration at the end of the stream."""
        call = await asyncio.wait_for(asyncio.shield(self._opening), BOUND)
        return await asyncio.wait_for(call.__aiter__().__anext__(), BOUND)

    async def response_where(self, wanted: Callable[[Any], Any]) -> types.StreamingPullResponse:
        while not wanted(response := await self.response()):
            pass
        return response

    async def messages(self, count: int = 1) -> list[types.ReceivedMessage]:
        """The next `count` messages."""
        received: list[types.ReceivedMessage] = []
        while len(received) < count:
            received += (await self.response()).received_messages
        return received

    async def cancel(self) -> None:
        self._opening.cancel()
        with contextlib.suppress(asyncio.CancelledError, exceptions.GoogleAPICallError):
            (await self._opening).cancel()


@dataclass(frozen=True)
class Streams:
    client: SubscriberAsyncClient

    @contextlib.asynccontextmanager
    async def open(self, subscription: str, **first: Any) -> AsyncIterator[Stream]:
        stream = Stream(self.client, subscription, **first)
        stream.open()
        try:
            yield stream
        finally:
            await stream.cancel()


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def server(clock: SteppedClock) -> Iterator[PubsubServer]:
    with running_in_thread(PubsubServer(clock=clock)) as started:
        yield started


@pytest.fixture
def rig(server: PubsubServer) -> Iterator[Rig]:
    opened = Rig(f"{server.host}:{server.port}")
    yield opened
    opened.close()


@pytest.fixture
async def streams(server: PubsubServer) -> AsyncIterator[Streams]:
    channel = grpc.aio.insecure_channel(
        f"{server.host}:{server.port}", options=[("grpc.max_receive_message_length", -1)]
    )
    yield Streams(SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel)))
    await channel.close()


@pytest.fixture
def open_rig() -> Iterator[Callable[[PubsubServer], Rig]]:
    """Opens rigs to servers that a test runs itself."""
    with contextlib.ExitStack() as stack:

        def opened(started: PubsubServer) -> Rig:
            return stack.enter_context(contextlib.closing(Rig(f"{started.host}:{started.port}")))

        yield opened


class Process:
    """`python -m polybus.localcloud.run gcp` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "polybus.localcloud.run", "gcp", *arguments]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._popen.stdout is not None
        ready, host, port = self._popen.stdout.readline().split()
        assert ready == "ready"
        self.address = f"{host}:{port}"
        self.port = port

    def resident(self) -> int:
        """Bytes of memory that it has now."""
        pages = Path(f"/proc/{self._popen.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self._popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and return the exit code."""
        self._popen.send_signal(number)
        self._popen.communicate(timeout=BOUND)
        return self._popen.returncode


@pytest.fixture
def spawn() -> Iterator[Callable[..., Process]]:
    """Starts server processes, and ends them with the test."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def connect() -> Iterator[Callable[[str], Rig]]:
    """Opens rigs to any address."""
    with contextlib.ExitStack() as stack:
        yield lambda address: stack.enter_context(contextlib.closing(Rig(address)))


@pytest.fixture
def seconds() -> Callable[[float], duration_pb2.Duration]:
    def duration(length: float) -> duration_pb2.Duration:
        return duration_pb2.Duration(seconds=int(length), nanos=round(length % 1 * 1e9))

    return duration
