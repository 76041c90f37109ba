"""What a stack's configuration says of Redis."""

from __future__ import annotations

from polybus.provision.sdk import Sdk
from polybus.provision.simple import provider_of
from polybus_redis.planning import REDIS

KEYS = {
    "url": "such as redis://redis.internal:6379, without credentials",
    "durability": "none, where what is accepted may be lost",
}
PROVIDER = provider_of(REDIS, Sdk("polybus_redis", "", {"index": "resources"}), KEYS, required=("url",))
