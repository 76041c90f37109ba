"""The names of what is measured, held to the conventions' own package; and the same for Prometheus."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.distro import DefaultDistro
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv._incubating.metrics import messaging_metrics
from opentelemetry.semconv.attributes import error_attributes
from tests.clouds import CLOUDS
from tests.unit.app.test_health import ask, get
from tests.unit.otel.test_otel import Telemetry, make_binding

import polybus
from polybus import telemetry as telling
from polybus.app.scraped import MetricsServer
from polybus.binding import Entity, Kind
from polybus.instrumentor import PolybusInstrumentor
from polybus.measures import INSTRUMENTS, Instrument, destination, operation
from polybus.prometheus import CONTENT_TYPE, PrometheusHooks, name_of

ROOT = Path(__file__).parents[3]
CONVENTIONAL = [one for one in INSTRUMENTS if one.name.startswith("messaging.")]


class _Meter:
    """Takes down what the conventions' package makes of it."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, str]] = {}

    def __getattr__(self, method: str) -> Any:
        def make(name: str, description: str, unit: str, **more: Any) -> None:
            self.made[name] = (method.removeprefix("create_"), unit)

        return make


@pytest.mark.parametrize("instrument", CONVENTIONAL, ids=lambda one: one.name)
def test_a_metric_is_as_the_conventions_have_it(instrument: Instrument) -> None:
    meter = _Meter()
    getattr(messaging_metrics, f"create_{instrument.name.replace('.', '_')}")(meter)
    assert meter.made == {instrument.name: (instrument.kind, instrument.unit)}


def test_what_the_conventions_do_not_have_is_named_ours() -> None:
    assert {one.name.partition(".")[0] for one in INSTRUMENTS if one not in CONVENTIONAL} == {"polybus"}


def test_attributes_are_as_the_conventions_have_them() -> None:
    known = {getattr(messaging_attributes, name) for name in dir(messaging_attributes) if name.startswith("MESSAGING_")}
    source = (ROOT / "src/polybus/measures.py").read_text() + (ROOT / "src/polybus/otel.py").read_text()
    named = set(re.findall(r'"(messaging\.[a-z_.]+)"', source)) - {one.name for one in INSTRUMENTS}
    assert len(named) >= 6
    assert named <= known
    assert error_attributes.ERROR_TYPE == "error.type"


def test_values_are_as_the_conventions_have_them() -> None:
    systems = {one.value for one in messaging_attributes.MessagingSystemValues}
    types = {one.value for one in messaging_attributes.MessagingOperationTypeValues}
    for cloud in CLOUDS:
        for kind in Kind:
            entity = Entity(kind=kind, name="a", address="a")
            assert destination(cloud, entity)["messaging.system"] in systems
    assert {operation("x", kind)["messaging.operation.type"] for kind in ("send", "process", "settle")} <= types


# Prometheus ----------------------------------------------------------------------------------------------------------

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)')


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read the text format strictly; each family's lines come after its HELP and TYPE."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    family = ""
    assert text.endswith("\n") or not text
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == family
        else:
            matched = LINE.fullmatch(line)
            assert matched is not None, line
            assert matched[1].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") == family
            labels = frozenset(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', matched[2] or ""))
            assert (matched[1], labels) not in found
            found[matched[1], labels] = float(matched[3])
    return found


def total(text: str, name: str, **labels: str) -> float:
    return sum(
        value for (found, given), value in samples(text).items() if found == name and labels.items() <= set(given)
    )


async def test_prometheus_has_what_opentelemetry_has() -> None:
    told, hooks = Telemetry(), PrometheusHooks(["billing"])
    async with polybus.connect(make_binding(), hooks=[told.hooks, hooks]) as bus:
        await bus.publish_many("orders", ["a", "b", "c"])
        async with bus.consume("billing") as deliveries:
            first = await anext(deliveries)
            assert total(hooks.text(), "polybus_deliveries_in_flight") == 3
            for delivery in (first, await anext(deliveries), await anext(deliveries)):
                async with delivery:
                    pass
    text = hooks.text()
    assert total(text, "messaging_client_sent_messages_total", messaging_destination_name="orders") == 3
    assert total(text, "messaging_client_consumed_messages_total", messaging_operation_type="process") == 3
    assert total(text, "messaging_process_duration_seconds_count") == 3
    assert total(text, "messaging_process_duration_seconds_bucket", le="+Inf") == 3
    assert total(text, "polybus_delivery_attempts_bucket", le="1") == 3
    assert total(text, "polybus_delivery_attempts_sum") == 3
    assert total(text, "polybus_deliveries_in_flight") == 0
    assert total(text, "target_info", service_name="billing") == 1
    for instrument in INSTRUMENTS:
        for point in told.points(instrument.name):
            name = name_of(instrument) + ("_sum" if instrument.kind == "histogram" else "")
            labels = {key.replace(".", "_"): value for key, value in dict(point.attributes).items()}
            value = point.sum if instrument.kind == "histogram" else point.value
            exact = instrument.unit != "s"  # the two are told one after the other
            assert total(text, name, **labels) == (value if exact else pytest.approx(value, abs=1))


@pytest.mark.parametrize(
    ("kind", "name", "unit", "expected"),
    [
        ("counter", "a.b", "{x}", "a_b_total"),
        ("histogram", "a.b", "s", "a_b_seconds"),
        ("histogram", "a.b", "{x}", "a_b"),
        ("up_down_counter", "a.b_c", "{x}", "a_b_c"),
    ],
)
def test_names_are_translated_as_the_specification_says(kind: Any, name: str, unit: str, expected: str) -> None:
    assert name_of(Instrument(kind, name, unit, "")) == expected


def test_a_value_on_a_boundary_is_in_the_bucket_that_it_ends_and_buckets_add_up() -> None:
    hooks = PrometheusHooks()
    record = hooks._recorded(next(one for one in INSTRUMENTS if one.name == "polybus.delivery.attempts"))
    for attempt in (1, 2, 2, 4, 21):
        record(attempt, {"q": "a"})
    counts = {
        dict(labels).get("le"): value for (name, labels), value in samples(hooks.text()).items() if "bucket" in name
    }
    assert counts == {"1": 1, "2": 3, "3": 3, "5": 4, "10": 4, "20": 4, "+Inf": 5}


def test_labels_are_escaped() -> None:
    hooks = PrometheusHooks()
    hooks._recorded(INSTRUMENTS[0])(1, {"error.type": 'a"b\\c\nd'})
    assert 'error_type="a\\"b\\\\c\\nd"' in hooks.text()
    assert len(hooks.text().splitlines()) == 3


def test_nothing_that_never_happened_is_listed() -> None:
    assert PrometheusHooks().text() == ""


async def test_the_server_answers_in_the_text_format() -> None:
    hooks = PrometheusHooks(["billing"])
    async with MetricsServer(hooks, 0, host="127.0.0.1") as server:
        answer = (await ask(server.port, get("/metrics"))).decode()
        other = await ask(server.port, get("/"))
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Content-Type: {CONTENT_TYPE}\r\n" in head
    assert f"Content-Length: {len(body)}\r\n" in head
    assert body == hooks.text()
    assert other.startswith(b"HTTP/1.1 404 ")


# opentelemetry-instrument --------------------------------------------------------------------------------------------


@pytest.fixture
def clean() -> Iterator[None]:
    yield
    PolybusInstrumentor().uninstrument()
    assert telling.everywhere() == ()


def _registered() -> Mapping[str, str]:
    points: Mapping[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
        "opentelemetry_instrumentor"
    ]
    return points


async def test_the_instrumentor_that_is_registered_tells_of_every_bus(clean: None) -> None:
    [(name, value)] = _registered().items()
    told = Telemetry()
    point = EntryPoint(name, value, "opentelemetry_instrumentor")
    # What opentelemetry-instrument does with each entry point, with providers of the test's own.
    DefaultDistro().load_instrumentor(point, tracer_provider=told.tracers, meter_provider=told.meters)
    async with polybus.connect(make_binding()) as bus:
        await bus.publish("orders", "a")
    assert [span.name for span in told.spans("publish orders")] == ["publish orders"]
    [sent] = told.points("messaging.client.sent.messages")
    assert sent.value == 1


async def test_it_is_told_once_whatever_asks_for_it(clean: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Telemetry()
    for _ in range(2):
        PolybusInstrumentor().instrument(tracer_provider=told.tracers, meter_provider=told.meters)
    monkeypatch.setenv("POLYBUS_OTEL", "1")
    async with polybus.connect(make_binding()) as bus:
        await bus.publish("orders", "a")
    assert len(told.spans("publish orders")) == 1
    assert PolybusInstrumentor().is_instrumented_by_opentelemetry
    PolybusInstrumentor().uninstrument()
    assert not PolybusInstrumentor().is_instrumented_by_opentelemetry
    monkeypatch.delenv("POLYBUS_OTEL")
    async with polybus.connect(make_binding()) as bus:
        await bus.publish("orders", "b")
    assert len(told.spans("publish orders")) == 1


def test_nothing_of_opentelemetry_is_needed_for_prometheus() -> None:
    source = (ROOT / "src/polybus/prometheus.py").read_text() + (ROOT / "src/polybus/measures.py").read_text()
    assert "import opentelemetry" not in source
    assert import_module("polybus.prometheus").__all__
