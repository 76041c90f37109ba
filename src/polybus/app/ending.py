"""Waiting for what may never end, and leaving it behind."""

from __future__ import annotations

import asyncio
from typing import Any

from polybus.clock import Clock

__all__ = ["DRAIN", "bounded", "forsake", "over_within"]

# What a drain may take beyond the grace of its handlers, in seconds (contract, D12). Platforms kill 30 s after SIGTERM
# unless told otherwise; what handlers don't need of it must be enough to give back, settle and disconnect.
DRAIN = 10.0
# A cancelled end has this long, in seconds, to come to one.
_CANCELLED = 0.5


async def over_within(clock: Clock, task: asyncio.Future[Any], seconds: float) -> bool:
    """Wait for a task, at most `seconds`; say whether it is over. It is neither cancelled nor asked for its result."""
    if task.done():
        return True
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    task.add_done_callback(end)
    timer = clock.call_later(max(seconds, 0.0), end)
    try:
        await over
    finally:
        timer.cancel()
        task.remove_done_callback(end)
    return task.done()


async def bounded(clock: Clock, task: asyncio.Task[Any], seconds: float) -> bool:
    """Wait for a task, at most `seconds`; say whether it was over by then.

    One that is over its time is cancelled; where it doesn't end then either, it is forsaken. Nothing that the task
    raises is raised here. Cancelling the caller doesn't cut the time short: it is raised at the end.
    """
    cancelled: asyncio.CancelledError | None = None
    in_time = True
    end = clock.monotonic() + seconds
    while not task.done():
        left = end - clock.monotonic()
        if left <= 0:
            if not in_time:
                forsake(task)
                break
            in_time = False
            end = clock.monotonic() + _CANCELLED
            task.cancel()
            continue
        try:
            await over_within(clock, task, left)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return in_time


def forsake(task: asyncio.Task[Any]) -> None:
    """Have nobody wait for a task that doesn't end, `asyncio.run` included, and nobody report it.

    A task that swallows each cancellation would keep `asyncio.run` for ever. `_unregister_task` is what asyncio names
    for those who keep tasks of their own; `_log_destroy_pending` is its switch for a task that is meant to be dropped.
    """
    if not task.done():
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.add_done_callback(_look_at)
        asyncio._unregister_task(task)


def _look_at(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
