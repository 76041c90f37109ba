"""Calling a driver so that each call ends in time, and whatever it ends with is a fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from polybus.clock import Clock
from polybus.errors import BackendError, Fault, FaultKind, PolybusError

__all__ = ["Calls", "DriverBug", "safe_fault"]

T = TypeVar("T")


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
            task.add_done_callback(_look_at)
            raise
        finally:
            timer.cancel()
        if not task.done():
            task.cancel()
            task.add_done_callback(_look_at)
            return Fault(FaultKind.TIMEOUT, f"{what}: no answer within {seconds:.1f} s; it may have been done")
        if task.cancelled():
            detail = f"{what}: the driver's call ended cancelled, though nobody cancelled it; a bug of this backend"
            return DriverBug(FaultKind.INTERNAL, detail)
        error = task.exception()
        return task.result() if error is None else self.fault(error)


def _look_at(task: asyncio.Future[Any]) -> None:
    """Take the outcome of a call that nobody waits for any more, so that asyncio doesn't report it."""
    if not task.cancelled():
        task.exception()
