"""Fetching certificates: from who was asked alone, within bounds of size and time, over real sockets with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from served import HOST, Tls

from polybus.localcloud.server import free_port
from polybus.serverless import fetch as fetching
from polybus.serverless.fetch import CertificateCache, Fetched, Unreachable, fetch


@contextlib.asynccontextmanager
async def answering(
    tls: Tls, *parts: bytes, ends: bool = True, pause: float = 0
) -> AsyncIterator[tuple[str, list[str]]]:
    """Answer every request with these parts, `pause` seconds apart, and then end the connection or say nothing more."""
    asked: list[str] = []
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        if not ends:
            await over.wait()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    server = await asyncio.start_server(answer, HOST, 0, ssl=context)
    try:
        yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}/certs", asked
    finally:
        over.set()
        server.close()
        await server.wait_closed()


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tls:
    made = Tls(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    return made


async def test_what_is_answered_is_given(tls: Tls) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nCache-Control: max-age=60\r\n\r\n"
    async with answering(tls, head, b"the key") as (url, asked):
        fetched = await asyncio.to_thread(fetch, url)
    assert (fetched.status, fetched.data, fetched.headers["Cache-Control"]) == (200, b"the key", "max-age=60")
    assert asked == ["GET /certs HTTP/1.1"]


async def test_redirects_are_not_followed(tls: Tls) -> None:
    async with answering(tls, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") as (elsewhere, reached):
        head = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n".encode()
        async with answering(tls, head) as (url, _):
            assert (await asyncio.to_thread(fetch, url)).status == 302
    assert reached == []


async def test_errors_are_given_with_their_status(tls: Tls) -> None:
    async with answering(tls, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") as (url, _):
        assert await asyncio.to_thread(fetch, url) == Fetched(503, {"Content-Length": "0"}, b"")


async def test_a_host_whose_certificate_is_not_trusted_is_unreachable(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with answering(tls, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, asked):
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await asyncio.to_thread(fetch, url)
    assert asked == []


async def test_more_than_a_certificate_is_refused(tls: Tls) -> None:
    part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with answering(tls, head, *[part] * 5, ends=False) as (url, _):
        with pytest.raises(Unreachable, match="more than 262144 bytes"):
            await asyncio.to_thread(fetch, url)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    ],
    ids=["nothing", "no HTTP", "a long header", "a bad chunk", "half"],
)
async def test_an_answer_that_is_none_is_unreachable(tls: Tls, answer: bytes) -> None:
    async with answering(tls, answer) as (url, _):
        with pytest.raises(Unreachable):
            await asyncio.to_thread(fetch, url)


async def test_an_answer_that_does_not_end_is_unreachable(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
    for parts in ((), (head,)):
        async with answering(tls, *parts, ends=False) as (url, _):
            with pytest.raises(Unreachable, match="timed out"):
                await asyncio.to_thread(fetch, url)


async def test_an_answer_that_comes_in_drops_is_unreachable(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.5)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    async with answering(tls, head, *[b"x"] * 100, pause=0.02) as (url, _):
        with pytest.raises(Unreachable):
            await asyncio.to_thread(fetch, url)


def test_keys_come_over_https_alone_and_from_a_host_that_answers() -> None:
    with pytest.raises(ValueError, match="isn't https"):
        fetch("http://127.0.0.1/certs")
    with pytest.raises(Unreachable, match="refused"):
        fetch(f"https://127.0.0.1:{free_port()}/certs")
    with pytest.raises(Unreachable, match="control characters"):
        fetch("https://127.0.0.1/\x01")


def test_keys_are_forgotten_after_a_day_whatever_their_sender_allows() -> None:
    asked, now = [], 0.0

    def answer(url: str) -> Fetched:
        asked.append(url)
        return Fetched(200, {"cache-control": "max-age=99999999999"}, b"")

    cache = CertificateCache(answer, lambda: now)
    for now in (0.0, 86_399.0, 86_401.0):  # noqa: B007 - the cache's clock reads it
        cache("https://keys.example/")
    assert len(asked) == 2
