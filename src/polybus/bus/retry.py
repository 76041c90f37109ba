"""Trying again, and how long to wait before."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from polybus.clock import Clock, wait_for
from polybus.driver import Driver
from polybus.errors import BackendError

__all__ = ["Attempts", "RetryPolicy", "backoff"]

T = TypeVar("T")
_log = logging.getLogger("polybus")

# Not for secrets: it spreads retries in time.
_random = random.Random()  # noqa: S311


def backoff(initial: float, maximum: float, attempt: int) -> float:
    """Return the seconds to wait after the `attempt`-th failure (from 1).

    `initial`, doubling up to `maximum`, of which the upper half is random: the lower half keeps a floor under the wait,
    the upper spreads callers that failed together.
    """
    whole = min(maximum, initial * 2.0 ** min(attempt - 1, 60))
    return whole * _random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits between tries of one call, in seconds: from `initial`, doubling to `maximum`, with jitter."""

    initial: float = 0.1
    maximum: float = 10.0

    def wait(self, attempt: int, at_least: float | None = None) -> float:
        """Return the wait after the `attempt`-th failure; `at_least` is what the cloud asked for."""
        return max(backoff(self.initial, self.maximum, attempt), at_least or 0.0)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Repeats what a driver can't do now, for up to `deadline` seconds."""

    driver: Driver
    clock: Clock
    policy: RetryPolicy
    deadline: float

    async def at(self, what: str, call: Callable[[], Awaitable[T]], stop: asyncio.Event | None = None) -> T:
        """Return what `call` gives; the first failure is logged as one of `what`.

        Raises BackendError for what no retry mends, when the deadline is over, and as soon as `stop` is set between
        two calls: one that is under way is never cut off.
        """
        end = self.clock.monotonic() + self.deadline
        attempt = 0
        while True:
            attempt += 1
            try:
                return await call()
            except Exception as error:
                fault = self.driver.fault(error)
                wait = self.policy.wait(attempt, fault.retry_after)
                if not fault.retryable or self.clock.monotonic() + wait >= end:
                    raise BackendError(fault) from error
                level = logging.WARNING if attempt == 1 else logging.DEBUG
                _log.log(level, "%s failed, next try in %.1f s: %s", what, wait, fault)
                if await self._stopped(wait, stop):
                    raise BackendError(fault) from error

    async def _stopped(self, seconds: float, stop: asyncio.Event | None) -> bool:
        """Wait, and say whether `stop` was set meanwhile."""
        if stop is None:
            await self.clock.sleep(seconds)
            return False
        try:
            return await wait_for(self.clock, stop.wait(), seconds)
        except TimeoutError:
            return False
