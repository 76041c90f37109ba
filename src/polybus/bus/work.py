"""What goes through dead letters (here: letters), and leaves none leased to nobody when it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from polybus.binding import Entity
from polybus.bus.operating import OperatedBus
from polybus.bus.scan import WINDOW, Scan
from polybus.clock import wait_for
from polybus.errors import BusClosed, PolybusError

if TYPE_CHECKING:
    from polybus.bus.receiver import Receiver

__all__ = ["Work"]

_log = logging.getLogger("polybus")

# Seconds that a cancelled call waits for its letters to be given back; after them it goes on without its caller.
PATIENCE = 1.0


class Work:
    """What goes through dead letters, in a task of its own: it is told to stop, and never cancelled.

    So no call of the driver is cut off, whose letters would stay leased to nobody (contract, D12), and what was put
    back is removed.
    """

    def __init__(self, bus: OperatedBus, letters: Entity) -> None:
        self._bus = bus
        self._letters = letters
        self.stopping = False
        self.receiver: Receiver | None = None
        self._scan: Scan | None = None
        self._task: asyncio.Task[None] | None = None

    async def run(self, ended: Callable[[], None]) -> None:
        """Go through them; cancelled, end soon, and give back what is held. `ended` is called once all is.

        Raises BusClosed where it was told to stop before it was done.
        """
        task = self._task = asyncio.get_running_loop().create_task(self._run())
        task.add_done_callback(lambda done: ended())
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self.stop()
            await self.ended(PATIENCE)
            raise
        if self.stopping:
            raise BusClosed(f"the bus was closed while the dead letters of {self._letters.name!r} were gone through")

    def stop(self) -> None:
        """Take nothing more."""
        self.stopping = True
        if self._scan is not None:
            self._scan.stop()

    async def ended(self, seconds: float) -> None:
        """Wait for its end, at most so long; what goes wrong then is logged."""
        task = self._task
        if task is None:
            return
        task.add_done_callback(_look_at)
        try:
            await wait_for(self._bus.clock, asyncio.wait([task]), seconds)
        except TimeoutError:
            _log.warning("a look at the dead letters of %r goes on until its call ends", self._letters.name)

    async def _run(self) -> None:
        receiver = self.receiver = await self._bus.open_receiver(self._letters, window=WINDOW)
        scan = self._scan = Scan(self._bus, receiver, self._letters)
        try:
            if not self.stopping:
                await self._go_through(scan)
        finally:
            await receiver.drain(0)  # gives back what was not put back
        if not self.stopping:
            await scan.all_back()

    async def _go_through(self, scan: Scan) -> None:
        raise NotImplementedError


def _look_at(task: asyncio.Task[None]) -> None:
    """Say what went wrong in a call that nobody waits for any more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        level = logging.WARNING if isinstance(error, PolybusError) else logging.ERROR
        _log.log(level, "what was cancelled among dead letters failed as it ended: %s", error)
