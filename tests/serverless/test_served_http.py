"""A served `cloud_run(app)` and its connections: bodies in pieces, too long, too slow; keep-alive; its end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from served import BOUND, Server, listening, serving, until
from shop import Order, Shop, binding, event

from polybus import App, SteppedClock
from polybus.serverless import CloudRun, Unverified, cloud_run


def verify(token: str) -> None:
    if token != "good":
        raise Unverified("not good")


def push(order: str) -> bytes:
    given = event("pubsub_push")
    given["message"]["data"] = base64.b64encode(json.dumps({"id": order}).encode()).decode()
    given["deliveryAttempt"] = 1
    return json.dumps(given).encode()


def head(*lines: str, token: str = "good") -> bytes:
    all_ = ["POST /billing HTTP/1.1", "Host: shop", f"Authorization: Bearer {token}", *lines]
    return "\r\n".join([*all_, "", ""]).encode()


def request(order: str, *lines: str) -> bytes:
    body = push(order)
    return head(f"Content-Length: {len(body)}", *lines) + body


class Connection:
    """One connection of a client that decides about every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()

    async def status(self) -> int | None:
        """Return the status of the next answer, or None at the connection's end."""
        try:
            found = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), BOUND)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return int(found.split()[1])

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def connection(place: socket.socket) -> AsyncIterator[Connection]:
    made = Connection(*await asyncio.open_connection(*place.getsockname()))
    try:
        yield made
    finally:
        await made.close()


class Served:
    def __init__(self, shop: Shop, place: socket.socket, clock: SteppedClock) -> None:
        self.shop = shop
        self.place = place
        self.clock = clock


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    shop, place, clock = Shop(), listening(), SteppedClock()
    address = place.dup()  # the server closes its own
    async with serving(cloud_run(shop.app, binding("gcp"), verify=verify, clock=clock), place):
        yield Served(shop, address, clock)
    assert shop.lifespans == ["begin", "end"]
    address.close()


async def test_a_body_in_chunks_is_one(served: Served) -> None:
    body = push("one")
    async with connection(served.place) as client:
        await client.send(head("Transfer-Encoding: chunked"))
        for place in range(0, len(body), 50):
            part = body[place : place + 50]
            await client.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        await client.send(b"0\r\n\r\n")
        assert await client.status() == 204
    assert served.shop.ids == ["one"]


async def test_a_connection_is_kept_for_the_next_request(served: Served) -> None:
    async with connection(served.place) as client:
        for order in ("one", "fails", "two"):
            await client.send(request(order))
            assert await client.status() == (503 if order == "fails" else 204)
    assert served.shop.ids == ["one", "fails", "two"]


@pytest.mark.parametrize("lines", [["Content-Length: 17000000"], ["Transfer-Encoding: chunked"]], ids=str)
async def test_a_body_that_is_too_long_is_refused_and_not_waited_for(served: Served, lines: list[str]) -> None:
    async with connection(served.place) as client:
        await client.send(head(*lines))
        part = b"x" * 1024 * 1024

        async def flood() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await client.send(b"100000\r\n" + part + b"\r\n" if "chunked" in lines[0] else part)

        flooding = asyncio.create_task(flood())
        # The connection may be cut before the answer is read, as the rest of the body is of no use to anyone.
        assert await client.status() in (413, None)
        flooding.cancel()
        await asyncio.wait([flooding])
    assert served.shop.deliveries == []
    async with connection(served.place) as other:
        await other.send(request("one"))
        assert await other.status() == 204


async def test_who_may_not_push_is_answered_before_the_body(served: Served) -> None:
    async with connection(served.place) as client:
        await client.send(head("Content-Length: 1000000", token="bad"))
        assert await client.status() == 403


async def test_a_body_that_does_not_come_ends_the_wait(served: Served) -> None:
    body = push("one")
    async with connection(served.place) as client:
        await client.send(head(f"Content-Length: {len(body)}"), body[:20])
        answer = asyncio.create_task(client.status())
        while not answer.done():
            served.clock.advance(1)
            await asyncio.wait([answer], timeout=0.01)
        assert answer.result() == 408
    assert served.shop.deliveries == []


async def test_who_hangs_up_while_sending_is_forgotten(served: Served) -> None:
    async with connection(served.place) as client:
        await client.send(head("Content-Length: 1000"), b"{")
    async with connection(served.place) as other:
        await other.send(request("one"))
        assert await other.status() == 204
    assert served.shop.ids == ["one"]


async def test_other_methods_are_refused_and_the_connection_goes_on(served: Served) -> None:
    async with connection(served.place) as client:
        await client.send(b"GET /billing HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert await client.status() == 405
        await client.send(request("one"))
        assert await client.status() == 204


class Slow:
    """An app whose handler waits to be let go on."""

    def __init__(self) -> None:
        self.app = App()
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.ends: list[str] = []
        self.app.handler("billing")(self.handle)
        self.app.lifespan(self.lifespan)

    async def handle(self, order: Order) -> None:
        self.begun.set()
        try:
            await self.go_on.wait()
            self.ends.append("handled")
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise

    async def lifespan(self, app: App) -> AsyncIterator[None]:
        yield
        self.ends.append("closed")

    def function(self) -> CloudRun:
        return cloud_run(self.app, binding("gcp"), verify=verify)


async def stop(server: Server) -> None:
    """Ask the server to end, as a signal does, and wait until it takes no more."""
    server.should_exit = True
    await until(lambda: not any(one.is_serving() for one in server.servers))


async def test_the_end_of_serving_waits_for_handlers_and_answers_what_they_did() -> None:
    slow, place = Slow(), listening()
    address = place.getsockname()
    async with serving(slow.function(), place) as server, connection(place) as client:
        await client.send(request("one"))
        await asyncio.wait_for(slow.begun.wait(), BOUND)
        await stop(server)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        slow.go_on.set()
        assert await client.status() == 204
    assert slow.ends == ["handled", "closed"]


async def test_handlers_that_outlast_the_servers_patience_are_cancelled_and_not_acked() -> None:
    slow, place = Slow(), listening()
    async with serving(slow.function(), place, timeout_graceful_shutdown=1) as server, connection(place) as client:
        await client.send(request("one"))
        await asyncio.wait_for(slow.begun.wait(), BOUND)
        await stop(server)
        assert await client.status() in (500, 503, None)
    assert slow.ends == ["cancelled", "closed"]


SERVICE = """
import sys
from polybus import App
from polybus.serverless import cloud_run

app = App()

@app.lifespan
async def resources(app):
    yield
    print("closed", flush=True)

@app.handler("billing")
def bill(body: bytes):
    print("begun", flush=True)
    sys.stdin.readline()
    print("handled", flush=True)

asgi = cloud_run(app, verify=lambda token: None)
"""


async def test_a_signal_ends_the_servers_command_when_its_handlers_are_done(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "polybus.binding.json").write_bytes(msgspec.json.encode(binding("gcp")))
    place = listening()
    command = [sys.executable, "-m", "uvicorn", "service:asgi", "--fd", str(place.fileno()), "--log-level", "warning"]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=tmp_path,
        pass_fds=[place.fileno()],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )

    async def line() -> str:
        assert process.stdout is not None
        return (await asyncio.wait_for(process.stdout.readline(), BOUND)).decode().strip()

    try:
        async with connection(place) as client:
            await client.send(request("one", "Connection: close"))
            assert await line() == "begun"
            process.send_signal(signal.SIGTERM)
            assert process.stdin is not None
            process.stdin.write(b"\n")
            assert [await line(), await client.status(), await line()] == ["handled", 204, "closed"]
        assert await asyncio.wait_for(process.wait(), BOUND) in (0, -signal.SIGTERM)
    finally:
        place.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
