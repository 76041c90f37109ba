"""GET /live and /ready over a real socket."""

from __future__ import annotations

import asyncio

import pytest

from polybus.app.health import HealthServer
from polybus.errors import ConfigError


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: kube-probe/1.30\r\n\r\n".encode()


@pytest.mark.parametrize(("state", "status"), [("ready", b"200"), ("starting", b"503"), ("draining", b"503")])
async def test_ready_follows_the_state_and_live_does_not(state: str, status: bytes) -> None:
    async with HealthServer(lambda: state, 0, host="127.0.0.1") as server:
        ready = await ask(server.port, get("/ready?verbose"))
        live = await ask(server.port, get("/live"))
    assert ready.startswith(b"HTTP/1.1 " + status)
    assert ready.endswith(b"\r\n\r\n" + state.encode() + b"\n")
    assert live.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_head_has_the_head_alone() -> None:
    async with HealthServer(lambda: "ready", 0, host="127.0.0.1") as server:
        answer = await ask(server.port, get("/ready", "HEAD"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/"), b"404"),
        (get("/live", "POST"), b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /live\r\n\r\n", b"400"),
        (b"\x16\x03\x01 TLS hello\r\n\r\n", b"400"),
        (b"GET /live HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"400"),
    ],
)
async def test_what_is_no_probe_is_answered_as_such(request_bytes: bytes, status: bytes) -> None:
    async with HealthServer(lambda: "ready", 0, host="127.0.0.1") as server:
        assert (await ask(server.port, request_bytes)).split(b" ")[1] == status
        assert (await ask(server.port, get("/live"))).split(b" ")[1] == b"200"


async def test_a_probe_that_goes_away_leaves_it_serving() -> None:
    async with HealthServer(lambda: "ready", 0, host="127.0.0.1") as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /li")
        writer.close()
        await writer.wait_closed()
        assert (await ask(server.port, get("/live"))).split(b" ")[1] == b"200"


async def test_a_port_that_is_taken_is_named() -> None:
    async with HealthServer(lambda: "ready", 0, host="127.0.0.1") as server:
        with pytest.raises(ConfigError, match=rf"health port {server.port}: .*; choose another with --health"):
            async with HealthServer(lambda: "ready", server.port, host="127.0.0.1"):
                pass
    with pytest.raises(ConfigError, match="health port 70000"):
        async with HealthServer(lambda: "ready", 70_000, host="127.0.0.1"):
            pass
