"""How much a handler takes, and when it takes nothing: what `@app.handler(...)` is given for that.

    from polybus.flow import Breaker, RateLimit

    @app.handler("charges", breaker=Breaker(failures=5, of=10, pause="30s"), rate_limit=RateLimit(per_second=50))
    async def charge(order: Order) -> None: ...

Both act on the intake: what they hold up stays with the backend, without a lease, for whoever else consumes there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from polybus.clock import Clock
from polybus.durations import Duration, seconds

if TYPE_CHECKING:
    from polybus.message import Message

__all__ = ["Breaker", "Limit", "PerKey", "RateLimit", "Room", "Shared"]

# Seconds for which an empty bucket is left to fill before the next receive: some five calls a second, instead of one
# for each message, which is what a cloud bills.
SLICE = 0.2
# Tokens: what the sum of many small refills may be off by. A wait that is a rounding error short would be followed by
# another one of no length.
CLOSE = 1e-6


@dataclass(init=False, frozen=True, slots=True)
class Breaker:
    """Stops taking after repeated failures, and tries a single message before it goes on.

    Open it is once `failures` of the latest `of` attempts have failed: nothing is taken, and what no handler has begun
    with is given back. After `pause` one message is taken: where it is handled all is well again, else it pauses once
    more. What a handler raises counts, but for DeadLetter and what can't be decoded: these are about one message.
    `pause` is a number of seconds, a text such as "30s", or a timedelta.
    """

    failures: int
    of: int
    pause: float

    def __init__(self, failures: int = 5, of: int = 10, pause: Duration = 30.0) -> None:
        put = object.__setattr__
        put(self, "failures", failures)
        put(self, "of", of)
        put(self, "pause", seconds(pause, "pause"))
        if not 1 <= failures <= of:
            raise ValueError(f"failures={failures!r}, of={of!r}: at least one failure, and no more than the attempts")
        if not 0 < self.pause <= 3600:
            raise ValueError(f"pause={pause!r}: more than 0 s, at most 3,600 s (1 h)")


class Limit(Protocol):
    """Says how many deliveries may be taken now."""

    async def ask(self, most: int) -> tuple[int, float]:
        """Return how many of `most` (at least 1) may be taken now, and where that is 0, after how many seconds to ask.

        Takes nothing yet. Raises whatever it has no answer for.
        """

    async def took(self, count: int) -> None:
        """Note that so many came."""

    async def aclose(self) -> None:
        """Free what it holds."""


class Shared(Protocol):
    """Where a limit is kept that several processes share."""

    async def spend(self, per_second: float, burst: int, count: int) -> float:
        """Take `count` (0 to look) out of the bucket, and return what is in it by then; below 0 it is in debt."""

    async def aclose(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True, slots=True, eq=False)
class RateLimit:
    """Takes so many messages each second, and up to `burst` at once after a time with fewer; retries count.

    `burst` None is what comes in one second, at least 1. The same object given to several handlers of an app is one
    limit for all of them. With `shared` (polybus.flow_redis.InRedis) it is one for every process that shares it; each
    may have asked for as many as were free when another took them, and then waits the longer.
    """

    per_second: float
    burst: int | None = None
    shared: Shared | None = None

    def __post_init__(self) -> None:
        if not 0 < self.per_second < math.inf:
            raise ValueError(f"per_second={self.per_second!r}: more than 0")
        if self.burst is not None and self.burst < 1:
            raise ValueError(f"burst={self.burst!r}: at least 1")

    @property
    def most(self) -> int:
        """How many may be taken at once."""
        return max(1, math.ceil(self.per_second)) if self.burst is None else self.burst

    def bucket(self, clock: Clock) -> Limit:
        """Return what counts, full at first."""
        return Bucket(self, clock) if self.shared is None else _SharedBucket(self, self.shared)


@dataclass(frozen=True, slots=True)
class PerKey:
    """Handles at most `most` messages of one key at a time, of a source without order; others go on.

    `by` gives the key: the name of an attribute, or a function of the message. What has none waits for nobody. What
    waits for its key keeps its lease, `waiting` messages at most: while there are so many nothing more is taken. Each
    process counts its own.
    """

    most: int = 1
    by: str | Callable[[Message], str | None] = ""
    waiting: int = 100

    def __post_init__(self) -> None:
        if self.most < 1 or self.waiting < 1:
            raise ValueError(f"most={self.most!r}, waiting={self.waiting!r}: at least 1")
        if not self.by:
            raise ValueError(f"by={self.by!r}: the name of an attribute, or a function of the message")

    def key_of(self, message: Message) -> str | None:
        """Return the key of a message; None or "" is none."""
        key = message.attributes.get(self.by) if isinstance(self.by, str) else self.by(message)
        return key or None


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """`calls` at once, over all handlers of an app that are given it; where they want more, higher priorities go first.

    Of `turns` calls that begin while messages of a lower priority wait, one is for these, so that none starves. Those
    of one priority take turns. While what has a higher priority waits for its call, no more than one message of each
    source of a lower one is taken, beside what a receive that is under way brings.
    """

    calls: int
    turns: int = 10

    def __post_init__(self) -> None:
        if self.calls < 1:
            raise ValueError(f"calls={self.calls!r}: at least 1")
        if self.turns < 2:
            raise ValueError(f"turns={self.turns!r}: at least 2, of which one is for what has a lower priority")


class Bucket:
    """Tokens that flow in at the rate of a limit, up to its burst; by one process's clock."""

    def __init__(self, limit: RateLimit, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._tokens = float(limit.most)
        self._at = clock.monotonic()

    def _fill(self) -> float:
        now = self._clock.monotonic()
        self._tokens = min(self._tokens + (now - self._at) * self._limit.per_second, float(self._limit.most))
        self._at = now
        return self._tokens

    async def ask(self, most: int) -> tuple[int, float]:
        return allowed(self._limit, self._fill(), most)

    async def took(self, count: int) -> None:
        self._tokens = self._fill() - count

    async def aclose(self) -> None:
        pass


class _SharedBucket:
    def __init__(self, limit: RateLimit, shared: Shared) -> None:
        self._limit = limit
        self._shared = shared

    async def ask(self, most: int) -> tuple[int, float]:
        return allowed(self._limit, await self._shared.spend(self._limit.per_second, self._limit.most, 0), most)

    async def took(self, count: int) -> None:
        await self._shared.spend(self._limit.per_second, self._limit.most, count)

    async def aclose(self) -> None:
        await self._shared.aclose()


def allowed(limit: RateLimit, tokens: float, most: int) -> tuple[int, float]:
    """Return how many of `most` a bucket with `tokens` in it allows, and else after how many seconds it will."""
    whole = int(tokens + CLOSE)
    if whole > 0:
        return min(most, whole), 0.0
    worth = min(most, limit.most, max(1, int(limit.per_second * SLICE)))
    return 0, (worth - tokens) / limit.per_second
