"""A redis-server of one's own, with a plan's streams."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence

import redis

from polybus.localcloud.process import ProcessServer
from polybus_redis.planning import REDIS
from polybus_redis.streams import make


class RedisServer(ProcessServer):
    cloud, install = "redis", "apt-get install redis-server"

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    def command(self) -> Sequence[str]:
        kept = ("--appendonly", "yes" if self.data else "no", "--dir", str(self.data or tempfile.gettempdir()))
        return ("redis-server", "--bind", self.host, "--port", str(self.port), "--save", "", *kept)

    def answers(self) -> bool:
        with redis.Redis.from_url(self.url, protocol=2) as client, contextlib.suppress(redis.ConnectionError):
            return bool(client.ping())
        return False

    def env(self) -> Mapping[str, str]:
        return {"REDIS_URL": self.url}


def at(server: RedisServer) -> Mapping[str, str]:
    return {"url": server.url, "durability": "" if server.data else "none"}


LOCAL = REDIS.local(("redis",), RedisServer, at, make)
