"""A FIFO queue: message groups, each in order, where what is in flight holds up what comes after it."""

from __future__ import annotations

import heapq
import math
from collections import deque

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.sqs.dedup import DedupWindow
from polybus.localcloud.aws.sqs.message import DELAYED, GONE, IN_FLIGHT, READY, Message
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.settings import Settings
from polybus.localcloud.aws.timeline import Timeline

__all__ = ["FifoQueue"]


class _Group:
    """The messages of one group that are not in flight, a heap by order, and the orders of those that are.

    While a receive is `taking` from it, nothing else opens it.
    """

    __slots__ = ("_lowest", "in_flight", "key", "pending", "queued", "taking")

    def __init__(self, key: str) -> None:
        self.key = key
        self.pending: list[tuple[int, Message]] = []
        self.in_flight: set[int] = set()
        self._lowest: list[int] = []  # a heap of in_flight, which may still have what left it
        self.queued = False
        self.taking = False

    def head(self) -> Message | None:
        while self.pending and self.pending[0][1].state == GONE:
            heapq.heappop(self.pending)
        return self.pending[0][1] if self.pending else None

    def lease(self, message: Message) -> None:
        self.in_flight.add(message.order)
        heapq.heappush(self._lowest, message.order)

    @property
    def bound(self) -> float:
        """The order from which on messages are held up: that of the first in flight."""
        while self._lowest and self._lowest[0] not in self.in_flight:
            heapq.heappop(self._lowest)
        return self._lowest[0] if self._lowest else math.inf


class FifoQueue(Queue):
    """A message in flight holds up those of its group that come after it, until it is deleted or visible again."""

    fifo = True

    def __init__(
        self, arn: Arn, uid: str, settings: Settings, *, tags: dict[str, str], rows: Rows, timeline: Timeline
    ) -> None:
        super().__init__(arn, uid, settings, tags=tags, rows=rows, timeline=timeline)
        self.dedup = DedupWindow(f"sqs/{uid}", rows)
        self._groups: dict[str, _Group] = {}
        self._open: deque[_Group] = deque()

    def add(self, message: Message, delay: float) -> None:
        super().add(message, delay)
        if message.state == DELAYED:
            heapq.heappush(self._group(message).pending, (message.order, message))

    def restore(self, message: Message) -> None:
        super().restore(message)
        if message.state == DELAYED:
            heapq.heappush(self._group(message).pending, (message.order, message))
        elif message.state == IN_FLIGHT:
            self._group(message).lease(message)

    def take(
        self, limit: int, visibility: float, now: float, max_receives: int | None
    ) -> tuple[list[Message], list[Message]]:
        taken: list[Message] = []
        dead: list[Message] = []
        # With a visibility of 0 what was taken is available again at once: each group is asked once a call.
        for _ in range(len(self._open)):
            if len(taken) >= limit:
                break
            group = self._open.popleft()
            group.queued = False
            bound = group.bound
            leased: list[Message] = []
            group.taking = True
            while len(taken) + len(leased) < limit:
                message = group.head()
                if message is None or message.state != READY or message.order > bound:
                    break
                heapq.heappop(group.pending)
                if not self._spent(message, now, max_receives, dead):
                    leased.append(message)
            for message in leased:
                group.lease(message)
                self._lease(message, visibility, now)
            taken += leased
            group.taking = False
            self._refresh(group)
        return taken, dead

    def clear(self) -> None:
        """Forget every message, and that there were any: the same deduplication id is accepted again (recorded)."""
        super().clear()
        self.dedup.clear()

    @property
    def available(self) -> int:
        return len(self._open)

    def _group(self, message: Message) -> _Group:
        key = message.group or ""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key)
        return group

    def _refresh(self, group: _Group) -> None:
        if group.taking or group.queued:
            return
        head = group.head()
        if head is None:
            if not group.in_flight:
                self._groups.pop(group.key, None)
        elif head.state == READY and head.order < group.bound:
            group.queued = True
            self._open.append(group)

    def _make_available(self, message: Message) -> None:
        group = self._group(message)
        heapq.heappush(group.pending, (message.order, message))
        self._refresh(group)

    def _return(self, message: Message) -> None:
        if message.state == DELAYED:  # it is in its group's heap already
            self.counts[DELAYED] -= 1
            self.counts[READY] += 1
            message.timer = 0
            message.state = READY
            self.rows.save("sqs.message", message)
            self._refresh(self._group(message))
            return
        self._group(message).in_flight.discard(message.order)
        super()._return(message)

    def remove(self, message: Message) -> None:
        group = self._group(message)
        if message.state == IN_FLIGHT:
            group.in_flight.discard(message.order)
        super().remove(message)
        self._refresh(group)
