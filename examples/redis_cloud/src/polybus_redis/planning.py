"""What a topology is on Redis: a stream for each topic; for each subscription and queue one, and one of its letters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.plan import check
from polybus.plan.entities import Place, binding_of
from polybus.plan.findings import Report
from polybus.plan.planning import Planning
from polybus.plan.rules import consumed, path_of, published
from polybus.plan.values import Resource
from polybus.topology.filters import plain
from polybus.topology.limits import NET_ATTEMPTS
from polybus.topology.model import Subscription, Topology

__all__ = ["DEFAULT_SIZE", "MAX_SIZE", "PLANNING", "RedisPlan", "RedisSettings", "binding", "plan"]

DEFAULT_SIZE, MAX_SIZE = 1024 * 1024, 64 * 1024 * 1024
TYPE = "redis:index/stream:Stream"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """What a stack's configuration says; `url` is without credentials."""

    stack: str = ""
    url: str = "redis://127.0.0.1:6379"
    durability: str = ""


@dataclass(frozen=True, slots=True)
class RedisPlan:
    topology: Topology
    settings: RedisSettings
    resources: tuple[Resource, ...] = ()

    def key(self, *parts: str) -> str:
        """Name a stream; the braces keep all of a bus in one slot of a cluster."""
        return ":".join((f"polybus:{{{'-'.join(filter(None, (self.topology.name, self.settings.stack)))}}}", *parts))


def plan(topology: Topology, settings: RedisSettings | None = None) -> RedisPlan:
    """Plan a topology; raises UnsupportedFeature with everything that Redis can't do of it."""
    empty = RedisPlan(topology, settings or RedisSettings())
    check.refuse(topology, "redis", stack=empty.settings.stack)
    return RedisPlan(topology, empty.settings, tuple(_resources(empty)))


def binding(plan: RedisPlan) -> Binding:
    """Say where everything is."""
    places = {item.name: Place(plan.key(item.name), plan.key(item.name, "dead")) for item in consumed(plan.topology)}
    durability = {"durability": plan.settings.durability} if plan.settings.durability else {}
    return binding_of(
        plan.topology,
        backend="redis",
        settings={"url": plan.settings.url, **durability},
        topics={name: Place(plan.key(name)) for name in plan.topology.topics},
        subscriptions=places,
        queues=places,
    )


def _resources(plan: RedisPlan) -> Iterator[Resource]:
    topology = plan.topology

    def stream(name: str, key: str, kind: str, entry: str, **conf: Any) -> Resource:
        properties = {"url": plan.settings.url, "name": key, **conf}
        return Resource(TYPE, name, properties, kind, entry, keeps_messages=True)

    for topic in topology.topics.values():
        kept = max((item.retention for item in topology.subscriptions_of(topic.name)), default=0.0)
        yield stream(topic.name, plan.key(topic.name), "topic", path_of(topic), keep=round(kept * 1000))
    for item in consumed(topology):
        letters, kept = plan.key(item.name, "dead"), round(item.dead_letter_retention * 1000)
        yield stream(f"{item.name}-dead-letters", letters, "dead letters", path_of(item), retention=kept)
        own: dict[str, Any] = {"retention": round(item.retention * 1000), "net": item.max_attempts + NET_ATTEMPTS}
        own |= {"ordered": 1 if topology.is_ordered(item.name) else None, "dead": letters, "dead_retention": kept}
        if isinstance(item, Subscription):
            passes = json.dumps(plain(item.filter.root)) if item.filter else None
            own |= {"topic": plan.key(item.topic), "filter": passes}
        kind = "subscription" if isinstance(item, Subscription) else "queue"
        yield stream(item.name, plan.key(item.name), kind, path_of(item), **own)


def rules(report: Report, topology: Topology, stack: str) -> None:
    """Report what Redis can't do, or does differently."""
    for entry in published(topology):
        if entry.existing is not None:
            report.error(f"{path_of(entry)}.existing", entry.existing, "Redis adopts nothing")
        if (entry.max_message_size or 0) > MAX_SIZE:
            report.error(f"{path_of(entry)}.max_message_size", str(entry.max_message_size), "allowed: up to 64 MiB")
    for item in topology.subscriptions.values():
        if item.push is not None:
            instead = "a service that consumes it"
            report.error(f"{path_of(item)}.push", item.push.kind, "Redis calls nobody", instead=instead)
    if topology.alarms is not None:
        report.note(
            "$.alarms", "alarms", "Redis raises none", instead="`polybus stats --json`, by what watches the rest"
        )
    if topology.services:
        report.note(
            "$.services", "rights", "the bus alone holds services to them", instead="Redis's own ACL for the keys"
        )


PLANNING = Planning(
    settings=RedisSettings,
    plan=plan,
    binding_values=lambda plan: msgspec.to_builtins(binding(plan)),
    provider="redis",
    rules=rules,
    immutable={TYPE: frozenset({"name", "url"})},
)
