"""A topology as nodes and edges: what both kinds of diagram draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from polybus.topology.model import Queue, Subscription, Topic, Topology
from polybus.topology.quantities import format_duration

__all__ = ["Column", "Edge", "Graph", "Look", "Node", "graph_of"]


class Look(StrEnum):
    SERVICE = "service"
    TOPIC = "topic"
    SUBSCRIPTION = "subscription"
    QUEUE = "queue"
    PUSH = "push"


class Column(StrEnum):
    """Where a node stands, from left to right in this order."""

    PUBLISHERS = "publishers"
    TOPICS = "topics"
    SOURCES = "sources"
    CONSUMERS = "consumers"


@dataclass(frozen=True, slots=True)
class Node:
    """`key` tells nodes apart; a service that publishes and consumes is one node in each outer column."""

    key: str
    look: Look
    column: Column
    title: str
    details: str
    dead_letters: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """From one node's key to another's; `label` is a filter."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    name: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph_of(topology: Topology) -> Graph:
    """Draw up the nodes and edges, in declaration order."""
    return Graph(topology.name, tuple(_nodes(topology)), tuple(_edges(topology)))


def _nodes(topology: Topology) -> Iterator[Node]:
    for service in topology.services.values():
        if service.publishes:
            yield Node(f"from:{service.name}", Look.SERVICE, Column.PUBLISHERS, service.name, "service")
    for topic in topology.topics.values():
        details = _joined("topic", _order(topic.ordered), _delay(topic.max_delay), _clouds(topic))
        yield Node(f"topic:{topic.name}", Look.TOPIC, Column.TOPICS, topic.name, details)
    for subscription in topology.subscriptions.values():
        tap = "tap" if subscription.tap else ""
        details = _joined("subscription", _order(topology.is_ordered(subscription.name)), tap, _rules(subscription))
        key, title, letters = f"source:{subscription.name}", subscription.name, _letters(subscription)
        yield Node(key, Look.SUBSCRIPTION, Column.SOURCES, title, details, letters)
        if subscription.push is not None and subscription.push.forward is None:
            push = subscription.push
            yield Node(f"push:{subscription.name}", Look.PUSH, Column.CONSUMERS, push.endpoint, push.kind)
    for queue in topology.queues.values():
        details = _joined("queue", _order(queue.ordered), _delay(queue.max_delay), _rules(queue))
        yield Node(f"source:{queue.name}", Look.QUEUE, Column.SOURCES, queue.name, details, _letters(queue))
    for service in topology.services.values():
        if service.consumes:
            yield Node(f"to:{service.name}", Look.SERVICE, Column.CONSUMERS, service.name, "service")


def _edges(topology: Topology) -> Iterator[Edge]:
    for service in topology.services.values():
        for name in service.publishes:
            kind = "topic" if name in topology.topics else "source"
            yield Edge(f"from:{service.name}", f"{kind}:{name}")
    for subscription in topology.subscriptions.values():
        label = "" if subscription.filter is None else str(subscription.filter)
        yield Edge(f"topic:{subscription.topic}", f"source:{subscription.name}", label)
        if subscription.push is not None:
            forward = subscription.push.forward
            kind = "topic" if forward in topology.topics else "source"
            yield Edge(f"source:{subscription.name}", f"{kind}:{forward}" if forward else f"push:{subscription.name}")
    for service in topology.services.values():
        for name in service.consumes:
            yield Edge(f"source:{name}", f"to:{service.name}")


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _order(ordered: bool) -> str:
    return "ordered" if ordered else ""


def _delay(seconds: float) -> str:
    return f"delay to {format_duration(seconds)}" if seconds else ""


def _rules(entry: Subscription | Queue) -> str:
    return _joined("" if _pushed(entry) else f"{format_duration(entry.lease)} lease", _clouds(entry))


def _pushed(entry: Subscription | Queue) -> bool:
    """Whether the cloud delivers it itself: no consumer has a lease then."""
    return isinstance(entry, Subscription) and entry.push is not None


def _clouds(entry: Topic | Subscription | Queue) -> str:
    return f"on {', '.join(entry.clouds)} alone" if entry.clouds else ""


def _letters(entry: Subscription | Queue) -> str:
    if isinstance(entry, Subscription) and entry.push is not None and entry.push.https is None:
        return "dead letters"  # after as many attempts as the cloud has for it
    tries = "attempt" if entry.max_attempts == 1 else "attempts"
    return f"dead letters after {entry.max_attempts} {tries}"
