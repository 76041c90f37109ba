"""What handlers need while they run, opened and closed in a task of its own."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from polybus.app.ending import bounded
from polybus.clock import Clock
from polybus.errors import AppFailed

__all__ = ["LifespanTask"]

_log = logging.getLogger("polybus.app")


class LifespanTask:
    """Runs a lifespan from its start to its end in one task, so that an end that hangs keeps nobody else.

    `context` has the context variables that it set. `on_failed` is told where it ends before it is asked to.
    """

    def __init__(
        self,
        manager: AbstractAsyncContextManager[Any],
        name: str,
        clock: Clock,
        on_failed: Callable[[BaseException], None],
    ) -> None:
        self._manager = manager
        self._name = name
        self._clock = clock
        self._on_failed = on_failed
        self._started = asyncio.Event()
        self._ending = asyncio.Event()
        self._error: BaseException | None = None
        self._leaving: BaseException | None = None
        self._suppressed = False
        self.context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None

    async def start(self, patience: float) -> None:
        """Return once the lifespan has yielded; raise what it raised instead.

        Cancelling it cancels the start, which then has `patience` seconds.
        """
        task = self._task = asyncio.create_task(self._live(), name=f"polybus lifespan {self._name}")
        started = asyncio.create_task(self._started.wait())
        try:
            await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await self._wait(task, patience, "start, which was cancelled,")
            raise
        finally:
            started.cancel()
        if not self._started.is_set():
            self._raise(task, "start")
        task.add_done_callback(self._over)

    async def _live(self) -> None:
        try:
            await self._manager.__aenter__()
            self.context = contextvars.copy_context()
            self._started.set()
            try:
                await self._ending.wait()
            except asyncio.CancelledError as cancelled:  # by itself, as a task group does whose task failed
                if not await self._manager.__aexit__(type(cancelled), cancelled, cancelled.__traceback__):
                    raise
                return
            error = self._error
            kind, trace = (type(error), error.__traceback__) if error is not None else (None, None)
            self._suppressed = bool(await self._manager.__aexit__(kind, error, trace))
        except (SystemExit, KeyboardInterrupt) as leaving:
            self._leaving = leaving  # raised where someone waits: out of a task, it would break the loop off

    def _over(self, task: asyncio.Task[None]) -> None:
        if not self._ending.is_set():
            error = None if task.cancelled() else task.exception() or self._leaving
            self._on_failed(error or AppFailed(f"lifespan {self._name} ended, though nobody asked it to"))

    async def end(self, error: BaseException | None, seconds: float) -> bool:
        """Run what is after the `yield`, where `error` is raised if there is one; say whether it was suppressed.

        After `seconds` it is cancelled, and then left to itself. Raises what it raised, AppFailed where it hung.
        """
        task = self._task
        assert task is not None  # noqa: S101 - start comes first
        if task.done():
            return False  # it was told of by `on_failed`
        self._error = error
        self._ending.set()
        if not await self._wait(task, seconds, "end"):
            raise AppFailed(f"the end of lifespan {self._name} took longer than {seconds:.1f} s")
        self._raise(task, "end")
        return self._suppressed

    async def _wait(self, task: asyncio.Task[None], seconds: float, what: str) -> bool:
        in_time = await bounded(self._clock, task, seconds)
        if not in_time:
            still = "" if task.done() else "; it doesn't end for that, and is left to itself"
            _log.error("the %s of lifespan %s hangs: cancelled after %.1f s%s", what, self._name, seconds, still)
        return in_time

    def _raise(self, task: asyncio.Task[None], what: str) -> None:
        if task.cancelled():
            raise AppFailed(f"the {what} of lifespan {self._name} was cancelled, and not by polybus")
        error = task.exception() or self._leaving
        if error is not None and error is not self._error:
            raise error
