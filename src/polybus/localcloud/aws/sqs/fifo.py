"""A FIFO queue: message groups, each in order and with one receive's messages out at a time."""

from __future__ import annotations

import heapq
from collections import deque

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.journal import Journal
from polybus.localcloud.aws.sqs.dedup import DedupWindow
from polybus.localcloud.aws.sqs.message import DELAYED, GONE, IN_FLIGHT, READY, Message
from polybus.localcloud.aws.sqs.queue import Queue
from polybus.localcloud.aws.sqs.settings import Settings
from polybus.localcloud.aws.timeline import Timeline

__all__ = ["FifoQueue"]


class _Group:
    """The messages of one group that are not in flight, a heap by order, and how many are in flight."""

    __slots__ = ("in_flight", "key", "pending", "queued")

    def __init__(self, key: str) -> None:
        self.key = key
        self.pending: list[tuple[int, Message]] = []
        self.in_flight = 0
        self.queued = False

    def head(self) -> Message | None:
        while self.pending and self.pending[0][1].state == GONE:
            heapq.heappop(self.pending)
        return self.pending[0][1] if self.pending else None


class FifoQueue(Queue):
    """A group with messages in flight gives out no more until all of them are deleted or visible again."""

    fifo = True

    def __init__(
        self, arn: Arn, uid: str, settings: Settings, *, tags: dict[str, str], journal: Journal, timeline: Timeline
    ) -> None:
        super().__init__(arn, uid, settings, tags=tags, journal=journal, timeline=timeline)
        self.dedup = DedupWindow(f"sqs/{uid}", journal)
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
            self._group(message).in_flight += 1

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
            if group.in_flight:
                continue
            leased: list[Message] = []
            group.in_flight = 1  # held, so that nothing below opens it again before it is known what is leased
            while len(taken) + len(leased) < limit:
                message = group.head()
                if message is None or message.state != READY:
                    break
                heapq.heappop(group.pending)
                if not self._spent(message, now, max_receives, dead):
                    leased.append(message)
            group.in_flight += len(leased)
            for message in leased:
                self._lease(message, visibility, now)
            taken += leased
            group.in_flight -= 1
            self._refresh(group)
        return taken, dead

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
        if group.in_flight:
            return
        head = group.head()
        if head is None:
            if not group.queued:
                self._groups.pop(group.key, None)
        elif head.state == READY and not group.queued:
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
            self.journal.save("sqs.message", message)
            self._refresh(self._group(message))
            return
        self._group(message).in_flight -= 1
        super()._return(message)

    def remove(self, message: Message) -> None:
        group = self._group(message)
        if message.state == IN_FLIGHT:
            group.in_flight -= 1
        super().remove(message)
        self._refresh(group)
