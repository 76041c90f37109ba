"""Calling a driver so that each call ends in time, and what it gives or ends with is an answer or a fault."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from polybus.clock import Clock
from polybus.driver import BatchLimits
from polybus.errors import BackendError, Fault, FaultKind, PolybusError

__all__ = [
    "CONSUMER",
    "PUBLISHER",
    "Calls",
    "DriverBug",
    "closed",
    "ended",
    "look_at",
    "safe_fault",
    "watch",
    "wrong_answers",
    "wrong_part",
]

T = TypeVar("T")

_log = logging.getLogger("polybus")


class DriverBug(Fault):
    """What is wrong is the driver itself: it breaks a rule of its interface."""

    __slots__ = ()


def safe_fault(fault: Callable[[Exception], Fault], error: BaseException) -> Fault:
    """Return what a driver says of an exception; INTERNAL, with the types' names, where the driver fails at that.

    What polybus itself raises (a BindingError, say) says what to do, and is no business of the driver's `fault`.
    """
    if isinstance(error, BackendError):
        return error.fault
    if isinstance(error, PolybusError):
        return Fault(FaultKind.INVALID, f"{type(error).__qualname__}: {error}")
    if isinstance(error, asyncio.CancelledError):
        detail = "the driver's call ended cancelled, though nobody cancelled it; a bug of this backend"
        return DriverBug(FaultKind.INTERNAL, detail)
    if not isinstance(error, Exception):
        return DriverBug(FaultKind.INTERNAL, f"the driver raised {type(error).__qualname__}; a bug of this backend")
    try:
        answer: object = fault(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as failed:  # noqa: BLE001 - a driver's bug must not cost the caller its answer
        detail = f"the driver's fault() raised {type(failed).__qualname__} for {type(error).__qualname__}"
        return DriverBug(FaultKind.INTERNAL, f"{detail}; a bug of this backend")
    if not isinstance(answer, Fault):
        detail = f"the driver's fault() gave {type(answer).__qualname__} for {type(error).__qualname__}"
        return DriverBug(FaultKind.INTERNAL, f"{detail}; a bug of this backend")
    return answer


class Calls:
    """Calls one driver; each call ends in time, and never raises for what the driver does."""

    def __init__(self, fault: Callable[[Exception], Fault], clock: Clock) -> None:
        self._fault = fault
        self._clock = clock

    def fault(self, error: BaseException) -> Fault:
        """Say what an exception of the driver means; never raises."""
        return safe_fault(self._fault, error)

    async def bounded(self, call: Coroutine[Any, Any, T], seconds: float, what: str) -> T | Fault:
        """Return what `call` gives, or a Fault: the driver's for what it raised, TIMEOUT after `seconds`.

        `what` names it in the timeout's text. A call that is over its time is cancelled and left to itself, since it
        may swallow its cancellation: it may have been done. A call that ends cancelled though nobody cancelled it is
        INTERNAL. Cancelling the caller cancels the call, and doesn't wait for it either.
        """
        task = asyncio.ensure_future(call)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        task.add_done_callback(end)
        timer = self._clock.call_later(max(seconds, 0.0), end)
        try:
            await over
        except asyncio.CancelledError:
            task.cancel()
            task.add_done_callback(look_at)
            raise
        finally:
            timer.cancel()
        if not task.done():
            task.cancel()
            task.add_done_callback(look_at)
            return Fault(FaultKind.TIMEOUT, f"{what}: no answer within {seconds:.1f} s; it may have been done")
        if task.cancelled():
            detail = f"{what}: the driver's call ended cancelled, though nobody cancelled it; a bug of this backend"
            return DriverBug(FaultKind.INTERNAL, detail)
        error = task.exception()
        return task.result() if error is None else self.fault(error)


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


# What is called of each.
PUBLISHER = ("prepare", "publish_batch", "aclose")
CONSUMER = ("receive_batch", "settle_batch", "extend_batch", "stop", "aclose")


def wrong_answers(answers: object, count: int, kinds: Any) -> str | None:
    """Say what is wrong with a driver's answers for `count` items; None where nothing is."""
    if not isinstance(answers, Sequence):
        return repr(answers)
    if len(answers) != count:
        return f"{len(answers)} answers"
    odd: list[object] = [each for each in answers if not isinstance(each, kinds)]
    return f"a {type(odd[0]).__qualname__} among its answers" if odd else None


def wrong_part(part: object, calls: Sequence[str]) -> str | None:
    """Say what is wrong with what a driver gave for a publisher or a consumer; None where nothing is.

    It is asked as it is opened: later it would be met in the middle of what can't be told to anyone, a settlement, or a
    batch that takes nothing of what waits, again and again.
    """
    try:
        missing = next((name for name in calls if not callable(getattr(part, name, None))), None)
        limits: object = None if missing else part.limits  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - a property may raise anything
        return f"a {type(part).__qualname__} whose parts raise {type(error).__qualname__}"
    if missing is not None:
        return f"a {type(part).__qualname__} without {missing}()"
    if not isinstance(limits, BatchLimits) or limits.count < 1:
        return f"a {type(part).__qualname__} with the limits {limits!r}"
    return None
