"""Servers that the tests of `polybus.once` start for themselves, beside PostgreSQL's, and why some are not."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time

import redis

from databases import POSTGRESQL_MISSING

__all__ = ["MISSING", "RedisServer"]

# Far more than a busy machine needs for a start; nothing waits for it to be over.
PATIENCE = 120.0


MISSING = {
    **({"postgresql": POSTGRESQL_MISSING} if POSTGRESQL_MISSING else {}),
    **({} if shutil.which("redis-server") else {"redis": "there is no Redis: apt-get install redis-server"}),
}
"""Why stores aren't tested here, by their kinds."""


class RedisServer:
    """A redis-server that persists nothing."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}"
        self._folder = tempfile.mkdtemp(prefix="polybus-redis-")
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", self._folder]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + PATIENCE
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    if self._process.poll() is not None or time.monotonic() > until:
                        raise
                    time.sleep(0.05)

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)
