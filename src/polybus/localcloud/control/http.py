"""The control face over HTTP, on a loopback port of its own, for who has the token."""

from __future__ import annotations

import hmac
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from polybus.localcloud.control.desk import Desk, Station
from polybus.localcloud.control.steering import Refused
from polybus.localcloud.server import LOOPBACK

__all__ = ["ROUTES", "ControlServer", "page"]

log = logging.getLogger(__name__)

MOST_BYTES = 16 * 1024 * 1024
ROUTES: dict[tuple[str, str], Callable[[Station, Any], Any]] = {
    ("GET", "entities"): Station.entities,
    ("GET", "messages"): Station.messages,
    ("POST", "messages"): Station.publish,
    ("GET", "events"): Station.events,
    ("POST", "redrive"): Station.redrive,
    ("POST", "faults"): Station.plan,
    ("DELETE", "faults"): Station.clear,
    ("DELETE", "connections"): Station.cut,
    ("GET", "clock"): Station.clock,
    ("POST", "clock"): Station.clock,
    ("GET", "snapshots"): Station.snapshots,
    ("POST", "snapshots"): Station.snapshot,
    ("DELETE", "snapshots"): Station.forget,
    ("POST", "restore"): Station.restore,
}


class ControlServer:
    """Serves a desk's stations under /v1/CLOUD/..., as JSON; `page` is what it shows to a browser at /."""

    def __init__(self, desk: Desk, token: str, *, host: str = LOOPBACK, port: int = 0, page: str | None = None) -> None:
        self._desk = desk
        self._token = token
        self._page = page
        self._runner: web.ServerRunner | None = None
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        """Where it is; only once it is started."""
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen; raise OSError where the port is taken."""
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError:
            await self.stop()
            raise
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End every connection and free the port; may be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._page is not None and request.method == "GET" and request.path == "/":
            return web.Response(text=self._page, content_type="text/html", headers=_PAGE_HEADERS)
        try:
            return web.json_response(await self._answer(request))
        except _Status as error:
            return web.json_response({"error": str(error)}, status=error.status)
        except Refused as error:
            return web.json_response({"error": str(error)}, status=400)
        except Exception:
            log.exception("the control face failed on %s %s", request.method, request.path)
            return web.json_response({"error": "the server failed; its log has the reason"}, status=500)

    async def _answer(self, request: web.BaseRequest) -> Any:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise _Status(401, "say who you are: Authorization: Bearer TOKEN")
        parts = request.path.strip("/").split("/")
        if parts[0] != "v1" or len(parts) not in (1, 3):
            raise _Status(404, "there are /v1 and /v1/CLOUD/...")
        if len(parts) == 1:
            return {"clouds": sorted(self._desk.stations)}
        station = self._desk.stations.get(parts[1])
        if station is None:
            raise _Status(404, f"no local {parts[1][:40]} runs here, only {', '.join(sorted(self._desk.stations))}")
        method = ROUTES.get((request.method, parts[2]))
        if method is None:
            known = ", ".join(f"{verb} {name}" for verb, name in ROUTES)
            raise _Status(404, f"there are {known}")
        answer: Awaitable[Any] | Any = method(station, await _asked(request))
        return await answer if inspect.isawaitable(answer) else answer


def page() -> str:
    """Return the page that shows the servers to a browser, as HTML; it takes the token from its address, behind #."""
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8")


class _Status(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


async def _asked(request: web.BaseRequest) -> dict[str, Any]:
    """Return the fields of a request: those of its query, and of the JSON object that is its body."""
    asked: dict[str, Any] = dict(request.query)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _Status(413, f"a request has at most {MOST_BYTES} bytes")
    if not body:
        return asked
    try:
        found = json.loads(bytes(body))
        json.dumps(found, ensure_ascii=False).encode()  # or there are halves of characters in it
    except (ValueError, RecursionError):
        raise Refused("the body is no JSON") from None
    if not isinstance(found, dict):
        raise Refused("the body is no JSON object")
    return asked | found


_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
