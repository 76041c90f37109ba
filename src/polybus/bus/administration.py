"""Calls of a backend's administration: opened with the first, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from polybus.bus.calls import ended, look_at, safe_fault
from polybus.clock import Clock
from polybus.driver import AdminDriver, Driver
from polybus.errors import BackendError, Fault, FaultKind, PolybusError

__all__ = ["Administration"]

T = TypeVar("T")

# Seconds that a call which was cancelled has to give back what it holds: as long as drivers have to close.
GIVE_BACK = 2.0


class Administration:
    """The administration of one bus's backend; for one event loop."""

    def __init__(self, clock: Clock, deadline: float) -> None:
        self._clock = clock
        self._deadline = deadline
        self._opened: AdminDriver | None = None
        self._one_opens = asyncio.Lock()

    async def call(
        self, driver: Driver, function: Callable[[AdminDriver], Awaitable[T]], seconds: float | None = None
    ) -> T:
        """Run one call, for so many seconds; the publisher's deadline where None.

        Raises BackendError where the backend fails it or gives no answer; what polybus itself refuses is raised as it
        is. Cancelled, it waits for what the driver has to give back, for some seconds.
        """
        seconds = self._deadline if seconds is None else seconds

        async def call() -> T:
            return await function(self._opened or await self._open(driver))

        calling = asyncio.create_task(call())
        try:
            answered = await ended(self._clock, calling, seconds)
        except asyncio.CancelledError:
            calling.cancel()
            calling.add_done_callback(look_at)
            await ended(self._clock, calling, GIVE_BACK)
            raise
        if not answered:
            calling.cancel()
            calling.add_done_callback(look_at)
            raise BackendError(Fault(FaultKind.TIMEOUT, f"no answer within {seconds:g} s; it may have been done"))
        error = asyncio.CancelledError() if calling.cancelled() else calling.exception()
        if error is None:
            return calling.result()
        if isinstance(error, PolybusError | KeyboardInterrupt | SystemExit):
            raise error
        raise BackendError(safe_fault(driver.fault, error)) from error

    async def _open(self, driver: Driver) -> AdminDriver:
        async with self._one_opens:
            if self._opened is None:
                self._opened = await driver.open_admin()
            return self._opened

    async def aclose(self) -> None:
        """Close it, where it was opened."""
        if self._opened is not None:
            await self._opened.aclose()
