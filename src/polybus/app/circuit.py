"""The circuit breaker of one handler: it counts how attempts end, and holds up the consumer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from polybus.bus.consumer import cap, hold
from polybus.bus.delivery import Delivery
from polybus.clock import Clock, Timer
from polybus.errors import DeadLetter, LeaseLost, exit_in, signal_in
from polybus.flow import Breaker

if TYPE_CHECKING:
    from polybus.bus.consumer import Consumer

__all__ = ["Circuit"]

_log = logging.getLogger("polybus.app")
CAUSE = "breaker"


class Circuit:
    """Called in the place of a handler's invoker; opens, tries and closes as `polybus.flow.Breaker` says.

    `consumer` is to be set before the first call.
    """

    consumer: Consumer

    def __init__(
        self, breaker: Breaker, invoker: Callable[[Delivery], Awaitable[None]], name: str, clock: Clock
    ) -> None:
        self._breaker = breaker
        self._invoker = invoker
        self.name = name
        self._clock = clock
        self._failed: deque[bool] = deque(maxlen=breaker.of)
        self._timer: Timer | None = None
        self._trying = False
        # Counts openings and tries: what began before one says nothing after it.
        self._era = 0
        self._closed = False

    def let_go(self, ending: bool) -> None:
        """Have the invoker give back what it hasn't begun with."""
        let_go = getattr(self._invoker, "let_go", None)
        if let_go is not None:
            let_go(ending)
        if ending:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()

    async def __call__(self, delivery: Delivery) -> None:
        era = self._era
        try:
            await self._invoker(delivery)
        except BaseException as error:
            if era == self._era and _counts(error, delivery):
                self._ended(error)
            raise
        if era == self._era:
            self._ended(None)

    def _ended(self, error: BaseException | None) -> None:
        if self._closed:
            return
        if self._trying:
            if error is None:
                self._close()
            else:
                self._open(f"the message that was tried failed, too: {_said(error)}")
            return
        self._failed.append(error is not None)
        failures = sum(self._failed)
        if error is not None and failures >= self._breaker.failures:
            self._open(f"{failures} of the latest {len(self._failed)} attempts failed: {_said(error)}")

    def _open(self, why: str) -> None:
        self._era += 1
        self._trying = False
        self._failed.clear()
        pause = self._breaker.pause
        _log.warning("handler %s: the breaker opens, and nothing is taken for %g s: %s", self.name, pause, why)
        hold(self.consumer, CAUSE, f"the breaker is open, for {pause:g} s at a time: {why}")
        self._timer = self._clock.call_later(pause, self._try)

    def _try(self) -> None:
        self._timer = None
        if self._closed:
            return
        self._era += 1
        self._trying = True
        _log.info("handler %s: the breaker has one message tried", self.name)
        cap(self.consumer, 1)
        hold(self.consumer, CAUSE, None)

    def _close(self) -> None:
        self._era += 1
        self._trying = False
        _log.info("handler %s: the breaker closes: a message was handled", self.name)
        cap(self.consumer, None)


def _counts(error: BaseException, delivery: Delivery) -> bool:
    """Say whether an error tells of more than its message, and is the handler's own."""
    if exit_in(error) is not None or isinstance(error, LeaseLost) or isinstance(signal_in(error), DeadLetter):
        return False
    return not (isinstance(error, asyncio.CancelledError) and (delivery.lost or _is_cut_off()))


def _is_cut_off() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"
