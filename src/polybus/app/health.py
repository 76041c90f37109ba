"""Answers the platform's probes: is it alive, and is it ready."""

from __future__ import annotations

from collections.abc import Callable

from polybus.app.http_server import HttpServer, response

__all__ = ["HealthServer"]


class HealthServer(HttpServer):
    """Serves `GET /live` and `GET /ready`.

    `/live` is 200 while the event loop turns: a loop that is blocked does not answer. `/ready` is 200 while `state`
    returns "ready", else 503; the body is the state in one line. Port and host are as `HttpServer` takes them.
    """

    what = "health"
    paths = "/live and /ready"

    def __init__(self, state: Callable[[], str], port: int, *, host: str | None = None) -> None:
        super().__init__(port, host=host)
        self._state = state

    def find(self, path: bytes) -> bytes:
        match path:
            case b"/live":
                return response(200, "OK", "live")
            case b"/ready":
                state = self._state()
                return response(200, "OK", state) if state == "ready" else response(503, "Service Unavailable", state)
            case _:
                return response(404, "Not Found", "there are /live and /ready")
