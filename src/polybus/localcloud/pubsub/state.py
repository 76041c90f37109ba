"""What one subscription has: its messages, the queues of their ordering keys, and the consumers that take them.

A consumer is whoever takes messages: a stream, a unary pull, a push worker.
"""

from __future__ import annotations

import asyncio
from collections import deque

from polybus.localcloud.pubsub.message import Message

__all__ = ["NO_LEASE", "UNLIMITED", "Consumer", "Entry", "KeyQueue"]

NO_LEASE = ""
UNLIMITED = 1 << 62


class Entry:
    """One message in one subscription.

    While it is leased, `ack_id` isn't NO_LEASE, and `consumer` and `deadline` (monotonic seconds) say whose and for how
    long. `gone` marks what is acked or expired and may still sit in a queue.
    """

    __slots__ = ("ack_id", "consumer", "deadline", "failures", "gone", "message", "queue")

    def __init__(self, message: Message, failures: int = 0) -> None:
        self.message = message
        self.failures = failures
        self.ack_id = NO_LEASE
        self.deadline = 0.0
        self.gone = False
        self.consumer: Consumer | None = None
        self.queue: KeyQueue | None = None


class KeyQueue:
    """The messages of one ordering key.

    `sent` are delivered and not yet final, `waiting` are to come; both in the order of their publishing.

    What is acked stays in `sent` until all before it are: if one of those fails, it comes again as well. `owner` has
    messages of this key out, `leased` many. `held` is set during a retry backoff, `listed` while some consumer's or the
    subscription's list of keys has this one.
    """

    __slots__ = ("held", "key", "leased", "listed", "owner", "sent", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.sent: deque[Entry] = deque()
        self.waiting: deque[Entry] = deque()
        self.owner: Consumer | None = None
        self.leased = 0
        self.held = False
        self.listed = False

    def take(self, count: int, size: int) -> list[Entry]:
        """Move up to `count` messages from waiting to sent, and no more once they are of `size` bytes."""
        taken: list[Entry] = []
        while self.waiting and len(taken) < count and size > 0:
            entry = self.waiting.popleft()
            if not entry.gone:
                taken.append(entry)
                size -= len(entry.message.wire)
        self.sent.extend(taken)
        return taken

    def restore(self, entry: Entry) -> bool:
        """Take back an entry that was delivered before a restart; say whether it could still come again in its turn."""
        if self.waiting or (entry.gone and not self.sent):
            return False
        self.sent.append(entry)
        return True

    def settle(self) -> list[Entry]:
        """Return, and forget, what has become final: the acked ones that have no unsettled one before them."""
        final: list[Entry] = []
        while self.sent and self.sent[0].gone:
            final.append(self.sent.popleft())
        return final

    def rewind(self, entry: Entry) -> list[Entry]:
        """Put `entry`, and all that were sent after it, back to waiting; return those after it, latest first."""
        later: list[Entry] = []
        while (last := self.sent.pop()) is not entry:
            last.gone = False
            self.waiting.appendleft(last)
            later.append(last)
        self.waiting.appendleft(entry)
        return later

    @property
    def empty(self) -> bool:
        return not self.sent and not self.waiting


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
