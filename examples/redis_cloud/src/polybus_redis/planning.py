"""What a topology is on Redis: a stream for each topic; for each subscription and queue one, and one of its letters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from polybus.binding import Binding, Entity, Kind
from polybus.plan.simple import Simple
from polybus.portable import net_limit
from polybus.topology.filters import parse, plain
from polybus.topology.model import Topology

DEFAULT_SIZE, MAX_SIZE = 1024 * 1024, 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """What a stack's configuration says; `url` is without credentials."""

    stack: str = ""
    url: str = "redis://127.0.0.1:6379"
    durability: Literal["", "none"] = ""


def key(topology: Topology, settings: RedisSettings, *parts: str) -> str:
    """Name a stream; the braces keep all of a bus in one slot of a cluster."""
    return ":".join((f"polybus:{{{'-'.join(filter(None, (topology.name, settings.stack)))}}}", *parts))


def stream(settings: RedisSettings, binding: Binding, entity: Entity) -> dict[str, Any]:
    """Give what redis.lua reads of an entity, in milliseconds; a topic keeps what a subscription may still take."""
    conf: dict[str, Any] = {"url": settings.url, "name": entity.address}
    if entity.kind is Kind.TOPIC:
        kept = [each.retention for each in binding.subscriptions_of(entity)]
        return conf | {"keep": round(max(kept, default=0.0) * 1000)}
    conf |= {"retention": round(entity.retention * 1000), "dead_retention": round(entity.dead_letter_retention * 1000)}
    conf |= {"net": net_limit(entity), "dead": entity.dead_letter, "ordered": 1 if entity.keeps_order else None}
    if entity.kind is Kind.SUBSCRIPTION:
        conf["topic"] = binding.topics[entity.topic or ""].address
        conf["filter"] = json.dumps(plain(parse(entity.filter).root)) if entity.filter else None
    return conf


REDIS = Simple(
    backend="redis",
    resource_type="redis:index/stream:Stream",
    settings=RedisSettings,
    address=key,
    resource=stream,
    immutable=frozenset({"url"}),
    largest=MAX_SIZE,
    rights="Redis's own ACL for the keys",
)
PLANNING = REDIS.planning()
