"""A redis-server of one's own, with a plan's streams."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence

import redis

from polybus.binding import Binding
from polybus.localcloud.process import ProcessServer
from polybus.plan.planning import Local
from polybus_redis.planning import RedisPlan, binding, plan
from polybus_redis.streams import make

__all__ = ["LOCAL", "RedisServer", "realise"]


class RedisServer(ProcessServer):
    cloud, install = "redis", "apt-get install redis-server"

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    def command(self) -> Sequence[str]:
        kept = ("--appendonly", "yes" if self.data else "no", "--dir", str(self.data or tempfile.gettempdir()))
        return ("redis-server", "--bind", self.host, "--port", str(self.port), "--save", "", *kept)

    def answers(self) -> bool:
        with redis.Redis.from_url(self.url, protocol=2) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def env(self) -> Mapping[str, str]:
        return {"REDIS_URL": self.url}


def realise(plan: RedisPlan, server: RedisServer) -> Binding:
    """Make a plan's streams on a server that runs."""
    for resource in plan.resources:
        make(server.url, resource.properties)
    settings = dataclasses.replace(plan.settings, url=server.url, durability="" if server.data else "none")
    return binding(dataclasses.replace(plan, settings=settings))


LOCAL = Local(("redis",), RedisServer, plan, realise, patience=10.0)
