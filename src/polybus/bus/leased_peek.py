"""Peeking at dead letters (here: letters) where a backend has to lease them for that.

Few are held at a time, and none longer than the look.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

from polybus.binding import Entity
from polybus.bus.held import HeldDelivery
from polybus.bus.operating import OperatedBus
from polybus.bus.scan import HOLD, WINDOW, Scan
from polybus.bus.work import Work
from polybus.driver import Peeked
from polybus.errors import PolybusError

__all__ = ["leased_peek"]


async def leased_peek(bus: OperatedBus, letters: Entity, count: int) -> AsyncGenerator[Peeked, None]:
    """Yield up to `count` dead letters, each once; they are looked at while whoever asked reads on.

    Left early, it returns once all can be seen again by others; cancelled, it gives back what it holds and ends soon.
    """
    leased = _LeasedPeek(bus, letters, count)
    running = asyncio.get_running_loop().create_task(bus.run(leased))
    running.add_done_callback(lambda done: leased.changed.set())
    try:
        while (page := await leased.page(running)) is not None:
            for peeked in page:
                yield peeked
        await running
    except GeneratorExit:
        leased.finish()
        with contextlib.suppress(PolybusError):  # who reads no further has what was asked for
            await running
        raise
    finally:
        if not running.done():
            running.cancel()
            await asyncio.wait([running])


class _LeasedPeek(Work):
    """Looks ahead of who reads by as many letters as a look may hold, and holds none while it waits for that."""

    def __init__(self, bus: OperatedBus, letters: Entity, count: int) -> None:
        super().__init__(bus, letters)
        self._left = count
        self._pages: deque[list[Peeked]] = deque()
        self._ahead = 0
        self._taken = asyncio.Event()
        self.changed = asyncio.Event()
        """Set when there is another page, or the look has ended."""

    async def page(self, running: asyncio.Task[None]) -> list[Peeked] | None:
        """Return the next page, or None once there is none any more."""
        while not self._pages:
            if running.done():
                return None
            self.changed.clear()
            await self.changed.wait()
        page = self._pages.popleft()
        self._ahead -= len(page)
        self._taken.set()
        return page

    def finish(self) -> None:
        """Look no further; unlike `stop` this is no interruption."""
        self._left = 0
        self._taken.set()
        if self._scan is not None:
            self._scan.stop()

    def stop(self) -> None:
        super().stop()
        self._taken.set()

    async def _go_through(self, scan: Scan) -> None:
        while not self.stopping and self._left > 0:
            letters = await scan.next(min(WINDOW, self._left))
            if not letters:
                return
            scan.keep(letters)
            self._left -= len(letters)
            self._ahead += len(letters)
            self._pages.append([_peeked(letter) for letter in letters])
            self.changed.set()
            if self._ahead >= HOLD:
                await self._wait_for_reader(scan)

    async def _wait_for_reader(self, scan: Scan) -> None:
        await scan.release()
        while self._ahead >= WINDOW and not self.stopping and self._left > 0:
            self._taken.clear()
            await self._taken.wait()


def _peeked(letter: HeldDelivery) -> Peeked:
    received = letter.received
    position = received.token or letter.id
    return Peeked(position, letter.message, 0, received.reason, received.description, received.at)
