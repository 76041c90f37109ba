"""OpenTelemetry's spans, context and metrics, over the real bus and the SDK's exporters in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import polybus
from polybus import Binding, Entity, Fault, FaultKind, ManualClock, Message, otel, sync
from polybus.binding import Kind
from polybus.embedded.memory import MemoryDriver, Store
from polybus.installed import requirement
from polybus.otel import OpenTelemetryHooks
from polybus.telemetry import Publishing

SECRET = "4111111111111111"
TOPIC = Entity(kind=Kind.TOPIC, name="orders", address="t")


def make_binding() -> Binding:
    return Binding(
        backend="memory",
        bus="shop",
        settings={"store": Store()},
        topics={"orders": TOPIC},
        subscriptions={
            "billing": Entity(
                kind=Kind.SUBSCRIPTION, name="billing", address="s", topic="orders", dead_letter="d", max_attempts=2
            )
        },
    )


class Telemetry:
    """Providers that keep what they get."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])
        self.hooks = OpenTelemetryHooks(self.tracers, self.meters)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._spans.get_finished_spans() if span.name == name]

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.tracers.shutdown()
    telemetry.meters.shutdown()


async def handle_all(bus: polybus.Bus, count: int, error: BaseException | None = None) -> None:
    async with bus.consume("billing") as deliveries:
        for _ in range(count):
            delivery = await anext(deliveries)
            try:
                async with delivery:
                    if error is not None:
                        raise error
            except OSError:
                continue


async def test_a_message_is_one_trace_from_publish_to_settle(telemetry: Telemetry) -> None:
    async with polybus.connect(make_binding(), hooks=[telemetry.hooks]) as bus:
        with telemetry.tracers.get_tracer("test").start_as_current_span("checkout") as caller:
            identity = await bus.publish("orders", SECRET)
        await handle_all(bus, 1)
    (publish,), (process,), (settle,) = (
        telemetry.spans(f"{x}") for x in ("publish orders", "process billing", "settle billing")
    )
    trace_id = caller.get_span_context().trace_id
    assert {span.context.trace_id for span in (publish, process, settle)} == {trace_id}
    assert publish.parent.span_id == caller.get_span_context().span_id
    for span in (process, settle):
        assert span.parent.span_id == publish.context.span_id
        assert [link.context.span_id for link in span.links] == [publish.context.span_id]
    assert (publish.kind, process.kind, settle.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CLIENT)
    common = {
        "messaging.system": "polybus_memory",
        "messaging.destination.name": "orders",
        "messaging.message.id": identity,
        "messaging.message.body.size": len(SECRET),
    }
    subscription = {"messaging.destination.subscription.name": "billing", "polybus.attempt": 1}
    assert dict(publish.attributes) == common | {
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
    }
    assert dict(process.attributes) == common | subscription | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
    }
    assert dict(settle.attributes) == common | subscription | {
        "messaging.operation.name": "ack",
        "messaging.operation.type": "settle",
    }
    assert SECRET not in "".join(span.to_json() for span in (publish, process, settle))


async def test_the_context_travels_in_the_attributes_and_the_handler_runs_in_it(telemetry: Telemetry) -> None:
    async with polybus.connect(make_binding(), hooks=[telemetry.hooks]) as bus:
        await bus.publish("orders", b"", attributes={"region": "eu"})
        async with bus.consume("billing") as deliveries:
            async with await anext(deliveries) as delivery:
                within = trace.get_current_span().get_span_context()
            assert not trace.get_current_span().get_span_context().is_valid
    (publish,), (process,) = telemetry.spans("publish orders"), telemetry.spans("process billing")
    assert delivery.attributes["region"] == "eu"
    assert delivery.attributes["traceparent"].split("-")[1:3] == [
        f"{publish.context.trace_id:032x}",
        f"{publish.context.span_id:016x}",
    ]
    assert within.span_id == process.context.span_id


async def test_a_context_that_a_message_has_is_kept_and_linked(telemetry: Telemetry) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with polybus.connect(make_binding(), hooks=[telemetry.hooks]) as bus:
        await bus.publish("orders", Message(b"", {"traceparent": parent}))
        async with bus.consume("billing") as deliveries, await anext(deliveries) as delivery:
            assert delivery.attributes["traceparent"] == parent
    (publish,), (process,) = telemetry.spans("publish orders"), telemetry.spans("process billing")
    assert [link.context.span_id for link in publish.links] == [0xB7AD6B7169203331]
    assert process.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C


async def test_within_another_span_processing_is_its_child_and_linked(telemetry: Telemetry) -> None:
    async with polybus.connect(make_binding(), hooks=[telemetry.hooks]) as bus:
        await bus.publish("orders", b"")
        with telemetry.tracers.get_tracer("test").start_as_current_span("request") as request:
            await handle_all(bus, 1)
    (publish,), (process,) = telemetry.spans("publish orders"), telemetry.spans("process billing")
    assert process.parent.span_id == request.get_span_context().span_id
    assert [link.context.span_id for link in process.links] == [publish.context.span_id]


async def test_a_foreign_message_begins_a_trace_of_its_own(telemetry: Telemetry) -> None:
    binding = make_binding()
    async with polybus.connect(binding) as foreign:
        await foreign.publish("orders", b"")
    async with polybus.connect(binding, hooks=[telemetry.hooks]) as bus:
        await handle_all(bus, 1)
    (process,) = telemetry.spans("process billing")
    assert process.parent is None
    assert process.links == ()


async def test_failures_are_told_by_kind(telemetry: Telemetry) -> None:
    clock = ManualClock()
    async with polybus.connect(make_binding(), hooks=[telemetry.hooks], clock=clock) as bus:
        with pytest.raises(polybus.PublishFailed):
            await bus.publish("orders", b"x" * 11_000_000)
        await bus.publish("orders", b"")
        async with bus.consume("billing") as deliveries:
            with pytest.raises(OSError, match="broken"):
                async with await anext(deliveries):
                    raise OSError("broken")
            await clock.advance(3600)
            async with await anext(deliveries):
                raise polybus.DeadLetter("Hopeless")
    failed, sent = telemetry.spans("publish orders")
    assert failed.attributes["error.type"] == "too_large"
    assert (failed.status.status_code, sent.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    first, second = telemetry.spans("process billing")
    assert (first.attributes["error.type"], first.status.status_code) == ("OSError", StatusCode.ERROR)
    assert [event.name for event in first.events] == ["exception"]
    assert (second.attributes.get("error.type"), second.status.status_code) == (None, StatusCode.UNSET)
    settled = [
        (s.attributes["messaging.operation.name"], s.attributes.get("polybus.reason"))
        for s in telemetry.spans("settle billing")
    ]
    assert settled == [("nack", None), ("dead_letter", "Hopeless")]


async def test_metrics(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    async with polybus.connect(make_binding(), hooks=[telemetry.hooks]) as bus:
        await bus.publish_many("orders", ["a", "b", "c"])
        async with bus.consume("billing") as deliveries:
            first = await anext(deliveries)
            (held,) = telemetry.points("polybus.deliveries.in_flight")
            assert held.value == 3
            assert dict(held.attributes)["messaging.destination.subscription.name"] == "billing"
            for delivery in (first, await anext(deliveries), await anext(deliveries)):
                async with delivery:
                    pass
    (sent,) = telemetry.points("messaging.client.sent.messages")
    assert sent.value == 3
    assert dict(sent.attributes) == {
        "messaging.system": "polybus_memory",
        "messaging.destination.name": "orders",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
    }
    for name in ("messaging.client.operation.duration", "messaging.process.duration", "polybus.delivery.duration"):
        (point,) = telemetry.points(name)
        assert point.count == 3
        assert point.explicit_bounds[0] == 0.005
    assert [point.value for point in telemetry.points("messaging.client.consumed.messages")] == [3]
    (attempts,) = telemetry.points("polybus.delivery.attempts")
    assert (attempts.sum, attempts.count) == (3, 3)
    assert [point.value for point in telemetry.points("polybus.deliveries.in_flight")] == [0]


async def test_leases_are_counted(telemetry: Telemetry) -> None:
    clock = ManualClock()
    async with polybus.connect(make_binding(), hooks=[telemetry.hooks], clock=clock) as bus:
        await bus.publish("orders", "x")
        async with bus.consume("billing", max_lease=100, grace=0) as deliveries:
            await anext(deliveries)
            await clock.advance(99)
            (extended,) = telemetry.points("polybus.leases.extended")
            assert extended.value >= 1
            assert telemetry.points("polybus.leases.lost") == []
            await clock.advance(2)
            (lost,) = telemetry.points("polybus.leases.lost")
            assert lost.value >= 1


async def test_a_failed_settlement_is_told(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    open_consumer: Any = MemoryDriver.open_consumer

    async def refusing(self: MemoryDriver, source: Entity, **options: int) -> Any:
        consumer = await open_consumer(self, source, **options)

        async def refuse(settlements: list[Any]) -> list[Fault]:
            return [Fault(FaultKind.DENIED, "no right to settle")] * len(settlements)

        monkeypatch.setattr(consumer, "settle_batch", refuse)
        return consumer

    monkeypatch.setattr(MemoryDriver, "open_consumer", refusing)
    async with polybus.connect(make_binding(), hooks=[telemetry.hooks]) as bus:
        await bus.publish("orders", "x")
        async with bus.consume("billing", grace=0) as deliveries:
            delivery = await anext(deliveries)
            with pytest.raises(polybus.BackendError):
                await delivery.ack()
    (settle,) = telemetry.spans("settle billing")
    assert (settle.attributes["error.type"], settle.status.status_code) == ("denied", StatusCode.ERROR)
    assert settle.status.description == "no right to settle"


def test_the_blocking_bus_carries_the_context_into_its_block(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    binding = make_binding()
    with sync.connect(binding, hooks=[telemetry.hooks]) as bus:
        with telemetry.tracers.get_tracer("test").start_as_current_span("checkout") as caller:
            bus.publish("orders", "x")
        with bus.consume("billing") as deliveries, next(deliveries):
            within = trace.get_current_span().get_span_context()
        assert not trace.get_current_span().get_span_context().is_valid
    (process,) = telemetry.spans("process billing")
    assert within.span_id == process.context.span_id
    assert within.trace_id == caller.get_span_context().trace_id
    assert "Failed to detach context" not in caplog.text


def test_spans_of_messages_that_are_never_sent_end(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "_MOST_BEGUN", 2)
    for identity in ("1", "1", "2", "3"):
        assert "traceparent" in telemetry.hooks.inject(Publishing("memory", TOPIC, Message(b"", id=identity)))
    ended = telemetry.spans("publish orders")
    assert [span.attributes["error.type"] for span in ended] == ["not_sent", "not_sent"]
    telemetry.hooks.publishing(Publishing("memory", TOPIC, Message(b"", id="3")))(polybus.Sent("3"))
    assert len(telemetry.spans("publish orders")) == 3


@pytest.mark.parametrize(
    ("backend", "kind", "system"),
    [
        ("aws", Kind.TOPIC, "aws.sns"),
        ("aws", Kind.QUEUE, "aws_sqs"),
        ("azure", Kind.TOPIC, "servicebus"),
        ("gcp", Kind.TOPIC, "gcp_pubsub"),
        ("sqlite", Kind.QUEUE, "polybus_sqlite"),
    ],
)
def test_the_system_is_named_as_the_conventions_do(telemetry: Telemetry, backend: str, kind: Kind, system: str) -> None:
    target = Entity(kind=kind, name="orders", address="a")
    telemetry.hooks.publishing(Publishing(backend, target, Message(b"", id="1")))(polybus.Sent("1"))
    (point,) = telemetry.points("messaging.client.sent.messages")
    assert point.attributes["messaging.system"] == system


def test_the_environment_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYBUS_OTEL", raising=False)
    assert otel.from_environment(()) == ()
    monkeypatch.setenv("POLYBUS_OTEL", "1")
    (hooks,) = otel.from_environment(())
    assert isinstance(hooks, OpenTelemetryHooks)
    assert otel.from_environment((hooks,)) == (hooks,)


def test_without_the_package_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['opentelemetry.trace'] = None\n"
        "import polybus, polybus.otel\n"
        "try: polybus.otel.OpenTelemetryHooks()\n"
        "except polybus.MissingExtra as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"opentelemetry-api is not installed: pip install {requirement('otel')}\n"


def test_the_application_framework_does_not_load_it() -> None:
    script = "import sys, polybus.app, polybus.sync; print(sorted(m for m in sys.modules if 'opentelemetry' in m))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
