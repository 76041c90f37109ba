"""What a stack's configuration says of Redis."""

from __future__ import annotations

from polybus.provision.cloud import Provider
from polybus.provision.config import StackConfig
from polybus.provision.sdk import Sdk
from polybus_redis.planning import PLANNING, RedisSettings

KEYS = {"url": "where Redis is, without credentials", "durability": "none, where what is accepted may be lost"}


def settings_of(config: StackConfig) -> RedisSettings:
    url = config.text("url")
    if url is None:
        raise config.missing("url", "such as redis://redis.internal:6379, without credentials")
    return RedisSettings(config.stack, url, config.one_of("durability", ("none",)) or "")


PROVIDER = Provider("redis", PLANNING, Sdk("polybus_redis", "", {"index": "resources"}), settings_of, KEYS)
