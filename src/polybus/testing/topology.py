"""What the suite runs on: one topology, made once for each class of tests.

Making entities costs seconds on a cloud, so tests share them: each uses messages of its own, and leaves none behind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Set
from types import MappingProxyType
from typing import Final

from polybus.testing.rig import Refusal
from polybus.topology.filters import parse
from polybus.topology.model import Backoff, Queue, Subscription, Topic, Topology

__all__ = [
    "BACKOFF",
    "DELAYED",
    "FILTERS",
    "LEASE",
    "MAX_ATTEMPTS",
    "MAX_DELAY",
    "RETENTION",
    "SHORT_LEASE",
    "delayed_alone",
    "fair_alone",
    "ordered_alone",
    "suite_topology",
]

LEASE: Final = 300.0
"""Seconds; the longest that every cloud grants (Service Bus: 5 min). Tests that hold messages jump by less."""

SHORT_LEASE: Final = 30.0
"""Seconds; for the tests of leases. At least what every cloud grants (Google: 10 s) and what tests can outrun."""

RETENTION: Final = 600.0
"""Seconds; the shortest that every cloud allows (Google: 10 min)."""

MAX_DELAY: Final = 900.0
"""Seconds; the longest that SQS allows."""

MAX_ATTEMPTS: Final = 3

BACKOFF: Final = Backoff(initial=20.0, maximum=40.0)
"""Long enough that no real test run waits for it by accident; both within one lease."""

DELAYED: Final = MappingProxyType(
    {
        Refusal.TOPIC: ("late-topic", "late"),
        Refusal.ORDERED_TOPIC: ("late-ordered-topic", "late-ordered"),
        Refusal.QUEUE: ("late-jobs", "late-jobs"),
        Refusal.ORDERED_QUEUE: ("late-serial", "late-serial"),
    }
)
"""For each kind, what is published to with a delay, and what it is consumed from."""

FILTERS: Final = MappingProxyType(
    {
        "eu": 'region == "eu"',
        "not-eu": 'not (region == "eu")',
        "other": 'region != "eu"',
        "europe": 'region in ("eu", "uk") and not exists(test)',
        "urgent": 'prefix(kind, "urgent-") or kind == "alarm"',
        "tested": "exists(test)",
        "abroad": 'region not in ("eu", "uk") and not prefix(kind, "urgent-")',
        "quoted": r"""name in ('it\'s', "50% _", "don't, (or) do")""",
        "everywhere": 'city == "Z\u00fcrich" or prefix(city, "\u65e5\u672c")',
    }
)
"""Filters of the subscriptions of the topic `filtered`; `eu`, `not-eu` and `other` tell two-valued logic apart."""


def suite_topology(refuses: Set[Refusal] = frozenset(), *, ordering: bool = True) -> Topology:
    """Return the suite's topology, without the delays that a backend refuses, or without order where it keeps none.

    What is ordered elsewhere is there without `ordering` too, and isn't ordered.
    """
    topics = [Topic("events"), Topic("filtered"), Topic("orders", ordered=ordering), Topic("plain")]
    subscriptions = [
        _subscription("audit", "events"),
        _subscription("billing", "events"),
        _subscription("strict", "orders"),
        _subscription("loose", "orders", ordered=False),
        _subscription("bare-copy", "plain"),
        *(_subscription(name, "filtered", filter=text) for name, text in FILTERS.items()),
    ]
    queues = [
        _queue("jobs"),
        _queue("tasks"),
        _queue("brief", lease=SHORT_LEASE),
        _queue("expiring", retention=RETENTION, dead_letter_retention=2 * RETENTION),
        _queue("fragile", max_attempts=1),
        _queue("serial", ordered=ordering),
        _queue("brief-serial", ordered=ordering, lease=SHORT_LEASE),
        _queue("bare", lease=SHORT_LEASE),
        _queue("bare-serial", ordered=ordering, lease=SHORT_LEASE),
        _queue("counted"),
    ]
    if Refusal.TOPIC not in refuses:
        topics.append(Topic("late-topic", max_delay=MAX_DELAY))
        subscriptions.append(_subscription("late", "late-topic"))
    if ordering and Refusal.ORDERED_TOPIC not in refuses:
        topics.append(Topic("late-ordered-topic", ordered=True, max_delay=MAX_DELAY))
        subscriptions.append(_subscription("late-ordered", "late-ordered-topic"))
    if Refusal.QUEUE not in refuses:
        queues.append(_queue("late-jobs", max_delay=MAX_DELAY))
    if ordering and Refusal.ORDERED_QUEUE not in refuses:
        queues.append(_queue("late-serial", ordered=True, max_delay=MAX_DELAY))
        queues.append(_queue("bare-late", ordered=True, max_delay=MAX_DELAY))
    return Topology(
        name="conformance",
        topics=MappingProxyType({topic.name: topic for topic in topics}),
        subscriptions=MappingProxyType({subscription.name: subscription for subscription in subscriptions}),
        queues=MappingProxyType({queue.name: queue for queue in queues}),
        source="the conformance suite",
    )


def ordered_alone() -> Topology:
    """Return a topology with nothing but one ordered queue, to be refused by `check` where there is no order."""
    return Topology(name="refused", queues={"serial": _queue("serial", ordered=True)})


def fair_alone() -> Topology:
    """Return a topology with nothing but one queue that tells tenants apart, to be refused where none can."""
    return Topology(name="refused", queues={"fair": dataclasses.replace(_queue("fair"), fairness_key="tenant")})


def delayed_alone(kind: Refusal) -> Topology:
    """Return a topology with nothing but one delayed entity, to be refused by `check`."""
    whole = suite_topology()
    target, source = DELAYED[kind]
    if target in whole.queues:
        return Topology(name="refused", queues={target: whole.queues[target]})
    return Topology(
        name="refused", topics={target: whole.topics[target]}, subscriptions={source: whole.subscriptions[source]}
    )


def _subscription(
    name: str,
    topic: str,
    *,
    filter: str | None = None,
    ordered: bool | None = None,
) -> Subscription:
    return Subscription(
        name,
        topic,
        filter=parse(filter) if filter is not None else None,
        ordered=ordered,
        lease=LEASE,
        max_attempts=MAX_ATTEMPTS,
        backoff=BACKOFF,
    )


def _queue(
    name: str,
    *,
    ordered: bool = False,
    lease: float = LEASE,
    max_delay: float = 0.0,
    retention: float = 86_400.0,
    dead_letter_retention: float = 14 * 86_400.0,
    max_attempts: int = MAX_ATTEMPTS,
) -> Queue:
    return Queue(
        name,
        ordered=ordered,
        lease=lease,
        max_delay=max_delay,
        retention=retention,
        dead_letter_retention=dead_letter_retention,
        max_attempts=max_attempts,
        backoff=BACKOFF,
    )
