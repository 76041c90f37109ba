"""Redis (7.0 or later) as a cloud of polybus.

Delivery: at least once. Each call is one Lua script in Redis, by Redis's own clock, and so is done whole or not at all.
Filters are decided there, when what is new in a topic is taken into a subscription. The attempt is exact, a dead letter
is moved in one step, and an ordering key has one message out at a time. What Redis accepted is as durable as Redis is
set to be: a publisher refuses one without an append-only file, or that evicts keys, unless `durability` is "none".

Limits: 1 MiB a message, or `max_message_size` up to 64 MiB; 1,000 attributes. All keys of a bus have one hash tag, so a
bus is on one shard.

Push subscriptions: none, Redis calls nobody.

Escape hatch: `bus.raw(name)` is redis-py's client and the key of the stream.

Settings of the binding: `url` without credentials (REDIS_USERNAME and REDIS_PASSWORD are in the environment),
`timeout` (10 s), `durability`.
"""

from __future__ import annotations

from polybus.cloud import Cloud

__all__ = ["CLOUD"]

CLOUD = Cloud(
    name="redis",
    title="Redis",
    driver="polybus_redis.driver:RedisDriver",
    planning="polybus_redis.planning:PLANNING",
    provider="polybus_redis.stack:PROVIDER",
    local="polybus_redis.local:LOCAL",
    packages={"redis": "redis", "pulumi": "pulumi"},
    loggers=("redis",),
    system="redis",
)
