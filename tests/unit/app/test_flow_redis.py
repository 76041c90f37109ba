"""A rate limit that processes share in a Redis server, which runs here for as long as the tests."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from polybus import App, Binding, Entity
from polybus.binding import Kind
from polybus.embedded.memory import Store
from polybus.flow import RateLimit
from polybus.flow_redis import InRedis

SERVER = shutil.which("redis-server")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


class Server:
    """A redis-server on a free port; it may be ended and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        assert SERVER is not None
        command = [SERVER, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = await asyncio.create_subprocess_exec(
            *command, cwd=self._folder, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(30):
            while not await self._answers():  # noqa: ASYNC110 - another process, which tells nobody
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        return answer == b"+PONG\r\n"

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


@pytest.fixture
async def server(tmp_path: Path, say: Callable[[str], None]) -> AsyncIterator[Server | None]:
    if SERVER is None:
        say("redis-server isn't here: limits that processes share in Redis were not tried")
        yield None
        return
    started = Server(tmp_path)
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


def make_binding(store: Store) -> Binding:
    queue = Entity(kind=Kind.QUEUE, name="jobs", address="q", dead_letter="q!dead", lease=30.0)
    return Binding(backend="memory", bus="shop", settings={"store": store}, queues={"jobs": queue})


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - other tasks and a server move, without telling
            await asyncio.sleep(0.01)


async def test_the_bucket_fills_with_the_servers_time_and_may_be_in_debt(server: Server | None) -> None:
    if server is None:
        return
    one, other = InRedis(server.url, key="k"), InRedis(server.url, key="k")
    assert await one.spend(0.001, 10, 0) == 10
    assert await one.spend(0.001, 10, 4) == pytest.approx(6, abs=0.1)
    assert await other.spend(0.001, 10, 8) == pytest.approx(-2, abs=0.1)
    before = await one.spend(50, 10, 0)
    await asyncio.sleep(0.05)
    assert await other.spend(50, 10, 0) > before
    assert "redis://" not in repr(one)
    await one.aclose()
    await other.aclose()


async def test_two_apps_that_share_a_limit_take_no_more_than_it_says(server: Server | None) -> None:
    if server is None:
        return
    store, done = Store(), list[str]()
    url = server.url

    def make(name: str) -> App:
        app = App(source=make_binding(store))

        @app.handler("jobs", rate_limit=RateLimit(per_second=0.001, burst=10, shared=InRedis(url, key="shop:jobs")))
        async def work(body: bytes) -> None:
            done.append(name)

        return app

    first, second = make("first"), make("second")
    async with first.running(), second.running():
        await first.bus.publish_many("jobs", [b""] * 10)
        await until(lambda: len(done) == 10)
        await first.bus.publish_many("jobs", [b""] * 10)
        await until(lambda: first.consumers[0].not_taking == second.consumers[0].not_taking == "limit")
        # Each may have had a receive under way that was asked for before the other's came.
        assert 10 <= len(done) <= 20
        stats = await first.bus.stats("jobs")
        assert (stats.waiting, stats.leased) == (20 - len(done), 0)


async def test_while_the_server_is_away_nothing_is_taken_and_it_is_said(server: Server | None) -> None:
    if server is None:
        return
    app, done = App(source=make_binding(Store())), list[bytes]()
    await server.stop()

    @app.handler("jobs", rate_limit=RateLimit(per_second=100, shared=InRedis(server.url, key="k")))
    async def work(body: bytes) -> None:
        done.append(body)

    async with app.running():
        await app.bus.publish("jobs", b"a")
        await until(lambda: "its rate limit can't be asked" in (app.problem or ""))
        assert done == []
        await server.start()
        await until(lambda: done == [b"a"])
        await until(lambda: app.problem is None)
