"""A redis-server of one's own, with a plan's streams."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import redis

from polybus.binding import Binding
from polybus.errors import ConfigError
from polybus.localcloud.server import free_port
from polybus.plan.planning import Local
from polybus_redis.planning import RedisPlan, binding, plan
from polybus_redis.streams import make

__all__ = ["LOCAL", "RedisServer", "realise"]


class RedisServer:
    """redis-server on loopback; it keeps what it has in the folder `data`, or in memory where that is None."""

    cloud = "redis"

    def __init__(self, host: str, port: int, data: Path | None) -> None:
        self.host, self.port, self.data = host, port or free_port(), data
        self.url = f"redis://{self.host}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def env(self) -> Mapping[str, str]:
        return {"REDIS_URL": self.url}

    async def start(self) -> None:
        """Start it and wait until it answers; raise ConfigError where there is none, OSError where it ends at once."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        kept = ["--appendonly", "yes" if self.data else "no", "--dir", str(self.data or tempfile.gettempdir())]
        words = ["redis-server", "--bind", self.host, "--port", str(self.port), "--save", "", *kept]
        if self.data is not None:
            self.data.mkdir(parents=True, exist_ok=True)
        try:  # in a group of its own: Ctrl-C is for who started it
            self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, process_group=0)  # noqa: S603 - fixed words
        except FileNotFoundError as error:
            raise ConfigError("the local redis needs redis-server: apt-get install redis-server") from error
        with redis.Redis.from_url(self.url, protocol=2) as client:
            while not self._answers(client):
                if self._process.poll() is not None:
                    raise OSError(f"redis-server ended at once: is port {self.port} taken?")
                time.sleep(0.02)

    def _answers(self, client: redis.Redis) -> bool:
        assert self._process is not None
        try:
            return bool(client.info("server")["process_id"] == self._process.pid)
        except redis.ConnectionError:
            return False

    async def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait)


def realise(plan: RedisPlan, server: RedisServer) -> Binding:
    """Make a plan's streams on a server that runs."""
    for resource in plan.resources:
        make(server.url, resource.properties)
    settings = dataclasses.replace(plan.settings, url=server.url, durability="" if server.data else "none")
    return binding(dataclasses.replace(plan, settings=settings))


LOCAL = Local(("redis",), RedisServer, plan, realise, patience=10.0)
