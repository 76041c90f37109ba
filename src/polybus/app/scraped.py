"""Answers Prometheus: what the buses of this process did."""

from __future__ import annotations

from polybus.app.http_server import HttpServer, response
from polybus.prometheus import CONTENT_TYPE, PrometheusHooks

__all__ = ["MetricsServer"]


class MetricsServer(HttpServer):
    """Serves `GET /metrics`; port and host are as `HttpServer` takes them."""

    what = "metrics"
    paths = "/metrics"

    def __init__(self, hooks: PrometheusHooks, port: int, *, host: str | None = None) -> None:
        super().__init__(port, host=host)
        self._hooks = hooks

    def find(self, path: bytes) -> bytes:
        if path != b"/metrics":
            return response(404, "Not Found", "there is /metrics")
        return response(200, "OK", self._hooks.text().removesuffix("\n"), content_type=CONTENT_TYPE)
