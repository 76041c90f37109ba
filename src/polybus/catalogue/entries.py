"""A topology entry by entry, as those see it who publish to it or read from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from polybus.topology.model import Queue, Service, Subscription, Topic, Topology
from polybus.topology.quantities import format_duration, format_size

__all__ = ["Entry", "Reader", "entries", "services"]

IN_ORDER = "in order and one at a time, per ordering key"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who gets what is published to an entry, and which of it.

    `source` is the subscription, or the queue itself; `services` those that consume it, `push` the address that the
    cloud delivers to.
    """

    source: str
    filter: str
    services: tuple[str, ...]
    push: str
    facts: tuple[tuple[str, str], ...]
    declared: Subscription | Queue


@dataclass(frozen=True, slots=True)
class Entry:
    """A topic or queue: who publishes to it, who reads from it, and what holds for its messages."""

    name: str
    kind: str
    declared: Topic | Queue
    publishers: tuple[str, ...]
    readers: tuple[Reader, ...]
    facts: tuple[tuple[str, str], ...]


def entries(topology: Topology) -> tuple[Entry, ...]:
    """Give every topic and queue, topics first, each kind in the order of its declaration."""
    topics = [
        Entry(
            name=topic.name,
            kind="topic",
            declared=topic,
            publishers=_who(topology, "publishes", topic.name),
            readers=tuple(_reader(topology, each) for each in topology.subscriptions_of(topic.name)),
            facts=tuple(_target_facts(topic)),
        )
        for topic in topology.topics.values()
    ]
    queues = [
        Entry(
            name=queue.name,
            kind="queue",
            declared=queue,
            publishers=_who(topology, "publishes", queue.name),
            readers=(_reader(topology, queue),),
            facts=tuple(_target_facts(queue)),
        )
        for queue in topology.queues.values()
    ]
    return (*topics, *queues)


def services(topology: Topology) -> tuple[Service, ...]:
    """Give the services, in the order of their declaration."""
    return tuple(topology.services.values())


def _who(topology: Topology, right: str, name: str) -> tuple[str, ...]:
    return tuple(service.name for service in topology.services.values() if name in getattr(service, right))


def _reader(topology: Topology, source: Subscription | Queue) -> Reader:
    is_subscription = isinstance(source, Subscription)
    filter_ = source.filter if isinstance(source, Subscription) else None
    push = source.push if isinstance(source, Subscription) else None
    facts = [*_source_facts(source)]
    if is_subscription and topology.is_ordered(source.name):
        facts.insert(0, ("order", IN_ORDER))
    return Reader(
        source=source.name,
        filter="" if filter_ is None else str(filter_),
        services=_who(topology, "consumes", source.name),
        push="" if push is None else f"{push.kind} {push.endpoint}",
        facts=tuple(facts),
        declared=source,
    )


def _target_facts(target: Topic | Queue) -> Iterator[tuple[str, str]]:
    if target.ordered:
        yield "order", IN_ORDER
    if target.fairness_key is not None:
        yield "fair by", target.fairness_key
    if target.max_delay:
        yield "delay", f"up to {format_duration(target.max_delay)}"
    if target.max_message_size is not None:
        yield "largest message", format_size(target.max_message_size)
    if target.existing is not None:
        yield "adopted", target.existing
    if target.clouds:
        yield "only on", ", ".join(target.clouds)


def _source_facts(source: Subscription | Queue) -> Iterator[tuple[str, str]]:
    yield "lease", format_duration(source.lease)
    yield "attempts", f"dead letter at failed attempt {source.max_attempts}"
    yield "kept", f"{format_duration(source.retention)}; dead letters {format_duration(source.dead_letter_retention)}"
    if source.consumers == "foreign":
        yield "consumers", "not polybus: attempts are the cloud's to count"
    if isinstance(source, Subscription) and source.tap:
        yield "tap", "for looking: no service consumes it"
    if isinstance(source, Subscription) and source.clouds:
        yield "only on", ", ".join(source.clouds)
