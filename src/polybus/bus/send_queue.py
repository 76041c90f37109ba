"""In what order a publisher's messages may leave (contract, P6).

Messages without an ordering key share one queue, from which any number of batches may take. Every ordering key has a
queue of its own, from which one batch at a time takes: what a key sends next waits until what it sent before is known
to be accepted, so that nothing overtakes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.errors import Fault
from polybus.message import Sent

__all__ = ["DONE", "QUEUED", "SENDING", "WAITING", "Item", "Listener", "SendQueue"]

Listener = Callable[[Sent | Fault], None]


# How far a message has come. Plain numbers: a look at an Enum's member takes five times as long (timeit, CPython 3.11),
# and each message has several.
WAITING = 0  # for room, or for its publisher to open
QUEUED = 1  # in the queue of its key
SENDING = 2  # in a batch, until its outcome is known
DONE = 3


# gc=False: ten thousand may be under way, and the collector's walks through them are a tenth of the CPU of a message.
# They lead back to themselves by whoever waits for them and by the task that sends them, and only until that is done.
class Item(msgspec.Struct, eq=False, gc=False):
    """A message on its way, and its outcome once that is known.

    `blocks` says whether its failure holds up its key: not where polybus made the key, which no other message has.
    `known`, where somebody waits for the outcome, is done once that is there; so is `room`, where somebody waits for
    that, once there is room for the message. `batch` names the task that sends it.
    `turn` is the place in which it waited for room, where it is one of many of a call. `last` is what its latest try
    failed with.
    """

    outgoing: Outgoing
    deadline: float
    listener: Listener | None = None
    blocks: bool = True
    key: str | None = None
    outcome: Sent | Fault | None = None
    known: asyncio.Future[None] | None = None
    prepared: Prepared[Any] | None = None
    size: int = 0
    stage: int = WAITING
    failed: bool = False
    room: asyncio.Future[None] | None = None
    batch: object = None
    turn: Any = None
    last: Fault | None = None

    def __post_init__(self) -> None:
        self.key = self.outgoing.message.ordering_key


class _KeyQueue:
    __slots__ = ("items", "key", "sending")

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.items: deque[Item] = deque()
        self.sending = 0
        """How many of a key's messages are in a batch: none other may leave before their outcomes are known."""


class SendQueue:
    """What waits to be sent to one target; `count` and `bytes` are of what may leave now, or once its key is free."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._by_key: dict[str | None, _KeyQueue] = {}
        self._ready: deque[_KeyQueue] = deque()
        self.count = 0
        self.bytes = 0

    def __bool__(self) -> bool:
        """Say whether something may leave now."""
        return bool(self._ready)

    @property
    def full(self) -> bool:
        """Whether what may leave now fills a batch."""
        if self._limits.repeats_key or None in self._by_key:
            return self.count >= self._limits.count or self.bytes >= self._limits.total_bytes
        return len(self._ready) >= self._limits.count or self.bytes >= self._limits.total_bytes

    def add(self, item: Item) -> None:
        item.stage = QUEUED
        key_queue = self._by_key.get(item.key)
        if key_queue is None:
            key_queue = self._by_key[item.key] = _KeyQueue(item.key)
        if not key_queue.items and not key_queue.sending:
            self._ready.append(key_queue)
        key_queue.items.append(item)
        self.count += 1
        self.bytes += item.size

    def take(self) -> list[Item]:
        """Remove and return the next batch; its keys send no more until each of their messages is `done`."""
        batch: list[Item] = []
        room = self._limits.total_bytes
        for _ in range(len(self._ready)):
            if len(batch) >= self._limits.count:
                break
            key_queue = self._ready.popleft()
            room = self._take_from(key_queue, batch, room)
            if not key_queue.sending:
                if key_queue.items:
                    self._ready.append(key_queue)
                elif key_queue.key is None:
                    del self._by_key[None]
            if batch and not self._limits.mixes_keys:
                break
        return batch

    def done(self, item: Item) -> None:
        """Note the outcome of a message with a key that was taken; after the last of its key, the key sends again."""
        key = item.key
        key_queue = self._by_key[key]
        key_queue.sending -= 1
        if key_queue.sending:
            return
        if key_queue.items:
            self._ready.append(key_queue)
        else:
            del self._by_key[key]

    def clear(self, key: str) -> list[Item]:
        """Remove and return all that waits of a key."""
        key_queue = self._by_key.get(key)
        if key_queue is None:
            return []
        items = list(key_queue.items)
        key_queue.items.clear()
        self._close_empty(key_queue)
        self._forget(items)
        return items

    def remove(self, item: Item) -> None:
        """Remove one message that waits."""
        key_queue = self._by_key[item.key]
        key_queue.items.remove(item)
        if not key_queue.items:
            self._close_empty(key_queue)
        self._forget([item])

    def _close_empty(self, key_queue: _KeyQueue) -> None:
        if not key_queue.sending:
            self._ready.remove(key_queue)
            del self._by_key[key_queue.key]

    def _take_from(self, key_queue: _KeyQueue, batch: list[Item], room: int) -> int:
        keyed = key_queue.key is not None
        most = 1 if keyed and not self._limits.repeats_key else self._limits.count
        taken: list[Item] = []
        while key_queue.items and len(taken) < most and len(batch) < self._limits.count:
            size = key_queue.items[0].size
            if size > room and batch:
                break
            item = key_queue.items.popleft()
            item.stage = SENDING
            room -= size
            batch.append(item)
            taken.append(item)
        if keyed:
            key_queue.sending += len(taken)
        self._forget(taken)
        return room

    def _forget(self, items: list[Item]) -> None:
        self.count -= len(items)
        self.bytes -= sum([item.size for item in items])
