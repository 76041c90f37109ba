"""Whoever takes messages from a subscription: a stream, a unary pull, a push worker; and its flow control."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polybus.localcloud.pubsub.ordering import KeyQueue

__all__ = ["UNLIMITED", "Consumer"]

UNLIMITED = 1 << 62


class Consumer:
    """What one consumer has out, and how much more it takes.

    `ack_seconds` is the length of the leases it is given. A `sticky` consumer keeps an ordering key, and gets more of
    it, as long as any of that key is out; another gets one batch of it. `per_key` bounds what is out of one key.
    """

    __slots__ = (
        "ack_seconds",
        "error",
        "keys",
        "max_bytes",
        "max_messages",
        "open",
        "out",
        "out_bytes",
        "per_key",
        "share",
        "sticky",
        "waiter",
    )

    def __init__(
        self,
        ack_seconds: float,
        *,
        max_messages: int = UNLIMITED,
        max_bytes: int = UNLIMITED,
        per_key: int = UNLIMITED,
        sticky: bool = False,
    ) -> None:
        self.ack_seconds = ack_seconds
        self.max_messages = max_messages if max_messages > 0 else UNLIMITED
        self.max_bytes = max_bytes if max_bytes > 0 else UNLIMITED
        self.per_key = per_key
        self.sticky = sticky
        self.open = True
        self.out = 0
        self.out_bytes = 0
        self.share = 0
        self.keys: deque[KeyQueue] = deque()
        self.error: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None

    @property
    def room(self) -> int:
        """How many more messages it takes now."""
        return self.max_messages - self.out if self.out_bytes < self.max_bytes else 0

    @property
    def idle(self) -> bool:
        """Whether it waits to be woken."""
        return self.waiter is not None

    def end(self, error: Exception) -> None:
        """Take no more; whoever serves it finds `error`."""
        self.open = False
        self.error = error
        self.wake()

    def check(self) -> None:
        """Raise what it was ended with."""
        if self.error is not None:
            raise self.error

    def wake(self) -> None:
        """Let `wait` return."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self) -> None:
        """Return after the next `wake`; one caller at a time."""
        self.waiter = asyncio.get_running_loop().create_future()
        await self.waiter
