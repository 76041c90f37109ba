"""Which message is next: in one line, or in one line for each ordering key."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain

import msgspec

from polybus.message import Message

__all__ = ["Entry", "FairLine", "Groups", "Line"]


# gc=False: an entry leads to its message and nowhere back, and what waits needn't be walked through by the collector.
class Entry(msgspec.Struct, eq=False, gc=False):
    """A message in one subscription or queue.

    `since` is the monotonic time at which it came here, `at` the time of day then. `lease` is the monotonic time at
    which its lease ends, 0 without one. `due` is when it may be delivered, 0 where that is now. `attempt` counts the
    attempts at handling it, which those who give it back may set. `claim` is the number of its last lease, which no
    other lease has.
    """

    seq: int
    message: Message
    since: float
    at: float
    moves: int
    expires: float
    attempt: int = 0
    claim: int = 0
    lease: float = 0.0
    due: float = 0.0
    reason: str | None = None
    description: str | None = None


Lease = Callable[[Entry], bool]
"""Lease an entry; False where it is not to be delivered (it expired, or was dead-lettered)."""


class Line:
    """Messages without order. Those that come back go before those that never left."""

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: deque[Entry] = deque()

    def __bool__(self) -> bool:
        """Whether there is something to take."""
        return bool(self._ready)

    def add(self, entry: Entry) -> None:
        if not entry.due:
            self._ready.append(entry)

    def due(self, entry: Entry) -> None:
        """Take note that the delay of an entry is over."""
        self._ready.appendleft(entry)

    def back(self, entry: Entry) -> None:
        """Take back what was leased."""
        if not entry.due:
            self._ready.appendleft(entry)

    def done(self, entry: Entry) -> None:
        """Forget what was leased."""

    def take(self, count: int, lease: Lease) -> list[Entry]:
        """Lease up to `count` entries."""
        ready = self._ready
        taken: list[Entry] = []
        while ready and len(taken) < count:
            entry = ready.popleft()
            if lease(entry):
                taken.append(entry)
        return taken

    def keep(self, alive: Callable[[Entry], bool]) -> None:
        """Forget what waits and isn't alive."""
        self._ready = deque(entry for entry in self._ready if alive(entry))


class FairLine:
    """Messages without order, of several tenants, who have one message each in their turn."""

    __slots__ = ("_ring", "_tenant_of", "_tenants")

    def __init__(self, tenant_of: Callable[[Message], str]) -> None:
        self._tenant_of = tenant_of
        self._tenants: dict[str, deque[Entry]] = {}
        # Those with something to take, each once; who gets something only now comes after all of them.
        self._ring: deque[str] = deque()

    def __bool__(self) -> bool:
        """Whether there is something to take."""
        return bool(self._ring)

    def add(self, entry: Entry) -> None:
        if not entry.due:
            self._of(entry).append(entry)

    def due(self, entry: Entry) -> None:
        self._of(entry).appendleft(entry)

    def back(self, entry: Entry) -> None:
        if not entry.due:
            self._of(entry).appendleft(entry)

    def done(self, entry: Entry) -> None:
        """Forget what was leased."""

    def take(self, count: int, lease: Lease) -> list[Entry]:
        taken: list[Entry] = []
        ring = self._ring
        while ring and len(taken) < count:
            tenant = ring.popleft()
            waiting = self._tenants[tenant]
            while waiting:
                entry = waiting.popleft()
                if lease(entry):
                    taken.append(entry)
                    break
            if waiting:
                ring.append(tenant)
            else:
                del self._tenants[tenant]
        return taken

    def keep(self, alive: Callable[[Entry], bool]) -> None:
        for tenant, waiting in list(self._tenants.items()):
            kept = deque(entry for entry in waiting if alive(entry))
            if kept:
                self._tenants[tenant] = kept
            else:
                del self._tenants[tenant]
                self._ring.remove(tenant)

    def _of(self, entry: Entry) -> deque[Entry]:
        tenant = self._tenant_of(entry.message)
        waiting = self._tenants.get(tenant)
        if waiting is None:
            waiting = self._tenants[tenant] = deque()
            self._ring.append(tenant)
        return waiting


class _Group:
    __slots__ = ("key", "leased", "queued", "waiting")

    def __init__(self, key: str) -> None:
        self.key = key
        self.waiting: deque[Entry] = deque()  # by seq
        self.leased = 0
        self.queued = False


class Groups:
    """Messages in order within each ordering key: a key with one that is leased, or delayed at its head, waits."""

    __slots__ = ("_groups", "_ready")

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._ready: deque[_Group] = deque()

    def __bool__(self) -> bool:
        return bool(self._ready)

    def add(self, entry: Entry) -> None:
        key = entry.message.ordering_key or ""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key)
        group.waiting.append(entry)
        if not group.queued:
            self._queue(group)

    def due(self, entry: Entry) -> None:
        self._queue(self._groups[entry.message.ordering_key or ""])

    def back(self, entry: Entry) -> None:
        group = self._groups[entry.message.ordering_key or ""]
        place = 0
        for place, other in enumerate(chain(group.waiting, (None,))):  # noqa: B007 - the place is what is looked for
            if other is None or other.seq > entry.seq:
                break
        group.waiting.insert(place, entry)
        group.leased -= 1
        self._queue(group)

    def done(self, entry: Entry) -> None:
        group = self._groups[entry.message.ordering_key or ""]
        group.leased -= 1
        self._queue(group)

    def take(self, count: int, lease: Lease) -> list[Entry]:
        # Spread over the keys that are ready, so that handlers can work on as many as there are; what is taken of one
        # key comes in its order and blocks the key until all of it is settled.
        taken: list[Entry] = []
        ready = self._ready
        while ready and len(taken) < count:
            share = -(-(count - len(taken)) // len(ready))
            group = ready.popleft()
            group.queued = False
            waiting = group.waiting
            while waiting and share and not waiting[0].due:
                entry = waiting.popleft()
                if lease(entry):
                    taken.append(entry)
                    group.leased += 1
                    share -= 1
            if not group.leased:
                self._queue(group)
        return taken

    def keep(self, alive: Callable[[Entry], bool]) -> None:
        self._ready.clear()
        for group in list(self._groups.values()):
            group.waiting = deque(entry for entry in group.waiting if alive(entry))
            group.queued = False
            self._queue(group)

    def _queue(self, group: _Group) -> None:
        if group.queued or group.leased:
            return
        if not group.waiting:
            self._groups.pop(group.key, None)
        elif not group.waiting[0].due:
            group.queued = True
            self._ready.append(group)
