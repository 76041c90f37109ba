"""What the run time must know of each entry of a topology, the same on every cloud but for the addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polybus.binding import Backoff, Binding, Entity, Kind, Rights
from polybus.plan.names import subscription_tag
from polybus.topology.model import Queue, Subscription, Topology, digest

__all__ = ["Place", "binding_of"]


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
) -> Binding:
    """Make the binding of a topology whose every entry has its place."""
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
        **_delivery(item, place),
    )


def _queue(item: Queue, place: Place) -> Entity:
    return Entity(
        kind=Kind.QUEUE,
        name=item.name,
        ordered=item.ordered,
        max_size=item.max_message_size or place.max_size,
        max_delay=item.max_delay,
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
