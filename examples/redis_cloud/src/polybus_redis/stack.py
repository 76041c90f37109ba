"""What a stack's configuration says of Redis."""

from __future__ import annotations

from polybus.provision.cloud import Provider
from polybus.provision.config import StackConfig
from polybus.provision.sdk import Sdk
from polybus_redis.planning import PLANNING, RedisSettings

__all__ = ["PROVIDER"]

_KEYS = {"url": "where Redis is, without credentials", "durability": "none, where what is accepted may be lost"}


def _settings(config: StackConfig) -> RedisSettings:
    url = config.text("url")
    if url is None:
        raise config.missing("url", "such as redis://redis.internal:6379, without credentials")
    return RedisSettings(config.stack, url, config.one_of("durability", ("none",)) or "")


PROVIDER = Provider(
    name="redis",
    planning=PLANNING,
    sdk=Sdk("polybus_redis", "", {"index": "resources"}),
    settings=_settings,
    keys=_KEYS,
)
