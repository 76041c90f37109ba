"""The base of consumers of a system that can only be asked what is there now."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from polybus.backend.consumer import BaseConsumer
from polybus.backend.driver import BaseDriver
from polybus.backend.polled import Polled
from polybus.binding import Entity
from polybus.clock import wait_for
from polybus.driver import Received
from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["PollingConsumer"]

R = TypeVar("R")

# The least wait, in seconds, for what is due: clocks of two machines are never quite the same.
_TICK = 0.001
# A wait that ends sooner than this, in seconds, with nothing there, is quick: another consumer was faster. After so
# many in a row each is followed by a pause, so that a `wait` that doesn't wait is no busy loop.
_QUICK = 0.01
_QUICK_IN_A_ROW = 3
_PAUSE = 0.05
# Seconds that a `wait` has to end once it is cancelled.
_ENDING = 5.0


class PollingConsumer(BaseConsumer[R]):
    """Receives from a system that can only be asked what is there now, again and again."""

    def __init__(self, driver: BaseDriver, source: Entity) -> None:
        super().__init__(driver, source)
        self._end_wait: Callable[[], None] = _nothing

    @abstractmethod
    async def poll(self, count: int) -> tuple[Sequence[Polled[R]], float | None]:
        """Lease up to `count` of what is there now, without waiting; say in how many seconds something falls due.

        What falls due is the end of a delay or of a lease of anybody's; None where nothing will, or nobody knows. It is
        looked at only where nothing was there. One poll at a time, none after `stop`, and what it returns is always
        handed on.
        """

    async def wait(self, seconds: float) -> None:
        """Wait until something may be there, or for about `seconds`; it may end sooner for no reason.

        What came between the last poll and this call must end it too. It is cancelled once the time is over by the
        bus's clock, and at `stop`, and must end then. Here it sleeps for a second at most, as for systems that tell
        nobody what comes.
        """
        await self.clock.sleep(min(seconds, 1.0))

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[R]]:
        """Poll, and wait, until there is something, the time is over, or `stop` is called."""
        await asyncio.sleep(0)  # a poll may never wait, and a busy consumer must not keep the event loop to itself
        now = self.clock.monotonic
        deadline, quick = now() + wait, 0
        while not self.stopping:
            began = now()
            batch, due = await self.poll(count)
            if batch:
                return [self.received(each, began) for each in batch]
            waits = now()
            if waits >= deadline or self.stopping:
                break
            until = deadline if due is None else min(deadline, max(began + due, waits + _TICK))
            await self._until(until - waits, self.wait(until - waits))
            quick = quick + 1 if now() - waits < _QUICK else 0
            if quick > _QUICK_IN_A_ROW:
                await self._until(_PAUSE, self.clock.sleep(_PAUSE))
        return []

    async def stop(self) -> Sequence[Received[R]]:
        """End intake: a receive that waits returns at once, one that polls with what it brings."""
        self.stopping = True
        self._end_wait()
        return []

    async def _until(self, seconds: float, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for `waiting`, so many seconds at most, or until `stop`; raise what it raises."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        task = asyncio.ensure_future(waiting)
        task.add_done_callback(end)
        timer = self.clock.call_later(seconds, end)
        self._end_wait = end
        try:
            if not self.stopping:
                await over
        finally:
            self._end_wait = _nothing
            timer.cancel()
            task.cancel()
            if not task.done():  # else the next poll would run beside what is left of it
                with contextlib.suppress(TimeoutError):
                    await wait_for(self.clock, asyncio.wait([task]), _ENDING)
        if not task.done():
            detail = f"{self.driver.name}: wait() doesn't end when it is cancelled; a bug of this backend"
            raise BackendError(Fault(FaultKind.INTERNAL, detail))
        if not task.cancelled():
            task.result()


def _nothing() -> None:
    pass
