"""A redis-server of one's own, with a plan's streams."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import socket
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


# Ends redis-server once nobody holds the other end of standard input any more, whatever became of us. What it accepted
# is with the operating system by then: to kill it loses nothing. The shell would say that it was killed.
_TIED = """
exec 3<&0
redis-server "$@" 3<&- </dev/null &
server=$!
exec 2>/dev/null
{ read -r _ <&3; kill -9 $server; } &
wait $server
"""


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
        """Start it, and wait until it answers; raise ConfigError where there is none, OSError for a taken port."""
        if shutil.which("redis-server") is None:
            raise ConfigError("the local redis needs redis-server: apt-get install redis-server")
        with socket.create_server((self.host, self.port)):
            pass
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        kept = ["--appendonly", "yes" if self.data else "no", "--dir", str(self.data or tempfile.gettempdir())]
        words = ["--bind", self.host, "--port", str(self.port), "--save", "", *kept]
        if self.data is not None:
            self.data.mkdir(parents=True, exist_ok=True)
        pipe, none = subprocess.PIPE, subprocess.DEVNULL  # and a group of its own: Ctrl-C is for who started it
        self._process = subprocess.Popen(["sh", "-c", _TIED, "sh", *words], stdin=pipe, stdout=none, process_group=0)  # noqa: S603, S607
        with redis.Redis.from_url(self.url, protocol=2) as client:
            while not _answers(client):
                if self._process.poll() is not None:
                    raise OSError(f"redis-server ended at once, with {self._process.returncode}")
                time.sleep(0.02)

    async def stop(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.communicate)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def realise(plan: RedisPlan, server: RedisServer) -> Binding:
    """Make a plan's streams on a server that runs."""
    for resource in plan.resources:
        make(server.url, resource.properties)
    settings = dataclasses.replace(plan.settings, url=server.url, durability="" if server.data else "none")
    return binding(dataclasses.replace(plan, settings=settings))


LOCAL = Local(("redis",), RedisServer, plan, realise, patience=10.0)
