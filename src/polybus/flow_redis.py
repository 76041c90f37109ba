"""A rate limit that every process which shares a Redis server keeps together.

from polybus.flow import RateLimit
from polybus.flow_redis import InRedis

limit = RateLimit(per_second=50, shared=InRedis("redis://localhost/0", key="shop:charges"))
"""

from __future__ import annotations

import asyncio
from typing import Any

from polybus.errors import MissingExtra

__all__ = ["InRedis"]

# Seconds that one call may take: a limit that can't be asked holds the intake up, and is asked again.
PATIENCE = 5.0
# The bucket is forgotten once it would be full anyway, and this many seconds more, for clocks that are set.
SPARE = 60

# One step on the server, by its own clock: whoever asks at the same time comes before or after. Since Redis 5 what a
# script wrote is replicated, not the script, so that it may ask for the time.
SPEND = """
local rate, burst, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now
tokens = math.min(tokens + math.max(now - at, 0) * rate, burst)
if count > 0 then
  tokens = tokens - count
  redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'at', string.format('%.17g', now))
  redis.call('EXPIRE', KEYS[1], math.ceil((burst - tokens) / rate) + tonumber(ARGV[4]))
end
return string.format('%.17g', tokens)
"""


class InRedis:
    """Keeps a limit under `key`; `url` is as in `redis.asyncio.from_url`. It needs the package redis, 5 or later.

    All that share a key are to give the same rate and burst. While the server doesn't answer nothing is taken; the log
    and `/ready` say so. Raises MissingExtra where redis isn't installed.
    """

    def __init__(self, url: str, *, key: str) -> None:
        try:
            import redis.asyncio
        except ModuleNotFoundError as error:
            raise MissingExtra("redis", "", install="redis") from error
        self._key = key
        self._module: Any = redis.asyncio
        self._url = url
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"InRedis(key={self._key!r})"  # a URL may hold a password

    async def spend(self, per_second: float, burst: int, count: int) -> float:
        """Take `count` (0 to look) out of the bucket, and return what is in it by then."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:  # its connections are of one loop
            self._client = self._module.from_url(
                self._url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, decode_responses=True
            )
            self._loop = loop
        return float(await self._client.eval(SPEND, 1, self._key, per_second, burst, count, SPARE))

    async def aclose(self) -> None:
        """Close its connections; it opens others when it is asked again."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()
