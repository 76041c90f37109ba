"""`polybus run --otel`: providers as the environment says, or a warning."""

from __future__ import annotations

import http.server
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from polybus.cli import exporting
from polybus.installed import requirement

SERVICE = """\
import polybus

app = polybus.App(service="worker")

@app.handler("jobs")
async def work(body: str) -> None:
    pass
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.INFO)


@pytest.fixture
def collector() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A collector's HTTP side: its address, and the last body that came to each path."""
    came: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", came
        server.shutdown()
        thread.join()


def handle_one(shop, spawn: Callable, environment: dict[str, str]) -> tuple[str, str]:
    shop.topology.write_text(shop.topology.read_text() + '[services.worker]\nconsumes = ["jobs"]\n')
    (shop.folder / "service.py").write_text(SERVICE + '    print("worked", flush=True)\n')
    process = spawn("run", "service:app", "--otel", cwd=shop.folder, environment=environment)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out, err


def test_without_a_word_all_goes_to_the_collector_over_http(shop, spawn: Callable, collector) -> None:
    address, came = collector
    _, err = handle_one(shop, spawn, {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "no_proxy": "127.0.0.1"})
    assert "traces by OTLP (http/protobuf), metrics by OTLP (http/protobuf), as service 'worker'" in err
    assert b"process jobs" in came["/v1/traces"]
    assert b"messaging.process.duration" in came["/v1/metrics"]
    assert all(b"service.name" in body and b"worker" in body for body in came.values())


def test_the_environment_chooses_the_exporter_and_the_name(shop, spawn: Callable) -> None:
    environment = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_SERVICE_NAME": "other"}
    out, err = handle_one(shop, spawn, environment)
    assert "OpenTelemetry: traces by console, as service 'other'" in err
    spans = [json.loads(text + "}") for text in out.split("\n}\n") if text.strip()]
    assert {"process jobs", "settle jobs"} <= {span["name"] for span in spans}
    assert {span["resource"]["attributes"]["service.name"] for span in spans} == {"other"}


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED is set"),
        (
            {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
            "OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER are `none`",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "nosuch", "OTEL_METRICS_EXPORTER": "none"},
            "no traces are sent by 'nosuch', which is not installed",
        ),
    ],
)
def test_one_warning_where_nothing_is_sent(
    environment: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    exporting.export(["worker"])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert says in record.getMessage()


def test_one_warning_where_only_the_api_is_installed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name.endswith(".sdk") else True)
    exporting.export(["worker"])
    (record,) = caplog.records
    assert f"nothing is sent: its SDK is not installed: pip install {requirement('otel')}" in record.getMessage()


@pytest.mark.parametrize(
    ("environment", "services", "name"),
    [
        ({}, ["a", "b"], "a+b"),
        ({}, [], "polybus"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "x=1, service.name=mine"}, ["a"], "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine", "OTEL_SERVICE_NAME": "first"}, ["a"], "first"),
    ],
)
def test_the_services_name(
    environment: dict[str, str], services: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert exporting._service_name(services) == name


def test_what_an_app_has_set_up_is_left_alone(shop, spawn: Callable) -> None:
    """Its other signal too: whoever sets up traces alone may not have a collector for metrics."""
    (shop.folder / "service.py").write_text(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "trace.set_tracer_provider(TracerProvider())\n"
        "import polybus\n"
        "app = polybus.App()\n"
        "@app.handler('jobs')\n"
        "async def work(body: str) -> None:\n"
        "    print('worked', flush=True)\n"
    )
    process = spawn("run", "service:app", "--otel", cwd=shop.folder)
    shop.publish("jobs", "a")
    assert process.stdout.readline() == "worked\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "OpenTelemetry" not in err
