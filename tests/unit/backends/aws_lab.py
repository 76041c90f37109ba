"""What the tests of the AWS backend share: a local server on a clock of theirs, and a way to it that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import pytest

from polybus.binding import Binding, Entity
from polybus.clock import SteppedClock
from polybus.clouds.aws.driver.driver import AwsDriver
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan.resources import AwsSettings, plan
from polybus.driver import Outgoing, Received
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.aws.sqs.message import IN_FLIGHT, READY
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.server import running_in_thread
from polybus.message import Message, Sent
from polybus.topology.file import loads


class Lab:
    """A topology on a local server, and drivers of it."""

    def __init__(self, server: AwsServer, clock: SteppedClock, binding: Binding) -> None:
        self.server = server
        self.clock = clock
        self.binding = binding
        self.client = "lean"

    def entity(self, name: str) -> Entity:
        return self.binding.entity(name)

    @asynccontextmanager
    async def driver(self, **settings: Any) -> AsyncIterator[AwsDriver]:
        settings = {**self.binding.settings, "client": self.client, **settings}
        driver = AwsDriver(msgspec.structs.replace(self.binding, settings=settings), self.clock)
        try:
            yield driver
            assert driver._clients.lean is (settings["client"] == "lean"), "the lean way was left without a reason"
        finally:
            await driver.aclose()

    async def publish(self, driver: AwsDriver, name: str, *bodies: str, key: str | None = None) -> None:
        publisher = await driver.open_publisher(self.entity(name))
        for number, body in enumerate(bodies):
            message = Message(body.encode(), {}, key, f"{body}-{number}", None, "text/plain")
            prepared = publisher.prepare(Outgoing(message))
            [outcome] = await publisher.publish_batch([prepared])
            assert isinstance(outcome, Sent), outcome

    def empty(self) -> None:
        """Forget what other tests left on the server."""
        for queue in self.server.queues.all():
            queue.clear()
        self.server.faults.clear()
        self.server.credentials = None

    def counts(self, address: str) -> tuple[int, int]:
        """Return how many messages of a queue are visible, and how many in flight, as its server has them."""
        counts = self._queue(address).counts
        return counts[READY], counts[IN_FLIGHT]

    async def until(self, address: str, counts: tuple[int, int]) -> None:
        """Return once a queue has so many messages visible and in flight."""
        async with asyncio.timeout(60):
            while self.counts(address) != counts:  # noqa: ASYNC110 - it is another thread's, and tells nobody
                await asyncio.sleep(0.005)

    async def polls(self, address: str, count: int) -> None:
        """Return once `count` polls of a queue wait at the server."""
        queue = self._queue(address)
        async with asyncio.timeout(60):
            while len(queue.waiters) != count:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.005)

    def _queue(self, address: str) -> Queue:
        queue = self.server.queues.by_arn(f"arn:aws:sqs:us-east-1:000000000000:{address.rsplit('/', 1)[1]}")
        assert queue is not None
        return queue


@contextmanager
def lab(toml: str, monkeypatch: pytest.MonkeyPatch, **server_options: Any) -> Iterator[Lab]:
    clock = SteppedClock()
    with running_in_thread(AwsServer(clock=clock, **server_options)) as server:
        for name, value in server.env().items():
            if name != "AWS_ENDPOINT_URL":
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        made = realise(plan(loads(toml, source="polybus.toml"), AwsSettings(region="us-east-1")), endpoint=server.url)
        settings: Mapping[str, Any] = {**made.settings, "endpoint": server.url, "validate": True}
        yield Lab(server, clock, msgspec.structs.replace(made, settings=settings))


class Way:
    """A TCP way to the server, which can be held up in either direction without a word, and cut."""

    def __init__(self, server: AwsServer) -> None:
        self._server = server
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Server | None = None
        self.connections = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self._dead: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Way:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    @property
    def url(self) -> str:
        assert self._listening is not None
        host, port = self._listening.sockets[0].getsockname()
        return f"http://{host}:{port}"

    def bury(self) -> None:
        """Let every connection that is open now be dead: what is sent is lost, and nothing ever comes."""
        self._dead |= self._writers

    def cut(self) -> None:
        """Reset every connection that is open now."""
        for writer in self._writers:
            writer.transport.abort()

    async def __aexit__(self, *_: object) -> None:
        assert self._listening is not None
        self._listening.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listening.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        back, onward = await asyncio.open_connection(self._server.host, self._server.port)
        pair = {writer, onward}
        self._writers |= pair
        tasks = {
            asyncio.create_task(self._pump(reader, onward, asyncio.Event(), held=False)),
            asyncio.create_task(self._pump(back, writer, self.answers, held=True)),
        }
        self._tasks |= tasks
        await asyncio.wait(tasks)
        self._writers -= pair

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, go: asyncio.Event, *, held: bool
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if held:
                    await go.wait()
                if writer in self._dead:
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


def bodies(received: Sequence[Received[Any]]) -> list[str]:
    return [one.message.body.decode() for one in received]
