"""The messages of one ordering key in one subscription."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from polybus.localcloud.pubsub.message import Entry

if TYPE_CHECKING:
    from polybus.localcloud.pubsub.consumer import Consumer

__all__ = ["KeyQueue"]


class KeyQueue:
    """`sent` are delivered and not yet final, `waiting` are to come; both in the order of their publishing.

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
