"""When a service is ready: once each consumer has received, and only while it can."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

import polybus
from polybus import App, BackendError, Binding, Entity, Fault, FaultKind
from polybus.app import run_apps
from polybus.binding import Kind
from polybus.embedded.memory import MemoryDriver, Store


def make_binding() -> Binding:
    return Binding(
        backend="memory",
        bus="shop",
        settings={"store": Store()},
        queues={
            name: Entity(kind=Kind.QUEUE, name=name, address=name, dead_letter=f"{name}!dead")
            for name in ("jobs", "mails")
        },
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def ready(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /ready HTTP/1.1\r\nHost: h\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answer.split(" ")[1] + " " + answer.rpartition("\r\n\r\n")[2].strip()


async def until_ready_says(port: int, check: Callable[[str], bool]) -> str:
    async with asyncio.timeout(30):
        while True:
            try:
                said = await ready(port)
            except OSError:
                said = ""
            if check(said):
                return said
            await asyncio.sleep(0.002)


class Backend:
    """What the memory backend does when it is asked for messages from `mails`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fault: Fault | None = None
        self.silent = asyncio.Event()
        self.silent.set()
        open_consumer: Callable[..., Any] = MemoryDriver.open_consumer

        async def open_it(driver: MemoryDriver, source: Entity, **options: int) -> Any:
            consumer = await open_consumer(driver, source, **options)
            receive: Callable[..., Any] = consumer.receive_batch

            async def receive_batch(count: int, *, wait: float) -> Sequence[Any]:
                await self.silent.wait()
                if self.fault is not None:
                    await asyncio.sleep(0.001)
                    raise BackendError(self.fault)
                found: Sequence[Any] = await receive(count, wait=min(wait, 0.01))
                return found

            if source.name == "mails":
                monkeypatch.setattr(consumer, "receive_batch", receive_batch)
            return consumer

        monkeypatch.setattr(MemoryDriver, "open_consumer", open_it)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:
    return Backend(monkeypatch)


def make_app() -> App:
    app = App(source=make_binding())

    @app.handler("jobs")
    async def work(body: str) -> None: ...

    @app.handler("mails")
    async def mail(body: str) -> None: ...

    return app


@asynccontextmanager
async def running(app: App) -> AsyncIterator[int]:
    port = free_port()
    task = asyncio.create_task(run_apps([app], health_port=port))
    try:
        yield port
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_is_not_ready_before_each_consumer_has_received(backend: Backend) -> None:
    backend.silent.clear()
    app = make_app()
    async with running(app) as port:
        said = await until_ready_says(port, lambda said: "mails: " in said)
        assert said.startswith("503 ")
        assert "received" in said  # nothing was yet
        backend.silent.set()
        assert await until_ready_says(port, lambda said: said.startswith("200")) == "200 ready"
        assert app.problem is None


async def test_it_is_ready_without_a_message_and_long_before_a_long_poll_ends() -> None:
    async with running(make_app()) as port, asyncio.timeout(10):  # a long poll takes 20 s
        assert await until_ready_says(port, lambda said: said.startswith("200")) == "200 ready"


async def test_it_is_never_ready_where_the_backend_is_never_reached(backend: Backend) -> None:
    backend.fault = Fault(FaultKind.UNAVAILABLE, "no such host")
    async with running(make_app()) as port:
        said = await until_ready_says(port, lambda said: "no such host" in said and "jobs: " not in said)
    assert said.startswith("503 mails: receiving")
    assert "unavailable: no such host" in said


async def test_an_outage_ends_readiness_and_its_end_brings_it_back(backend: Backend) -> None:
    async with running(make_app()) as port:
        await until_ready_says(port, lambda said: said == "200 ready")
        backend.fault = Fault(FaultKind.UNAVAILABLE, "connection reset")
        await until_ready_says(port, lambda said: said.startswith("503") and "connection reset" in said)
        backend.fault = None
        await until_ready_says(port, lambda said: said == "200 ready")


async def test_the_app_tells_its_problem_to_services_with_a_face_of_their_own(backend: Backend) -> None:
    backend.fault = Fault(FaultKind.UNAVAILABLE, "no such host")
    app = make_app()
    assert app.problem == "starting"
    async with app.running():
        async with asyncio.timeout(20):
            while "no such host" not in str(app.problem):  # noqa: ASYNC110 - the bus's own tasks move, without telling
                await asyncio.sleep(0.001)
    assert app.problem == "starting"


async def test_a_probe_that_dawdles_does_not_keep_the_process(backend: Backend) -> None:
    port = free_port()
    task = asyncio.create_task(run_apps([make_app()], health_port=port))
    await until_ready_says(port, lambda said: said == "200 ready")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /re")
    await writer.drain()
    await asyncio.sleep(0.01)
    task.cancel()
    async with asyncio.timeout(4):  # a probe has five seconds
        await asyncio.wait([task])
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    with pytest.raises(polybus.BusClosed):
        _ = App().bus
