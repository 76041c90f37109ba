"""What a stack has of all that a topology and a stack config can say, so that a proof can tell what it has reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.clouds import CLOUDS

from polybus.topology.model import Queue, Subscription, Topic, Topology

from .everything import LONGEST, Stack

EVERYWHERE = frozenset(
    [
        "ordered",
        "unordered",
        "existing",
        "options",
        "size",
        "filter",
        "longest-filter",
        "tap",
        "push",
        "push-filter",
        "retention-ends",
        "lease-part",
        "lease-ends",
        "attempts-ends",
        "backoff-none",
        "same-name",
        "long-name",
        "nothing",
        "fan",
        "fan-ordered",
        "one-of-ordered-out",
        "publishes",
        "consumes",
        "operates",
        "no-rights",
        "role",
        "no-role",
        "alarms",
        "no-alarms",
        "mail",
        "topic",
        "both",
        "nobody",
        "no-stack",
        "long-stack",
        "tags",
        "many-tags",
        "key",
    ]
)
"""What every cloud has."""

OWN: Mapping[str, frozenset[str]] = {
    "aws": frozenset(
        ["queue-delay", "email", "sms", "https", "raw", "function", "forward", "region", "endpoints", "bodies"]
    ),
    "azure": frozenset(
        [
            "topic-delay",
            "queue-delay",
            "function",
            "forward",
            "forward-to-topic",
            "Standard",
            "Premium",
            "subnet",
            "own-group",
            "own-namespace",
            "bodies",
        ]
    ),
    "gcp": frozenset(["https", "raw", "function", "push-account", "regions", "project", "project-number", "bodies"]),
}
"""What one cloud has beside it."""


def wanted(cloud: str) -> frozenset[str]:
    assert set(OWN) == set(CLOUDS)
    return EVERYWHERE | OWN[cloud]


def features(stack: Stack, cloud: str) -> set[str]:
    """Name what a stack has."""
    topology = stack.topology
    entries = [*topology.topics.values(), *topology.subscriptions.values(), *topology.queues.values()]
    found = {name for entry in entries for name in _entry(entry, topology, cloud)}
    found |= {*_whole(topology), *_alarms(topology), *_settings(stack, cloud)}
    return found


def _entry(entry: Topic | Subscription | Queue, topology: Topology, cloud: str) -> Iterator[str]:
    if len(entry.name) == 60:
        yield "long-name"
    if entry.options:
        yield "options"
    if not isinstance(entry, Subscription):
        yield "ordered" if entry.ordered else "unordered"
        if entry.existing:
            yield "existing"
        if entry.max_message_size:
            yield "size"
        if entry.max_delay:
            yield "topic-delay" if isinstance(entry, Topic) else "queue-delay"
    if not isinstance(entry, Topic):
        yield from _delivery(entry)
    if isinstance(entry, Subscription):
        yield from _subscription(entry, topology, cloud)


def _delivery(entry: Subscription | Queue) -> Iterator[str]:
    if entry.retention in (60, 600):
        yield "retention-ends"
    if entry.lease % 1:
        yield "lease-part"
    if entry.lease == 43_200:
        yield "lease-ends"
    if entry.max_attempts in (1, 99, 999, 1_000):
        yield "attempts-ends"
    if not entry.backoff.initial:
        yield "backoff-none"


def _subscription(entry: Subscription, topology: Topology, cloud: str) -> Iterator[str]:
    if entry.filter is not None:
        yield "longest-filter" if entry.filter == LONGEST[cloud] else "filter"
    if entry.tap:
        yield "tap"
    if entry.name in topology.topics:
        yield "same-name"
    if entry.ordered is False and topology.topics[entry.topic].ordered:
        yield "one-of-ordered-out"
    if entry.push is not None:
        yield from ("push", entry.push.kind)
        if entry.push.raw:
            yield "raw"
        if entry.filter is not None:
            yield "push-filter"
        if entry.push.forward in topology.topics:
            yield "forward-to-topic"


def _whole(topology: Topology) -> Iterator[str]:
    if topology.large_bodies is not None:
        yield "bodies"
    if not (topology.topics or topology.queues):
        yield "nothing"
    if "fan-000" in topology.subscriptions:
        yield "fan-ordered" if topology.topics["fan"].ordered else "fan"
    for service in topology.services.values():
        rights = [right for right in ("publishes", "consumes", "operates") if getattr(service, right)]
        yield from rights or ["no-rights"]


def _alarms(topology: Topology) -> Iterator[str]:
    if topology.alarms is None:
        yield "no-alarms"
        return
    yield "alarms"
    notify = topology.alarms.notify
    yield {(False, False): "nobody", (True, False): "mail", (False, True): "topic", (True, True): "both"}[
        notify.email is not None, notify.topic is not None
    ]


def _settings(stack: Stack, cloud: str) -> Iterator[str]:
    settings: Any = stack.settings
    if not settings.stack:
        yield "no-stack"
    elif len(settings.stack) > 60:
        yield "long-stack"
    tags = settings.labels if cloud == "gcp" else settings.tags
    if tags:
        yield "many-tags" if len(tags) > 40 else "tags"
    who = {"aws": "roles", "azure": "principals", "gcp": "members"}[cloud]
    for service in stack.topology.services:
        yield "role" if service in getattr(settings, who) else "no-role"
    if settings.customer_key if cloud == "azure" else settings.kms_key:
        yield "key"
    named = {"own-group": "resource_group", "own-namespace": "namespace", "project-number": "project_number"}
    named |= {"endpoints": "vpc_endpoints", "push-account": "push_account", "project": "project"}
    named |= {"region": "region", "regions": "regions", "subnet": "subnet"}
    for feature, attribute in named.items():
        if getattr(settings, attribute, None):
            yield feature
    if cloud == "azure":
        yield settings.sku
