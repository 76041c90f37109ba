"""How much a publisher may hold at once (contract, P7)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

__all__ = ["Gate"]


class Gate:
    """Lets messages in while there is room, in the order in which they asked.

    One message is always let in, however large, when nothing else is inside: otherwise it would wait for ever.
    """

    def __init__(self, count: int, total_bytes: int) -> None:
        self._count = count
        self._bytes = total_bytes
        self.count = 0
        self.bytes = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    def try_enter(self, size: int) -> bool:
        """Take the room for `size` bytes if it is there and nobody waits for it."""
        if self._waiting or not self._fits(size):
            return False
        self._take(size)
        return True

    async def enter(self, size: int) -> None:
        """Wait for the room for `size` bytes, and take it; cancellable."""
        if self.try_enter(size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(size)  # its turn had come in the same moment
            else:
                with contextlib.suppress(ValueError):  # it was passed over already
                    self._waiting.remove((turn, size))
                self._admit()
            raise

    def leave(self, size: int) -> None:
        """Give the room back."""
        self.count -= 1
        self.bytes -= size
        if self._waiting:
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][1]):
            turn, size = self._waiting.popleft()
            if not turn.done():
                self._take(size)
                turn.set_result(None)

    def _take(self, size: int) -> None:
        self.count += 1
        self.bytes += size

    def _fits(self, size: int) -> bool:
        return self.count == 0 or (self.count < self._count and self.bytes + size <= self._bytes)
