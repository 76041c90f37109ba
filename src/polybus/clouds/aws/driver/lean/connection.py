"""One connection to SNS or SQS: a request, then its answer, as often as both sides keep it."""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from polybus.clouds.aws.driver.lean.http1 import Answer, Malformed, Reader

__all__ = ["Connection", "Lost", "NoAnswer", "NotConnected", "NotConnectedInTime", "ProxyRefused", "Route", "connect"]

# Seconds after an answer for which nobody asks whether the connection is still open: a busy one costs no system call.
FRESH = 1.0

Resolve = Callable[[str, int], Awaitable[Sequence[Any]]]


class Lost(Exception):
    """The connection ended before the answer was whole; the call may have been done."""


class NoAnswer(Exception):
    """Nothing came for as long as an answer may take."""


class NotConnected(Exception):
    """Nobody took the connection, or its TLS failed; nothing was sent."""


class NotConnectedInTime(NotConnected):
    """Nobody took the connection soon enough."""


class ProxyRefused(NotConnected):
    """The proxy couldn't be reached, or refused to connect to the endpoint."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way to an endpoint.

    `proxy` is its host, port and Proxy-Authorization; plain HTTP goes through it by whole addresses, HTTPS by CONNECT.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: tuple[str, int, str] | None
    connect_timeout: float
    keepalive: bool


class Connection(asyncio.Protocol):
    """An open connection; belongs to the loop that it was made on.

    `freed` is called once for each request: when its answer is there, or the connection is gone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: Any = None
        self._reader: Reader | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._timeout = 0.0
        self.freed: Callable[[Connection], None] = lambda connection: None
        self._since = 0.0
        self.usable = False
        self.generation = 0

    # What asyncio calls --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._reader is None or self._answer is None:
            self.abort()  # it belongs to no request: nothing that comes after it can be trusted
            return
        self._deadline = self._loop.time() + self._timeout
        try:
            answer = self._reader.feed(data)
        except Malformed as error:
            self._end(error)
            return
        if answer is not None:
            self._done(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        answer = None if self._reader is None else self._reader.end()
        if answer is not None:
            self._done(answer)
        else:
            self._end(Lost(str(exc) if exc else "the connection was closed before there was an answer"))

    def is_fresh(self) -> bool:
        """Say whether another request may be sent: not where the other side closed it and the loop hasn't got to that.

        A loop that stood still (a process that was stopped, a function between two invocations) hears of it too late.
        """
        if not self.usable:
            return False
        if self._loop.time() - self._since < FRESH:
            return True
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        if not poll.poll(0):
            return True
        self.abort()
        return False

    # What the pool calls -------------------------------------------------------------------------------------------

    def send(self, request: bytes, timeout: float, *, tunnel: bool = False) -> asyncio.Future[Answer]:
        """Send a request; the answer comes by the future, which fails with Lost, NoAnswer or Malformed.

        Cancelling the future changes nothing: the connection goes on waiting until `abort`. `timeout` is in seconds,
        without anything that comes.
        """
        answer = self._answer = self._loop.create_future()
        self._reader = Reader(tunnel=tunnel)
        self._timeout = timeout
        self._deadline = self._loop.time() + timeout
        if self._timer is None or self._timer.when() > self._deadline:
            self._arm()
        self._transport.write(request)
        return answer

    async def start_tls(self, tls: ssl.SSLContext, host: str, timeout: float) -> None:
        """Go on in TLS, with the server that the proxy connected to."""
        self._transport = await self._loop.start_tls(
            self._transport, self, tls, server_hostname=host, ssl_handshake_timeout=timeout
        )
        if self._transport is None:
            raise Lost("the connection was closed while TLS began")

    def abort(self) -> None:
        """Close it at once; what was waited for fails."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()
        self._end(Lost("the connection was given up"))

    # ---------------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._answer is None:
            return  # the next request arms it anew
        if self._loop.time() < self._deadline:
            self._arm()
        else:
            self._end(NoAnswer(f"no answer for {self._timeout:g} s"))

    def _done(self, answer: Answer) -> None:
        waiting, self._answer, self._reader = self._answer, None, None
        self._since = self._loop.time()
        if not answer.reusable:
            self._close()
        self.freed(self)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _end(self, error: Exception) -> None:
        waiting, self._answer, self._reader = self._answer, None, None
        self._close()
        if waiting is None:
            return
        self.freed(self)
        if not waiting.done():
            waiting.set_exception(error)
            waiting.exception()  # seen, even where nobody waits any more

    def _close(self) -> None:
        self.usable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()


async def connect(route: Route, resolve: Resolve) -> Connection:
    """Return a connection by a route; raise NotConnected."""
    try:
        return await _connect(route, resolve)
    except NotConnected:
        raise
    except TimeoutError as error:
        raise NotConnectedInTime(f"no connection within {route.connect_timeout:g} s") from error
    except (OSError, Lost, NoAnswer, Malformed) as error:  # errors of TLS are OSErrors
        kind = ProxyRefused if route.proxy is not None and not isinstance(error, ssl.SSLError) else NotConnected
        raise kind(f"{type(error).__name__}: {error}") from error


async def _connect(route: Route, resolve: Resolve) -> Connection:
    loop = asyncio.get_running_loop()
    host, port = (route.host, route.port) if route.proxy is None else route.proxy[:2]
    opened = await _open_socket(host, port, route, resolve)
    options: dict[str, Any] = {}
    if route.tls is not None and route.proxy is None:
        options = {"ssl": route.tls, "server_hostname": host, "ssl_handshake_timeout": route.connect_timeout}
    try:
        _, connection = await loop.create_connection(lambda: Connection(loop), sock=opened, **options)
    except BaseException:
        opened.close()
        raise
    if route.tls is not None and route.proxy is not None:
        try:
            await _tunnel(connection, route, route.tls, route.proxy[2])
        except BaseException:
            connection.abort()
            raise
    return connection


async def _tunnel(connection: Connection, route: Route, tls: ssl.SSLContext, authorization: str) -> None:
    host = f"[{route.host}]" if ":" in route.host else route.host
    lines = [f"CONNECT {host}:{route.port} HTTP/1.1", f"Host: {host}:{route.port}"]
    if authorization:
        lines.append(f"Proxy-Authorization: {authorization}")
    request = "\r\n".join([*lines, "", ""]).encode()
    answer = await connection.send(request, route.connect_timeout, tunnel=True)
    if not 200 <= answer.status < 300:
        raise ProxyRefused(f"the proxy answered {answer.status}")
    await connection.start_tls(tls, route.host, route.connect_timeout)


async def _open_socket(host: str, port: int, route: Route, resolve: Resolve) -> socket.socket:
    failed: BaseException = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await _addresses(host, port, resolve):
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setblocking(False)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if route.keepalive:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            async with asyncio.timeout(route.connect_timeout):
                await asyncio.get_running_loop().sock_connect(opened, address)
        except (OSError, TimeoutError) as error:
            opened.close()
            failed = error
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    raise failed


async def _addresses(host: str, port: int, resolve: Resolve) -> Sequence[Any]:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return await resolve(host, port)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
