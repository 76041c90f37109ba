"""Waiting for what may never end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from polybus.clock import Clock
from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["closed", "ended", "look_at", "watch"]

_log = logging.getLogger("polybus")


async def ended(clock: Clock, waiting: Awaitable[Any], seconds: float) -> bool:
    """Say whether `waiting` ended within `seconds`; neither cancels it nor raises what it ended with."""
    future = asyncio.ensure_future(waiting)
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    future.add_done_callback(end)
    timer = clock.call_later(max(seconds, 0.0), end)
    try:
        await over
    finally:
        timer.cancel()
        future.remove_done_callback(end)
    return future.done()


def closed(closing: asyncio.Task[None], what: str) -> None:
    """Raise what closing a part of the driver ended with, but never its cancellation: nobody here asked for that."""
    if closing.cancelled():
        detail = f"closing {what} ended cancelled, though nobody cancelled it; a bug of this backend"
        raise BackendError(Fault(FaultKind.INTERNAL, detail))
    error = closing.exception()
    if error is None:
        return
    if isinstance(error, Exception):
        raise error
    detail = f"closing {what} raised {type(error).__qualname__}; a bug of this backend"
    raise BackendError(Fault(FaultKind.INTERNAL, detail)) from error


def look_at(done: asyncio.Future[Any]) -> None:
    """Take the outcome of what nobody waits for any more, so that asyncio doesn't report it."""
    if not done.cancelled():
        done.exception()


def watch(task: asyncio.Task[Any], what: str, broken: Callable[[str], None]) -> None:
    """Call `broken` with a text where a task ends otherwise than by returning: cancelled, or with an exception."""

    def look(done: asyncio.Task[Any]) -> None:
        if done.cancelled():
            broken(f"{what} was cancelled by somebody else")
        elif (error := done.exception()) is not None:
            _log.error("%s ended with an error", what, exc_info=error)
            broken(f"{what} ended with {type(error).__qualname__}: {error}")

    task.add_done_callback(look)
