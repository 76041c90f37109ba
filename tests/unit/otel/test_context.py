"""What is current in a handler: the message's baggage, nothing of another delivery's, and no complaint at its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import polybus
from polybus import App, Binding, Entity
from polybus.binding import Kind
from polybus.embedded.memory import Store
from polybus.otel import OpenTelemetryHooks


def make_binding() -> Binding:
    return Binding(
        backend="memory",
        bus="shop",
        settings={"store": Store()},
        queues={
            name: Entity(kind=Kind.QUEUE, name=name, address=name, dead_letter=f"{name}!dead", max_attempts=1)
            for name in ("jobs", "mails")
        },
    )


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.hooks = OpenTelemetryHooks(self.tracers)

    def named(self, name: str) -> list[trace.Span]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]  # type: ignore[misc]


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_baggage_reaches_the_handler_and_the_next_hop(spans: Spans, kind: str) -> None:
    binding = make_binding()
    app = App(source=binding, hooks=[spans.hooks])
    seen: list[object] = []
    over = asyncio.Event()

    async def forward(body: str) -> None:
        seen.append(dict(baggage.get_all()))
        await app.bus.publish("mails", body)

    def forward_from_a_thread(body: str) -> object:
        seen.append(dict(baggage.get_all()))
        return app.bus.publish("mails", body)

    app.handler("jobs")(forward if kind == "async" else forward_from_a_thread)  # type: ignore[arg-type]

    @app.handler("mails")
    async def mail(body: str, delivery: polybus.Delivery) -> None:
        seen.append((dict(baggage.get_all()), delivery.attributes["baggage"]))
        over.set()

    async with app.running():
        tracer = trace.get_tracer("test", tracer_provider=spans.tracers)
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        with tracer.start_as_current_span("request") as request:
            await app.bus.publish("jobs", "a")
        context.detach(token)
        async with asyncio.timeout(20):
            await over.wait()
    assert seen == [{"tenant": "acme"}, ({"tenant": "acme"}, "tenant=acme")]
    traces = {span.get_span_context().trace_id for span in spans.exporter.get_finished_spans()}
    assert traces == {request.get_span_context().trace_id}


async def test_what_was_current_before_is_so_again_after_the_delivery(spans: Spans) -> None:
    async with polybus.connect(make_binding(), hooks=[spans.hooks]) as bus:
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        await bus.publish("jobs", "a")
        context.detach(token)
        token = context.attach(baggage.set_baggage("worker", "7"))
        async with bus.consume("jobs") as deliveries, await anext(deliveries):
            assert dict(baggage.get_all())["tenant"] == "acme"
        assert dict(baggage.get_all()) == {"worker": "7"}
        context.detach(token)


async def test_a_block_that_another_task_leaves_is_no_error(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    async with polybus.connect(make_binding(), hooks=[spans.hooks]) as bus:
        await bus.publish("jobs", "a")

        async def bodies() -> AsyncIterator[bytes]:
            async with bus.consume("jobs") as deliveries:
                async for delivery in deliveries:
                    async with delivery:
                        yield delivery.body

        generator = bodies()
        assert await anext(generator) == b"a"

        async def close() -> None:
            await generator.aclose()  # type: ignore[attr-defined]

        await asyncio.create_task(close())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert len(spans.named("process jobs")) == 1


async def test_what_a_handler_attaches_and_forgets_is_not_seen_by_the_next(spans: Spans) -> None:
    app = App(source=make_binding(), hooks=[spans.hooks])
    seen: list[dict[str, object]] = []

    @app.handler("jobs", concurrency=1)
    async def work(body: str) -> None:
        seen.append(dict(baggage.get_all()))
        context.attach(baggage.set_baggage("tenant", body))

    async with app.running():
        await app.bus.publish_many("jobs", ["a", "b"])
        async with asyncio.timeout(20):
            while len(seen) < 2:  # noqa: ASYNC110 - the bus's own tasks move, without telling
                await asyncio.sleep(0.001)
    assert seen == [{}, {}]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ExceptionGroup("all", [polybus.Retry("later", after=1)]), StatusCode.UNSET),
        (ExceptionGroup("all", [ExceptionGroup("in", [polybus.DeadLetter("No")]), ValueError("x")]), StatusCode.UNSET),
        (ExceptionGroup("all", [polybus.Retry("later"), ValueError("x")]), StatusCode.ERROR),
        (ExceptionGroup("all", [ValueError("x")]), StatusCode.ERROR),
    ],
)
async def test_signals_in_a_group_are_no_errors(spans: Spans, error: Exception, status: StatusCode) -> None:
    app = App(source=make_binding(), hooks=[spans.hooks])

    @app.handler("jobs")
    async def work(body: str) -> None:
        raise error

    async with app.running():
        await app.bus.publish("jobs", "a")
        async with asyncio.timeout(20):
            while not spans.named("process jobs"):  # noqa: ASYNC110 - the bus's own tasks move, without telling
                await asyncio.sleep(0.001)
    (span,) = spans.named("process jobs")
    assert span.status.status_code is status  # type: ignore[attr-defined]
