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

from polybus.driver import BatchLimits, Prepared
from polybus.errors import Fault
from polybus.message import Sent

__all__ = ["Item", "Lanes"]


class Item:
    """A message on its way, and who waits for its outcome."""

    __slots__ = ("attempts", "deadline", "future", "key", "listener", "prepared")

    def __init__(
        self,
        prepared: Prepared[Any],
        future: asyncio.Future[Sent | Fault],
        deadline: float,
        listener: Callable[[Sent | Fault], None] | None,
    ) -> None:
        self.prepared = prepared
        self.key = prepared.outgoing.message.ordering_key
        self.future = future
        self.deadline = deadline
        self.listener = listener
        self.attempts = 0


class _Lane:
    __slots__ = ("busy", "items", "key")

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.items: deque[Item] = deque()
        self.busy = False


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
        lane = self._lanes.get(item.key)
        if lane is None:
            lane = self._lanes[item.key] = _Lane(item.key)
        if not lane.items and not lane.busy:
            self._ready.append(lane)
        lane.items.append(item)
        self.count += 1
        self.bytes += item.prepared.size

    def take(self) -> list[Item]:
        """Remove and return the next batch; its keys' lanes are closed until `release`."""
        batch: list[Item] = []
        room = self._limits.total_bytes
        for _ in range(len(self._ready)):
            if len(batch) >= self._limits.count:
                break
            lane = self._ready.popleft()
            room = self._take_from(lane, batch, room)
            if lane.key is None or not lane.busy:
                if lane.items:
                    self._ready.append(lane)
                elif lane.key is None:
                    del self._lanes[None]
            if batch and not self._limits.mixes_keys:
                break
        return batch

    def release(self, key: str | None) -> None:
        """Open a key's lane again: what was taken from it is known to be accepted, or given up."""
        lane = self._lanes.get(key)
        if key is None or lane is None:
            return
        lane.busy = False
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
        if not lane.busy:
            self._ready.remove(lane)
            del self._lanes[key]
        self._forget(items)
        return items

    def _take_from(self, lane: _Lane, batch: list[Item], room: int) -> int:
        keyed = lane.key is not None
        most = 1 if keyed and not self._limits.repeats_key else self._limits.count
        taken: list[Item] = []
        while lane.items and len(taken) < most and len(batch) < self._limits.count:
            size = lane.items[0].prepared.size
            if size > room and batch:
                break
            item = lane.items.popleft()
            room -= size
            batch.append(item)
            taken.append(item)
        if keyed and taken:
            lane.busy = True
        self._forget(taken)
        return room

    def _forget(self, items: list[Item]) -> None:
        self.count -= len(items)
        self.bytes -= sum(item.prepared.size for item in items)
