"""Making and deleting a plan's streams, wherever the plan is realised."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import redis

__all__ = ["delete", "make"]


def _connect(url: str) -> redis.Redis:
    user, password = os.environ.get("REDIS_USERNAME"), os.environ.get("REDIS_PASSWORD")
    return redis.Redis.from_url(url, username=user, password=password, protocol=2, decode_responses=True)


def make(properties: Mapping[str, Any]) -> None:
    """Make a stream, or bring what is there to what the plan says; messages stay."""
    stream, topic = properties["name"], properties.get("topic")
    conf = {key: value for key, value in properties.items() if key not in ("name", "url") and value is not None}
    with _connect(properties["url"]) as client, client.pipeline() as pipe:
        pipe.delete(f"{stream}:conf")
        pipe.hset(f"{stream}:conf", mapping=conf)
        if topic is not None:  # a new subscription begins with what comes from now on
            last = client.xinfo_stream(topic)["last-generated-id"] if client.exists(topic) else "0-0"
            pipe.hsetnx(f"{topic}:cursors", stream, last)
        pipe.execute()


def delete(properties: Mapping[str, Any]) -> None:
    """Delete a stream with all that it holds; its topic no longer keeps anything for it."""
    stream, topic = properties["name"], properties.get("topic")
    with _connect(properties["url"]) as client:
        if topic is not None:
            client.hdel(f"{topic}:cursors", stream)
        waiting = list(client.scan_iter(match=f"{stream}:then:*", count=1000))
        own = ("conf", "due", "out", "attempts", "leases", "state", "first", "news", "cursors")
        client.unlink(stream, *(f"{stream}:{each}" for each in own), *waiting)
