"""The smallest HTTP server that a probe or a scraper needs: one short request, one answer."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from polybus.app.listener import Listener
from polybus.errors import ConfigError

__all__ = ["TEXT", "HttpServer", "response"]

_log = logging.getLogger("polybus.app")

# Bytes of a request's head.
_HEAD = 8192

TEXT = "text/plain; charset=utf-8"


class HttpServer(Listener):
    """Serves HTTP/1.1, one request per connection; no body is read. What there is to get, `find` of a subclass says.

    `port` 0 takes a free one; `host` None is every interface, since the platform asks from outside the container.
    Raises ConfigError where the port is taken.
    """

    what = ""
    """What it serves, and the option of `polybus run` that chooses the port."""
    paths = ""

    def __init__(self, port: int, *, host: str | None = None) -> None:
        super().__init__()
        self._wanted = (host, port)

    def find(self, path: bytes) -> bytes:
        """Return the response to a GET of a path."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            return self._wanted[1]
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        host, port = self._wanted
        if not 0 <= port <= 65_535:  # the system's resolver would take it modulo 65,536
            raise ConfigError(f"{self.what} port {port}: a port is 0 to 65,535; choose another with --{self.what}")
        try:
            self._server = await asyncio.start_server(self.serve, host, port, limit=_HEAD)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"{self.what} port {port}: {reason}; choose another with --{self.what}") from None
        where = "every interface" if host is None else host
        _log.info("%s: GET %s on port %d of %s", self.what, self.paths, self.port, where)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.end()

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a request."""
        writer.write(self._answer(await _request_line(reader)))

    def _answer(self, line: list[bytes]) -> bytes:
        if len(line) != 3 or not line[2].startswith(b"HTTP/1."):
            return response(400, "Bad Request", "not an HTTP/1 request")
        method, path, _ = line
        if method not in (b"GET", b"HEAD"):
            return response(405, "Method Not Allowed", "GET or HEAD", "Allow: GET, HEAD\r\n")
        found = self.find(path.partition(b"?")[0])
        return found.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == b"HEAD" else found


async def _request_line(reader: asyncio.StreamReader) -> list[bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return []
    return head.partition(b"\r\n")[0].split(b" ")


def response(status: int, reason: str, text: str, headers: str = "", *, content_type: str = TEXT) -> bytes:
    """Return an answer whose body is a text, which ends with a new line."""
    body = text.encode() + b"\n"
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n{headers}Connection: close\r\n\r\n"
    ).encode() + body
