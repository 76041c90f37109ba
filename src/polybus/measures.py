"""What the bus measures of itself, by the messaging conventions of OpenTelemetry: the same whoever is told.

`messaging.destination.name` is the topic or queue by its name in the topology, and the subscription is
`messaging.destination.subscription.name`. `error.type` is the kind of a Fault, or the class of what a handler raised;
Retry and DeadLetter, also within an exception group, are signals and no errors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from polybus.binding import Entity, Kind
from polybus.errors import Fault, signal_in
from polybus.message import Sent
from polybus.registry import find
from polybus.telemetry import LeaseExtended, LeaseLostEvent, NoHooks, Processing, Publishing, Settled

__all__ = ["INSTRUMENTS", "Instrument", "Measures", "MeasuringHooks", "Record", "destination", "names", "operation"]

# Seconds; the boundaries that the conventions advise for both durations (messaging-metrics).
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_ATTEMPTS = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0)


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric; `unit` is UCUM's, in braces where it counts things. `boundaries` are those of a histogram."""

    kind: Literal["counter", "up_down_counter", "histogram"]
    name: str
    unit: str
    description: str
    boundaries: tuple[float, ...] = ()


SENT = Instrument("counter", "messaging.client.sent.messages", "{message}", "Messages that were sent to the backend.")
CONSUMED = Instrument(
    "counter", "messaging.client.consumed.messages", "{message}", "Messages that were delivered to a handler."
)
OPERATION_DURATION = Instrument(
    "histogram",
    "messaging.client.operation.duration",
    "s",
    "From the call to publish until the backend has answered.",
    _SECONDS,
)
PROCESS_DURATION = Instrument("histogram", "messaging.process.duration", "s", "How long handlers ran.", _SECONDS)
DELIVERY_DURATION = Instrument(
    "histogram", "polybus.delivery.duration", "s", "From the receipt of a delivery until it was settled.", _SECONDS
)
ATTEMPTS = Instrument(
    "histogram", "polybus.delivery.attempts", "{attempt}", "The attempt at which messages were handled.", _ATTEMPTS
)
IN_FLIGHT = Instrument("up_down_counter", "polybus.deliveries.in_flight", "{delivery}", "Deliveries that are held.")
NOT_TAKING = Instrument(
    "up_down_counter",
    "polybus.consumers.not_taking",
    "{consumer}",
    "Consumers that take nothing, by `polybus.reason`: room, key, priority, limit, breaker, pause, threads, stuck.",
)
EXTENDED = Instrument("counter", "polybus.leases.extended", "{lease}", "Leases that were extended.")
LOST = Instrument("counter", "polybus.leases.lost", "{lease}", "Deliveries whose lease ended before they were settled.")

INSTRUMENTS = (
    SENT,
    CONSUMED,
    OPERATION_DURATION,
    PROCESS_DURATION,
    DELIVERY_DURATION,
    ATTEMPTS,
    IN_FLIGHT,
    NOT_TAKING,
    EXTENDED,
    LOST,
)

Record: TypeAlias = Callable[[float, Mapping[str, str]], None]
"""Adds to a counter, or records a value of a histogram, with attributes."""


class Measures:
    """Measures the events that hooks get; `made` gives what records an instrument.

    Each call returns, or yields, the attributes that it recorded with, for spans of the same event.
    """

    def __init__(self, made: Callable[[Instrument], Record]) -> None:
        self._sent = made(SENT)
        self._consumed = made(CONSUMED)
        self._operation_duration = made(OPERATION_DURATION)
        self._process_duration = made(PROCESS_DURATION)
        self._delivery_duration = made(DELIVERY_DURATION)
        self._attempts = made(ATTEMPTS)
        self._in_flight = made(IN_FLIGHT)
        self._not_taking = made(NOT_TAKING)
        self._extended = made(EXTENDED)
        self._lost = made(LOST)

    def publishing(self, event: Publishing) -> Callable[[Sent | Fault], dict[str, str]]:
        """Note when it began; what is returned is called with the outcome, and counts."""
        began = time.perf_counter()
        attributes = {**destination(event.backend, event.target), **operation("publish", "send")}

        def done(outcome: Sent | Fault) -> dict[str, str]:
            result = attributes
            if isinstance(outcome, Fault):
                result = {**attributes, "error.type": outcome.kind.value}
            self._sent(1, result)
            self._operation_duration(time.perf_counter() - began, result)
            return result

        return done

    @contextmanager
    def processing(self, event: Processing) -> Iterator[dict[str, str]]:
        """Measure the block, which is the handler's."""
        attributes = {**destination(event.backend, event.source), **operation("process", "process")}
        self._consumed(1, attributes)
        self._attempts(event.attempt, attributes)
        began, result = time.perf_counter(), attributes
        try:
            yield attributes
        except BaseException as error:
            if signal_in(error) is None:
                result = {**attributes, "error.type": type(error).__qualname__}
            raise
        finally:
            self._process_duration(time.perf_counter() - began, result)

    def settled(self, event: Settled) -> dict[str, str]:
        attributes = {
            **destination(event.backend, event.source),
            **operation(event.outcome, "settle"),
            **({"error.type": event.fault.kind.value} if event.fault is not None else {}),
        }
        self._delivery_duration(event.duration, attributes)
        return attributes

    def lease_extended(self, event: LeaseExtended) -> None:
        self._extended(event.count, destination(event.backend, event.source))

    def lease_lost(self, event: LeaseLostEvent) -> None:
        self._lost(1, destination(event.backend, event.source))

    def in_flight(self, source: Entity, change: int) -> None:
        self._in_flight(change, names(source))

    def not_taking(self, source: Entity, reason: str, change: int) -> None:
        self._not_taking(change, {**names(source), "polybus.reason": reason})


class MeasuringHooks(NoHooks):
    """Passes on to `measures` what it is told of and needs nothing added; a subclass does so with the other events."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def lease_extended(self, event: LeaseExtended) -> None:
        self._measures.lease_extended(event)

    def lease_lost(self, event: LeaseLostEvent) -> None:
        self._measures.lease_lost(event)

    def in_flight(self, source: Entity, change: int) -> None:
        self._measures.in_flight(source, change)

    def not_taking(self, source: Entity, reason: str, change: int) -> None:
        self._measures.not_taking(source, reason, change)


def destination(backend: str, entity: Entity) -> dict[str, str]:
    """Give the attributes of where a message goes or comes from."""
    cloud = find(backend)
    own = (cloud.topic_system if entity.kind is Kind.TOPIC else "") or cloud.system
    return {"messaging.system": own or f"polybus_{backend}", **names(entity)}


def names(entity: Entity) -> dict[str, str]:
    if entity.topic is None:
        return {"messaging.destination.name": entity.name}
    return {
        "messaging.destination.name": entity.topic,
        "messaging.destination.subscription.name": entity.name,
    }


def operation(name: str, kind: str) -> dict[str, str]:
    return {"messaging.operation.name": name, "messaging.operation.type": kind}
