"""Claims in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polybus.claims import RETENTION, Busy, Claim, Done
from polybus.clock import Clock
from polybus.durations import Duration, seconds

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisStore"]

# Each script has a key's hash in KEYS[1], and in ARGV[1] the time, or "" for the server's: one clock for all.
_TIME = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
"""
# ARGV: the time, lease, retention. Answers {what, number}: 1 and the token, 2 and the seconds as text, or 3.
_CLAIM = f"""{_TIME}
local row = redis.call('HMGET', KEYS[1], 'token', 'until', 'done')
local ends, done = tonumber(row[2]), tonumber(row[3])
if done and done > now - tonumber(ARGV[3]) then return {{3, ''}} end
if not done and ends and ends > now then return {{2, tostring(ends - now)}} end
local token = redis.call('HINCRBY', KEYS[1], 'token', 1)
redis.call('HSET', KEYS[1], 'until', string.format('%.6f', now + tonumber(ARGV[2])))
redis.call('HDEL', KEYS[1], 'done')
redis.call('PEXPIRE', KEYS[1], math.ceil((tonumber(ARGV[2]) + tonumber(ARGV[3])) * 1000))
return {{1, tostring(token)}}
"""
# ARGV: the time, token, the field to set, seconds from now, retention. Answers whether it is still the owner's claim.
_CHANGE = f"""{_TIME}
local row = redis.call('HMGET', KEYS[1], 'token', 'done')
if row[2] or row[1] ~= ARGV[2] then return 0 end
local after = tonumber(ARGV[4])
-- A text of the time may be rounded up, and what is released is free now.
local at = (ARGV[3] == 'until' and after == 0) and 0 or now + after
redis.call('HSET', KEYS[1], ARGV[3], string.format('%.6f', at))
redis.call('PEXPIRE', KEYS[1], math.ceil((after + tonumber(ARGV[5])) * 1000))
return 1
"""
_CLAIMED, _BUSY = 1, 2


class RedisStore:
    """Claims in Redis, by an asynchronous client of redis-py, which it leaves open.

    The keys begin with `prefix`, and expire by themselves once their `retention` is over. The time is the server's, or
    that of `clock`. What a Redis that persists nothing, or fails over, forgets may be done again.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str = "polybus:once",
        retention: Duration = RETENTION,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._retention = seconds(retention, "retention")
        self._clock = clock
        self._claim: Any = client.register_script(_CLAIM)
        self._change: Any = client.register_script(_CHANGE)

    async def claim(self, scope: str, key: str, lease: float) -> Claim | Busy | Done:
        given = [self._now(), lease, self._retention]
        what, number = await self._claim(keys=[self._name(scope, key)], args=given)
        if what == _CLAIMED:
            return Claim(scope, key, int(number))
        return Busy(float(number)) if what == _BUSY else Done()

    async def renew(self, claim: Claim, lease: float) -> bool:
        return await self._set(claim, "until", lease)

    async def confirm(self, claim: Claim) -> bool:
        return await self._set(claim, "done", 0.0)

    async def release(self, claim: Claim) -> None:
        await self._set(claim, "until", 0.0)

    async def purge(self) -> int:
        return 0

    async def create_tables(self) -> None:
        pass

    async def _set(self, claim: Claim, field: str, after: float) -> bool:
        given = [self._now(), claim.token, field, after, self._retention]
        return bool(await self._change(keys=[self._name(claim.scope, claim.key)], args=given))

    def _name(self, scope: str, key: str) -> str:
        return f"{self._prefix}:{len(scope)}:{scope}:{key}"

    def _now(self) -> float | str:
        return "" if self._clock is None else self._clock.time()
