"""Deliveries that a handler may have now, and those who wait for one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from polybus.bus.delivery import Delivery, State

__all__ = ["Ready"]


class Ready:
    """A queue for one event loop; whoever waits is woken in the order in which they came."""

    def __init__(self) -> None:
        self._queue: deque[Delivery] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, delivery: Delivery) -> None:
        """Add a delivery, and wake one who waits."""
        self._queue.append(delivery)
        self._wake_one()

    def take(self) -> Delivery | None:
        """Remove and return the first that is still held, None where there is none."""
        while self._queue:
            delivery = self._queue.popleft()
            if delivery.state is State.HELD:
                return delivery
        return None

    def clear(self) -> None:
        """Forget all of them."""
        self._queue.clear()

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
            elif waiter.done() and self._queue:
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
