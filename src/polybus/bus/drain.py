"""The end of a receiver: within its grace and a few seconds, whatever hangs (contract, D12)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from polybus.bus.calls import closed, ended, look_at
from polybus.bus.held import HeldDelivery
from polybus.bus.intake import Intake
from polybus.bus.lease import LeaseKeeper
from polybus.bus.settle import Settler
from polybus.clock import Clock, Timer
from polybus.driver import ConsumerDriver
from polybus.errors import Fault, FaultKind

__all__ = ["Drain"]

_log = logging.getLogger("polybus")

# Seconds after the grace, of the 10 that platforms leave before they kill (contract, D12). Cancelled handlers have this
# long to end before their deliveries are given back under them: enough for a handler's own clean-up.
CANCEL_GRACE = 2.0
# Until then a call to the backend that is under way is waited for, and what is to be settled is tried again.
CALLS = 5.0
# And this long the backend's consumer has to close.
CLOSE = 2.0


class Drained(Protocol):
    """What a drain needs of its receiver."""

    handler: str

    def left(self) -> list[HeldDelivery]:
        """Return what handlers still have."""

    def take_from(self, deliveries: Iterable[HeldDelivery]) -> None:
        """Give back what handlers don't give back themselves."""

    async def until_empty(self) -> None:
        """Return once nothing is held and no handler runs."""


class Drain:
    """One drain of one receiver; `run` it once."""

    def __init__(
        self,
        receiver: Drained,
        consumer: ConsumerDriver[object],
        source: str,
        *,
        clock: Clock,
        intake: Intake,
        settler: Settler,
        keeper: LeaseKeeper,
    ) -> None:
        self._receiver = receiver
        self._consumer = consumer
        self._source = source
        self._clock = clock
        self._intake = intake
        self._settler = settler
        self._keeper = keeper
        self._grace_over = asyncio.Event()
        self._cut = asyncio.Event()
        self._timers: list[Timer] = []
        self._running = False

    def end_grace(self) -> None:
        """End the grace now, or as soon as the drain begins."""
        self._grace_over.set()
        if self._running:
            self._after(CALLS, self._cut)

    async def run(self, grace: float) -> None:
        """Wait for handlers within the grace, for the backend a few seconds longer, and close its consumer."""
        loop = asyncio.get_running_loop()
        self._running = True
        if self._grace_over.is_set():
            grace = 0.0
        self._after(grace, self._grace_over)
        self._after(grace + CALLS, self._cut)
        intake = loop.create_task(self._intake.end())
        handled = loop.create_task(self._handlers_done(intake))
        handled.add_done_callback(lambda done: self._grace_over.set())
        try:
            await self._grace_over.wait()
            if not handled.done():
                handled.cancel()
                await self._interrupt()
            if not await self._in_time(intake):
                self._abandon(intake)
            if not await self._in_time(loop.create_task(self._settler.flush())):
                self._give_up()
        finally:
            for timer in self._timers:
                timer.cancel()
        for task in (handled, intake):
            if task.done():
                look_at(task)
        self._keeper.close()
        await self._close()

    def _after(self, seconds: float, event: asyncio.Event) -> None:
        self._timers.append(self._clock.call_later(seconds, event.set))

    async def _handlers_done(self, intake: asyncio.Task[None]) -> None:
        await asyncio.wait([intake])
        await self._receiver.until_empty()

    async def _in_time(self, task: asyncio.Task[None]) -> bool:
        """Say whether a task ended before the drain's calls are cut off."""
        cut = asyncio.get_running_loop().create_task(self._cut.wait())
        try:
            await asyncio.wait([task, cut], return_when=asyncio.FIRST_COMPLETED)
        finally:
            cut.cancel()
        if task.done():
            return True
        task.cancel()
        task.add_done_callback(look_at)
        return False

    async def _interrupt(self) -> None:
        for delivery in self._receiver.left():
            delivery.cancel()
        if await self._emptied():
            return
        left = self._receiver.left()
        if left:
            _log.warning(
                "drain of %r: %d calls of %s go on %.0f s after they were cancelled, and are waited for no longer: %s",
                self._source,
                len(left),
                self._receiver.handler,
                CANCEL_GRACE,
                ", ".join(f"message {delivery.id}, attempt {delivery.attempt}" for delivery in left[:10]),
            )
        self._receiver.take_from(left)

    async def _emptied(self) -> bool:
        """Say whether everything was handled and settled soon enough."""
        empty = asyncio.get_running_loop().create_task(self._receiver.until_empty())
        try:
            return await ended(self._clock, empty, CANCEL_GRACE)
        finally:
            empty.cancel()

    def _abandon(self, intake: asyncio.Task[None]) -> None:
        _log.warning(
            "drain of %r: the backend does not end its receive; what that still brings comes again when its lease ends",
            self._source,
        )
        self._intake.abandon()

    def _give_up(self) -> None:
        _log.warning(
            "drain of %r: the backend did not answer %d settlements in time; they may have been done, else their "
            "messages come again when their leases end",
            self._source,
            self._settler.open,
        )
        self._settler.end(Fault(FaultKind.LEASE_LOST, "the drain ended before the backend answered"))

    async def _close(self) -> None:
        closing = asyncio.get_running_loop().create_task(self._consumer.aclose())
        if await ended(self._clock, closing, CLOSE):
            closed(closing, f"the consumer of {self._source!r}")
            return
        closing.cancel()
        closing.add_done_callback(look_at)
        _log.warning("drain of %r: the backend's consumer does not close; it is left to itself", self._source)
