"""In what order a publisher's messages may leave (contract, P6).

Messages without an ordering key share one lane, from which any number of batches may take. Every ordering key has a
lane of its own, from which one batch at a time takes: what a key sends next waits until what it sent before is known
to be accepted, so that nothing overtakes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.errors import Fault
from polybus.message import Sent

__all__ = ["DONE", "QUEUED", "SENDING", "WAITING", "Item", "Lanes", "Listener"]

Listener = Callable[[Sent | Fault], None]


# How far a message has come. Plain numbers: a look at an Enum's member takes five times as long (timeit, CPython 3.11),
# and each message has several.
WAITING = 0  # for room, or for its publisher to open
QUEUED = 1  # in its lane
SENDING = 2  # in a batch, until its outcome is known
DONE = 3


class Item:
    """A message on its way, and its outcome once that is known.

    `blocks` says whether its failure holds up its key: not where polybus made the key, which no other message has.
    `known`, where somebody waits for the outcome, is done once that is there; so is `room`, where somebody waits for
    that, once there is room for the message. `batch` names the task that sends it.
    `turn` is the place in which it waited at the gate, where it is one of many of a call.
    """

    __slots__ = (
        "batch",
        "blocks",
        "deadline",
        "failed",
        "key",
        "known",
        "listener",
        "outcome",
        "outgoing",
        "prepared",
        "room",
        "size",
        "stage",
        "turn",
    )

    def __init__(
        self,
        outgoing: Outgoing,
        deadline: float,
        listener: Listener | None = None,
        blocks: bool = True,
    ) -> None:
        self.outgoing = outgoing
        self.key = outgoing.message.ordering_key
        self.blocks = blocks
        self.deadline = deadline
        self.listener = listener
        self.outcome: Sent | Fault | None = None
        self.known: asyncio.Future[None] | None = None
        self.prepared: Prepared[Any] | None = None
        self.size = 0
        self.stage = WAITING
        self.failed = False
        self.room: asyncio.Future[None] | None = None
        self.batch: object = None
        self.turn: Any = None


class _Lane:
    __slots__ = ("items", "key", "sending")

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.items: deque[Item] = deque()
        self.sending = 0
        """How many of a key's messages are in a batch: none other may leave before their outcomes are known."""


class Lanes:
    """What waits to be sent to one target; `count` and `bytes` are of what may leave now, or after a lane frees."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._lanes: dict[str | None, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self.count = 0
        self.bytes = 0

    def __bool__(self) -> bool:
        """Say whether something may leave now."""
        return bool(self._ready)

    @property
    def full(self) -> bool:
        """Whether what may leave now fills a batch."""
        if self._limits.repeats_key or None in self._lanes:
            return self.count >= self._limits.count or self.bytes >= self._limits.total_bytes
        return len(self._ready) >= self._limits.count or self.bytes >= self._limits.total_bytes

    def add(self, item: Item) -> None:
        item.stage = QUEUED
        lane = self._lanes.get(item.key)
        if lane is None:
            lane = self._lanes[item.key] = _Lane(item.key)
        if not lane.items and not lane.sending:
            self._ready.append(lane)
        lane.items.append(item)
        self.count += 1
        self.bytes += item.size

    def take(self) -> list[Item]:
        """Remove and return the next batch; its keys' lanes are closed until each of their messages is `done`."""
        batch: list[Item] = []
        room = self._limits.total_bytes
        for _ in range(len(self._ready)):
            if len(batch) >= self._limits.count:
                break
            lane = self._ready.popleft()
            room = self._take_from(lane, batch, room)
            if not lane.sending:
                if lane.items:
                    self._ready.append(lane)
                elif lane.key is None:
                    del self._lanes[None]
            if batch and not self._limits.mixes_keys:
                break
        return batch

    def done(self, item: Item) -> None:
        """Note the outcome of a message with a key that was taken; after the last of its key, the lane opens again."""
        key = item.key
        lane = self._lanes[key]
        lane.sending -= 1
        if lane.sending:
            return
        if lane.items:
            self._ready.append(lane)
        else:
            del self._lanes[key]

    def clear(self, key: str) -> list[Item]:
        """Remove and return all that waits in a key's lane."""
        lane = self._lanes.get(key)
        if lane is None:
            return []
        items = list(lane.items)
        lane.items.clear()
        self._close_empty(lane)
        self._forget(items)
        return items

    def remove(self, item: Item) -> None:
        """Remove one message that waits in its lane."""
        lane = self._lanes[item.key]
        lane.items.remove(item)
        if not lane.items:
            self._close_empty(lane)
        self._forget([item])

    def _close_empty(self, lane: _Lane) -> None:
        if not lane.sending:
            self._ready.remove(lane)
            del self._lanes[lane.key]

    def _take_from(self, lane: _Lane, batch: list[Item], room: int) -> int:
        keyed = lane.key is not None
        most = 1 if keyed and not self._limits.repeats_key else self._limits.count
        taken: list[Item] = []
        while lane.items and len(taken) < most and len(batch) < self._limits.count:
            size = lane.items[0].size
            if size > room and batch:
                break
            item = lane.items.popleft()
            item.stage = SENDING
            room -= size
            batch.append(item)
            taken.append(item)
        if keyed:
            lane.sending += len(taken)
        self._forget(taken)
        return room

    def _forget(self, items: list[Item]) -> None:
        self.count -= len(items)
        self.bytes -= sum([item.size for item in items])
