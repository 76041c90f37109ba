"""What a stack's configuration says of Redis."""

from __future__ import annotations

from polybus.provision.simple import made_by, provider_of
from polybus_redis.planning import REDIS

KEYS = {
    "url": "such as redis://redis.internal:6379, without credentials",
    "durability": "none, where what is accepted may be lost",
}
STREAMS = made_by(REDIS, make="polybus_redis.streams:make", delete="polybus_redis.streams:delete")
PROVIDER = provider_of(REDIS, STREAMS, KEYS, required=("url",))
