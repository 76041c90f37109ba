"""One port for AMQP and HTTP, with TLS or without: the first byte, there and inside TLS, tells which it is."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import weakref
from collections.abc import Callable

__all__ = ["Acceptor"]

log = logging.getLogger(__name__)

TLS_HANDSHAKE = 0x16  # RFC 8446, 5.1: the content type that a ClientHello's record begins with
AMQP_FIRST = ord("A")  # of "AMQP"; no HTTP method begins with it
BACKLOG = 1024  # 500 clients that connect at once find room; Linux caps it at net.core.somaxconn
# Seconds for which accepting rests when the process has run out of file descriptors.
EXHAUSTED_PAUSE = 0.1

Factory = Callable[[], asyncio.BaseProtocol]


class Acceptor:
    """Listens on a port; looks at the first byte of each connection, without taking it, and hands it on."""

    def __init__(self, amqp: Factory, http: Factory, tls: ssl.SSLContext, patience: float) -> None:
        self._amqp = amqp
        self._http = http
        self._tls = tls
        self._patience = patience
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()

    def listen(self, host: str, port: int) -> int:
        """Listen there too; return the real port; raise OSError where it is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self._sockets.append(listener)
        self._spawn(self._accept(listener))
        bound: int = listener.getsockname()[1]
        return bound

    def _spawn(self, work: asyncio._CoroutineLike[None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except ConnectionError:
                continue
            except OSError:
                log.exception("a connection could not be accepted")
                await asyncio.sleep(EXHAUSTED_PAUSE)
                continue
            self._spawn(self._greet(accepted))

    async def _greet(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        handed_on = False
        try:
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(self._patience):
                first = await self._peek(accepted)
            if first is None:
                return
            factory = self._factory(first) if first != TLS_HANDSHAKE else self._inside
            tls = self._tls if first == TLS_HANDSHAKE else None
            handed_on = True
            patience = None if tls is None else self._patience
            transport, _ = await loop.connect_accepted_socket(
                factory, accepted, ssl=tls, ssl_handshake_timeout=patience, ssl_shutdown_timeout=patience
            )
            self._transports.add(transport)
        except (TimeoutError, OSError) as error:  # ssl.SSLError is an OSError
            log.debug("a connection ended before it said anything: %s", error)
        finally:
            if not handed_on:
                accepted.close()

    def _factory(self, first: int) -> Factory:
        return self._amqp if first == AMQP_FIRST else self._http

    def _inside(self) -> asyncio.BaseProtocol:
        return _Inside(self._factory, self._patience)

    async def _peek(self, accepted: socket.socket) -> int | None:
        """Return the first byte of a connection, leaving it there; None where the peer closed."""
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(accepted, _wake, readable)
        try:
            await readable
        finally:
            loop.remove_reader(accepted)
        first = accepted.recv(1, socket.MSG_PEEK)
        return first[0] if first else None

    async def close(self) -> None:
        """Stop listening, and end connections that haven't said anything yet."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in self._sockets:
            listener.close()
        self._sockets.clear()

    async def abort(self) -> None:
        """End every connection without waiting for the peer's farewell."""
        for transport in list(self._transports):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        # A transport closes its socket on the loop's next turn; below TLS lies another that does so on the one after.
        for _ in range(3):
            await asyncio.sleep(0)


class _Inside(asyncio.Protocol):
    """What is inside TLS before its first byte tells which it is."""

    def __init__(self, factory: Callable[[int], Factory], patience: float) -> None:
        self._factory = factory
        self._patience = patience
        self._transport: asyncio.BaseTransport | None = None
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._watch = asyncio.get_running_loop().call_later(self._patience, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.Transport)  # noqa: S101 - what TLS gives
        if self._watch is not None:
            self._watch.cancel()
        chosen = self._factory(data[0])()
        assert isinstance(chosen, asyncio.Protocol)  # noqa: S101 - both are
        self._transport.set_protocol(chosen)
        chosen.connection_made(self._transport)
        chosen.data_received(data)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
