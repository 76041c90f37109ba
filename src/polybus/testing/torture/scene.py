"""What is tortured: a topology, what feeds what, and how large everything is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from polybus.topology.filters import parse
from polybus.topology.model import Backoff, Queue, Subscription, Topic, Topology

__all__ = ["FEEDS", "GRACE", "LEASE", "ORDERED", "POISON_ATTEMPTS", "PUBLISH_DEADLINE", "SOURCES", "feeds", "topology"]

LEASE: Final = 10.0
"""Seconds; the shortest that every cloud grants (Google), so that as many leases as possible fit into a run."""

GRACE: Final = 5.0
"""Seconds that handlers have at a drain: less than a lease, as it should be everywhere."""

PUBLISH_DEADLINE: Final = 20.0
"""Seconds; the publishers' deadline, so that a publisher that is told to stop ends within a run's patience."""

POISON_ATTEMPTS: Final = 4
"""The `max_attempts` of the queue in which some messages always fail."""

# Of everything else: more attempts than a run can have kills of one message's consumers, so that nothing is
# dead-lettered for having been at the wrong places. (Google gives up at 100 itself.)
_MANY_ATTEMPTS = 90
_BACKOFF = Backoff(initial=0.2, maximum=1.0)

FEEDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "events": ("audit", "even"),
        "orders": ("strict",),
        "jobs": ("jobs",),
        "serial": ("serial",),
        "flaky": ("flaky",),
    }
)
"""What is published to, and what is consumed from it; `even` has a filter."""

SOURCES: Final = tuple(source for sources in FEEDS.values() for source in sources)
ORDERED: Final = frozenset({"orders", "serial", "strict"})
"""The topics, subscriptions and queues that keep order."""


def feeds(target: str, parity: str) -> tuple[str, ...]:
    """Return the sources that get a message of this parity."""
    return tuple(source for source in FEEDS[target] if source != "even" or parity == "even")


def topology() -> Topology:
    """Return the topology of every run."""
    topics = (Topic("events"), Topic("orders", ordered=True))
    subscriptions = (
        _subscription("audit", "events"),
        _subscription("even", "events", 'parity == "even"'),
        _subscription("strict", "orders"),
    )
    queues = (_queue("jobs"), _queue("serial", ordered=True), _queue("flaky", attempts=POISON_ATTEMPTS))
    return Topology(
        name="torture",
        topics=MappingProxyType({topic.name: topic for topic in topics}),
        subscriptions=MappingProxyType({each.name: each for each in subscriptions}),
        queues=MappingProxyType({queue.name: queue for queue in queues}),
        source="the torture",
    )


def _subscription(name: str, topic: str, filter: str | None = None) -> Subscription:
    tree = parse(filter) if filter is not None else None
    return Subscription(name, topic, filter=tree, lease=LEASE, max_attempts=_MANY_ATTEMPTS, backoff=_BACKOFF)


def _queue(name: str, *, ordered: bool = False, attempts: int = _MANY_ATTEMPTS) -> Queue:
    return Queue(name, ordered=ordered, lease=LEASE, max_attempts=attempts, backoff=_BACKOFF)
