"""Trying again, and how long to wait before."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from polybus.bus.calls import ended, safe_fault
from polybus.bus.outage import Outage
from polybus.clock import Clock, wait_for
from polybus.driver import Driver
from polybus.durations import Duration, seconds
from polybus.errors import BackendError, Fault, FaultKind

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


@dataclass(init=False, frozen=True, slots=True)
class RetryPolicy:
    """Waits between tries of one call, in seconds: from `initial`, doubling to `maximum`, with jitter.

    They may be given as text ("100ms") or timedelta, too.
    """

    initial: float = 0.1
    maximum: float = 10.0

    def __init__(self, initial: Duration = 0.1, maximum: Duration = 10.0) -> None:
        object.__setattr__(self, "initial", seconds(initial, "initial"))
        object.__setattr__(self, "maximum", seconds(maximum, "maximum"))

    def wait(self, attempt: int, at_least: float | None = None) -> float:
        """Return the wait after the `attempt`-th failure; `at_least` is what the cloud asked for."""
        return max(backoff(self.initial, self.maximum, attempt), at_least or 0.0)


# Seconds that a call which is under way is still waited for once nobody wants what it brings.
LAST_WAIT = 5.0


class Attempts(msgspec.Struct, frozen=True):
    """Repeats what a driver can't do now, for up to `deadline` seconds."""

    driver: Driver
    clock: Clock
    policy: RetryPolicy
    deadline: float

    async def at(self, what: str, call: Callable[[], Awaitable[T]], stop: asyncio.Event | None = None) -> T:
        """Return what `call` gives; failures are logged as those of `what`, the first and then one a minute.

        Raises BackendError for what no retry mends, when the deadline is over, and soon after `stop` is set. A call
        that is under way by then is waited for 5 seconds more; what it brings after that is closed.
        """
        end = self.clock.monotonic() + self.deadline
        outage = Outage(what, self.clock)
        while True:
            answer = await self._once(call, end - self.clock.monotonic(), stop)
            if not isinstance(answer, _Failed):
                outage.over()
                return answer
            fault = answer.fault
            wait = self.policy.wait(outage.tries + 1, fault.retry_after)
            if not fault.retryable or self.clock.monotonic() + wait >= end or (stop is not None and stop.is_set()):
                raise BackendError(fault) from answer.error
            outage.failed(fault, wait)
            if await self._stopped(wait, stop):
                raise BackendError(fault) from answer.error

    async def _once(self, call: Callable[[], Awaitable[T]], seconds: float, stop: asyncio.Event | None) -> T | _Failed:
        async def within() -> T:
            return await call()

        task = asyncio.ensure_future(within())
        try:
            if not await self._ended(task, max(seconds, 0.0), stop):
                task.cancel()
                task.add_done_callback(_close_late)
                return _Failed(Fault(FaultKind.TIMEOUT, "no answer from the backend in time"), None)
        except asyncio.CancelledError:
            task.cancel()
            task.add_done_callback(_close_late)
            raise
        if task.cancelled():
            detail = "the driver's call ended cancelled, though nobody cancelled it; a bug of this backend"
            return _Failed(Fault(FaultKind.INTERNAL, detail), None)
        error = task.exception()
        return task.result() if error is None else _Failed(safe_fault(self.driver.fault, error), error)

    async def _ended(self, task: asyncio.Future[Any], seconds: float, stop: asyncio.Event | None) -> bool:
        if stop is None:
            return await ended(self.clock, task, seconds)
        stopped = asyncio.ensure_future(stop.wait())
        try:
            first = asyncio.ensure_future(asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED))
            await ended(self.clock, first, seconds)
            first.cancel()
            return task.done() or (stopped.done() and await ended(self.clock, task, LAST_WAIT))
        finally:
            stopped.cancel()

    async def _stopped(self, seconds: float, stop: asyncio.Event | None) -> bool:
        """Wait, and say whether `stop` was set meanwhile."""
        if stop is None:
            await self.clock.sleep(seconds)
            return False
        try:
            return await wait_for(self.clock, stop.wait(), seconds)
        except TimeoutError:
            return False


class _Failed(msgspec.Struct, frozen=True):
    fault: Fault
    error: BaseException | None


_closing: set[asyncio.Task[None]] = set()


def _close_late(task: asyncio.Future[Any]) -> None:
    """Close what came after its deadline, or for a caller who is gone."""
    if task.cancelled() or task.exception() is not None or not hasattr(task.result(), "aclose"):
        return

    async def close() -> None:
        try:
            await task.result().aclose()
        except Exception:  # noqa: BLE001 - nobody waits for it
            _log.warning("what was opened too late did not close", exc_info=True)

    closing = asyncio.get_running_loop().create_task(close())
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)
