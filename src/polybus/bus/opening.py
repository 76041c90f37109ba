"""Opening a driver's publisher, for as long as something waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from polybus.bus.calls import PUBLISHER, Calls, DriverBug, wrong_part
from polybus.bus.options import PublisherOptions
from polybus.bus.outage import Outage
from polybus.clock import Clock
from polybus.driver import PublisherDriver
from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["Opening"]

# A driver that breaks the rules of its interface is asked so often.
TRIES_OF_BUGS = 3


class Opening:
    """Opens once it is wanted, and tries again what may pass; `opened` or `failed` is called with what came of it.

    Each try may take the publisher's deadline, by which whoever waits has given up (contract, P5). After a failure it
    begins anew when it is wanted again.
    """

    def __init__(
        self,
        open: Callable[[], Awaitable[PublisherDriver[Any]]],
        target: str,
        *,
        outage: Outage,
        calls: Calls,
        clock: Clock,
        options: PublisherOptions,
        wanted: Callable[[], bool],
        opened: Callable[[PublisherDriver[Any]], None],
        failed: Callable[[Fault], None],
    ) -> None:
        self._open = open
        self._target = target
        self._outage = outage
        self._calls = calls
        self._clock = clock
        self._options = options
        self._wanted = wanted
        self._opened = opened
        self._failed = failed
        self._task: asyncio.Task[None] | None = None
        self._fault: Fault | None = None

    def want(self) -> None:
        """Begin, unless it is under way."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def last(self) -> str:
        """Return what the last try failed with, to be put behind a text."""
        return f"; last: {self._fault}" if self._fault is not None else ""

    async def aclose(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            answer = await self._try()
        finally:
            self._task = None
        if answer is None:
            return
        if not isinstance(answer, Fault):
            try:
                self._opened(answer)
            except Exception as error:  # noqa: BLE001 - what a driver gives for a publisher may be anything
                answer = self._calls.fault(error)
        if isinstance(answer, Fault):
            self._failed(answer)

    async def _try(self) -> PublisherDriver[Any] | Fault | None:
        """Return the publisher, why there is none, or None where nobody waits for it any more."""
        tries = bugs = 0
        while True:
            tries += 1
            what = f"publishing to {self._target!r}"
            answer = await self._calls.bounded(self._call(), self._options.deadline, what)
            if not isinstance(answer, Fault):
                self._outage.over()
                return answer
            self._fault = answer
            bugs += isinstance(answer, DriverBug)
            if not answer.retryable or bugs == TRIES_OF_BUGS:
                return answer
            wait = self._options.retry.wait(tries, answer.retry_after)
            self._outage.failed(answer, wait)
            await self._clock.sleep(wait)
            if not self._wanted():
                return None

    async def _call(self) -> PublisherDriver[Any]:
        opened = await self._open()
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # the driver swallowed it, and nobody waits for the answer
            await opened.aclose()
        if (wrong := wrong_part(opened, PUBLISHER)) is not None:
            detail = f"publishing to {self._target!r}: the driver gave {wrong}; a bug of this backend"
            raise BackendError(DriverBug(FaultKind.INVALID, detail))
        return opened
