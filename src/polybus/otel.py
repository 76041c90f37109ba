"""OpenTelemetry for the bus: spans, context and metrics by the messaging conventions.

Spans, each of one message (semantic conventions for messaging spans; their status is still development):

    publish orders      PRODUCER, from the call until the backend has accepted it; its context travels in the message's
                        attributes, by the configured propagator. A context that the message has already is left alone
                        and linked to.
    process billing     CONSUMER, around the handler. Child of the publish span where nothing else is under way, else of
                        the ambient span, as the conventions recommend; linked to the publish span in both cases.
    settle billing      CLIENT, when the backend has answered: a point in time, since settling is batched. Child of the
                        publish span, and linked to it.

Metrics: `messaging.client.sent.messages`, `messaging.client.consumed.messages`, `messaging.client.operation.duration`
(publish), `messaging.process.duration`; and of polybus' own `polybus.delivery.attempts`, `polybus.delivery.duration`
(by outcome, from receipt until settled), `polybus.deliveries.in_flight`, `polybus.consumers.not_taking`
(by the reason), `polybus.leases.extended`, `polybus.leases.lost`.

Their attributes are those of `polybus.measures`. What the configured propagators find in a message, baggage included,
is current in its handler, and goes on with what the handler publishes. Bodies are never recorded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any

from polybus.errors import Fault, MissingExtra, signal_in
from polybus.measures import Instrument, Measures, MeasuringHooks, Record, destination, operation
from polybus.message import Message, Sent
from polybus.telemetry import Hooks, Processing, Publishing, Settled
from polybus.variables import OTEL

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Link, Span, TracerProvider

__all__ = ["OpenTelemetryHooks", "from_environment"]

# Spans whose message was never handed to a publisher (it was refused, or its call cancelled, after the context was
# asked for) end when this many newer ones wait. A publisher has at most 10,000 outstanding by default.
_MOST_BEGUN = 20_000


def from_environment(hooks: Sequence[Hooks]) -> tuple[Hooks, ...]:
    """Return `hooks`, and OpenTelemetry's with them where POLYBUS_OTEL is `1` or `true` and they aren't there yet."""
    wanted = os.environ.get(OTEL, "").lower() in ("1", "true")
    if not wanted or any(isinstance(hook, OpenTelemetryHooks) for hook in hooks):
        return tuple(hooks)
    return (*hooks, OpenTelemetryHooks())


class OpenTelemetryHooks(MeasuringHooks):
    """Tells OpenTelemetry what the bus does: `polybus.connect(hooks=[OpenTelemetryHooks()])`.

    The providers are the global ones where None. Raises MissingExtra where opentelemetry-api isn't installed.
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        try:
            self._trace: Any = import_module("opentelemetry.trace")
            self._context: Any = import_module("opentelemetry.context")
            self._propagate: Any = import_module("opentelemetry.propagate")
            metrics: Any = import_module("opentelemetry.metrics")
        except ModuleNotFoundError as error:
            raise MissingExtra("opentelemetry-api", "otel") from error
        self._tracer = self._trace.get_tracer("polybus", tracer_provider=tracer_provider)
        super().__init__(Measures(_recording(metrics.get_meter("polybus", meter_provider=meter_provider))))
        self._begun: dict[str, Span] = {}

    # Publishing ------------------------------------------------------------------------------------------------------

    def inject(self, event: Publishing) -> Mapping[str, str]:
        """Begin the message's publish span, and return its context as attributes; none where it has a context."""
        links = self._links(self._extracted(event.message))
        name = f"publish {event.target.name}"
        attributes = {**destination(event.backend, event.target), **operation("publish", "send")}
        span = self._tracer.start_span(name, kind=self._trace.SpanKind.PRODUCER, links=links, attributes=attributes)
        self._put_by(event.message.id, span)
        carrier: dict[str, str] = {}
        if not links:
            self._propagate.inject(carrier, context=self._trace.set_span_in_context(span))
        return carrier

    def _put_by(self, message_id: str, span: Span) -> None:
        abandoned = self._begun.pop(message_id, None)
        if abandoned is None and len(self._begun) >= _MOST_BEGUN:
            abandoned = self._begun.pop(next(iter(self._begun)))
        if abandoned is not None:
            self._fail(abandoned, "not_sent", "it was never handed to a publisher")
            abandoned.end()
        self._begun[message_id] = span

    def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
        """Note when it began; what is returned ends the span and counts."""
        span = self._begun.pop(event.message.id, None)
        measured = self._measures.publishing(event)

        def done(outcome: Sent | Fault) -> None:
            result = measured(outcome)
            if span is None:
                return
            if span.is_recording():
                span.set_attributes({**result, **_message(event.message)})
            if isinstance(outcome, Fault):
                self._fail(span, outcome.kind.value, outcome.detail)
            span.end()

        return done

    # Processing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def processing(self, event: Processing) -> Iterator[None]:
        """Run the handler within its process span."""
        with self._measures.processing(event) as attributes:
            told = {**attributes, **_message(event.message), "polybus.attempt": event.attempt}
            span = self._start(f"process {event.source.name}", self._trace.SpanKind.CONSUMER, event.message, told)
            # All that came with the message, baggage too, goes on from here; its span is an ancestor at most.
            carried = self._propagate.extract(event.message.attributes) if event.message.attributes else None
            attached = _Attached(self._context, self._trace.set_span_in_context(span, carried))
            try:
                yield
            except BaseException as error:
                if signal_in(error) is None:
                    if isinstance(error, Exception):
                        span.record_exception(error)
                    self._fail(span, type(error).__qualname__, "")
                raise
            finally:
                attached.detach()
                span.end()

    def settled(self, event: Settled) -> None:
        """Record a settle span and the delivery's duration."""
        attributes = self._measures.settled(event)
        told: dict[str, str | int] = {**attributes, **_message(event.message), "polybus.attempt": event.attempt}
        if event.reason is not None:
            told["polybus.reason"] = event.reason
        kind = self._trace.SpanKind.CLIENT
        span = self._start(f"settle {event.source.name}", kind, event.message, told, ambient=False)
        if event.fault is not None:
            self._fail(span, event.fault.kind.value, event.fault.detail)
        span.end()

    # Spans -----------------------------------------------------------------------------------------------------------

    def _start(
        self, name: str, kind: Any, message: Message, attributes: Mapping[str, str | int], *, ambient: bool = True
    ) -> Span:
        """Start a span that belongs to a message: linked to its publish span, and its child where nothing is ambient.

        Settling runs in whichever task came first, so what is ambient there says nothing (`ambient` False).
        """
        created = self._extracted(message)
        current = self._trace.get_current_span().get_span_context() if ambient else None
        parent = None if current is not None and current.is_valid else created
        links = self._links(created)
        span: Span = self._tracer.start_span(name, context=parent, kind=kind, attributes=attributes, links=links)
        return span

    def _extracted(self, message: Message) -> Context:
        nothing = self._context.Context()
        context: Context = (
            self._propagate.extract(message.attributes, context=nothing) if message.attributes else nothing
        )
        return context

    def _links(self, created: Context) -> list[Link]:
        origin = self._trace.get_current_span(created).get_span_context()
        return [self._trace.Link(origin)] if origin.is_valid else []

    def _fail(self, span: Span, error_type: str, detail: str) -> None:
        span.set_attribute("error.type", error_type)
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, detail or None))


_HERE: ContextVar[object] = ContextVar("polybus_otel_here")


class _Attached:
    """An OpenTelemetry context made current, and taken back without a complaint wherever that is.

    A block that an asynchronous generator holds may be left in another task than it was entered in, and there
    OpenTelemetry's token is no good: `detach` would log an error. A token of our own tells.
    """

    def __init__(self, api: Any, context: Context) -> None:
        self._api = api
        self._own = context
        self._before = api.get_current()
        self._token = api.attach(context)
        self._here = _HERE.set(self)

    def detach(self) -> None:
        """Make current what was so before, unless something else is by now that isn't ours."""
        try:
            _HERE.reset(self._here)
        except ValueError:  # another context, maybe a copy of the one in which it was attached
            if self._api.get_current() is self._own:
                self._api.attach(self._before)
        else:
            self._api.detach(self._token)


def _recording(meter: Meter) -> Callable[[Instrument], Record]:
    """Return what makes OpenTelemetry's instruments."""

    def made(instrument: Instrument) -> Record:
        name, unit, description = instrument.name, instrument.unit, instrument.description
        if instrument.kind == "counter":
            return meter.create_counter(name, unit, description).add
        if instrument.kind == "up_down_counter":
            return meter.create_up_down_counter(name, unit, description).add
        boundaries = instrument.boundaries
        return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=boundaries).record

    return made


def _message(message: Message) -> dict[str, str | int]:
    return {"messaging.message.id": message.id, "messaging.message.body.size": len(message.body)}
