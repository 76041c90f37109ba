"""Deliveries that a handler may have now, and those who wait for one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from polybus.bus.held import HeldDelivery, State

__all__ = ["Ready"]


class Ready:
    """A queue for one event loop; whoever waits is woken in the order in which they came.

    Whoever takes from `queue` looks whether what it took is still held. It is public because a call to ask for each
    message took a tenth of what receiving takes.
    """

    def __init__(self) -> None:
        self.queue: deque[HeldDelivery] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def put(self, delivery: HeldDelivery) -> None:
        """Add a delivery, and wake one who waits."""
        queue = self.queue
        # What is no longer held stays until it is taken; where nobody takes any, it is dropped as others come.
        while queue and queue[0].state is not State.HELD:
            queue.popleft()
        queue.append(delivery)
        if self._waiters:
            self._wake_one()

    async def wait(self) -> None:
        """Return once there may be something to take, or `wake_all` was called."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with contextlib.suppress(ValueError):  # it was passed over already
                    self._waiters.remove(waiter)
            elif waiter.done() and self.queue:
                self._wake_one()  # it was told of a delivery that it will not take
            raise

    def wake_all(self) -> None:
        """Wake everyone who waits."""
        while self._waiters:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
