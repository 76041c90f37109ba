"""What the run time must know of each entry of a topology, of all of them and of those of one service."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from polybus.binding import Backoff, Binding, Bodies, Entity, Kind, Rights
from polybus.plan.names import subscription_tag
from polybus.plan.planning import CloudPlan, planning_of
from polybus.plan.values import Join, Ref, marked, resolve, unmarked
from polybus.topology.model import Queue, Subscription, Topology, digest

__all__ = ["Place", "binding_of", "service_bindings", "sizes"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one entry is: its address, that of its dead letters, the largest message in bytes, a backend's options."""

    address: str
    dead_letter: str | None = None
    max_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def binding_of(
    topology: Topology,
    *,
    backend: str,
    settings: Mapping[str, Any],
    topics: Mapping[str, Place],
    subscriptions: Mapping[str, Place],
    queues: Mapping[str, Place],
    beside: Bodies | None = None,
) -> Binding:
    """Make the binding of a topology whose every entry has its place, and whose large bodies are `beside` it."""
    return Binding(
        backend=backend,
        bus=topology.name,
        digest=digest(topology),
        settings=settings,
        topics={name: _topic(topology, name, topics[name]) for name in topology.topics},
        subscriptions={
            name: _subscription(topology, item, subscriptions[name]) for name, item in topology.subscriptions.items()
        },
        queues={name: _queue(item, queues[name]) for name, item in topology.queues.items()},
        services={
            name: Rights(item.publishes, item.consumes, item.operates) for name, item in topology.services.items()
        },
        bodies=beside,
    )


def _topic(topology: Topology, name: str, place: Place) -> Entity:
    topic = topology.topics[name]
    return Entity(
        kind=Kind.TOPIC,
        name=name,
        address=place.address,
        ordered=topic.ordered,
        max_size=topic.max_message_size or place.max_size,
        max_delay=topic.max_delay,
        filter_attributes=tuple(sorted(topology.filter_attributes(name))),
        options=place.options,
        schema=topic.schema,
        format=topic.format,
        fairness_key=topic.fairness_key,
    )


def _subscription(topology: Topology, item: Subscription, place: Place) -> Entity:
    topic = topology.topics[item.topic]
    return Entity(
        kind=Kind.SUBSCRIPTION,
        name=item.name,
        topic=item.topic,
        ordered=topology.is_ordered(item.name),
        max_size=topic.max_message_size or place.max_size,
        max_delay=topic.max_delay,
        filter=None if item.filter is None else str(item.filter),
        filter_attributes=tuple(sorted(topology.filter_attributes(item.topic))),
        tag=subscription_tag(topology.name, item.name),
        push=item.push is not None,
        tap=item.tap,
        schema=topic.schema,
        format=topic.format,
        fairness_key=topic.fairness_key,
        **_delivery(item, place),
    )


def _queue(item: Queue, place: Place) -> Entity:
    return Entity(
        kind=Kind.QUEUE,
        name=item.name,
        ordered=item.ordered,
        max_size=item.max_message_size or place.max_size,
        max_delay=item.max_delay,
        schema=item.schema,
        format=item.format,
        fairness_key=item.fairness_key,
        **_delivery(item, place),
    )


def _delivery(item: Subscription | Queue, place: Place) -> dict[str, Any]:
    """Give what subscriptions and queues share."""
    return {
        "address": place.address,
        "dead_letter": place.dead_letter,
        "lease": item.lease,
        "max_attempts": item.max_attempts,
        "backoff": Backoff(item.backoff.initial, item.backoff.maximum),
        "retention": item.retention,
        "dead_letter_retention": item.dead_letter_retention,
        "options": place.options,
    }


def service_bindings(topology: Topology, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give each service's own binding, as plain data with references in it, of the whole one with references in it.

    A push subscription is of the service that has its function's name.
    """
    whole = msgspec.convert(_as_text(values), Binding)
    return {name: _of(whole, name, topology) for name in topology.services}


def sizes(plan: CloudPlan, cloud: str) -> dict[str, int]:
    """Estimate the bytes of each service's binding, and under "" those of the whole: addresses are as long as usual."""
    planning = planning_of(cloud)
    made = {resource.name: resource for resource in plan.resources}

    def find(ref: Ref) -> str:
        return planning.stand_in(made[ref.resource], ref.output)

    values = planning.binding_values(plan)
    return {
        name: _bytes(value, find) for name, value in {"": values, **service_bindings(plan.topology, values)}.items()
    }


def _of(whole: Binding, service: str, topology: Topology) -> Any:
    pushes = (item for item in topology.subscriptions.values() if item.push is not None)
    mine = [item.name for item in pushes if item.push is not None and item.push.function == service]
    return unmarked(whole.for_service(service, pushes=mine).to_compact())


def _as_text(value: Any) -> Any:
    if isinstance(value, (Ref, Join)):
        return marked(value)
    if isinstance(value, Mapping):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_text(item) for item in value]
    return value


def _bytes(values: Any, find: Callable[[Ref], str]) -> int:
    text = json.dumps(resolve(values, find), separators=(",", ":"), ensure_ascii=False)
    return len(text.encode())
