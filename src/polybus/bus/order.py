"""What a handler may have next: one at a time within a group, in the order of receipt (contract, D10)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from polybus.bus.held import HeldDelivery, State

__all__ = ["Groups", "Ready"]


class Group:
    """A group's deliveries: the first may be handled, the others wait for it."""

    __slots__ = ("first", "name", "waiting")

    def __init__(self, name: str, first: HeldDelivery) -> None:
        self.name = name
        self.first = first
        self.waiting: deque[HeldDelivery] = deque()


class Groups:
    """The groups of one source, each of deliveries that share an ordering key; those without a key pass freely."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self.waiting = 0
        """How many deliveries wait behind others of their group."""

    def add(self, delivery: HeldDelivery) -> bool:
        """Put a delivery behind those of its group; say whether it may be handled now."""
        name = delivery.received.group
        if name is None:
            return True
        group = self._groups.get(name)
        if group is None:
            delivery.group = self._groups[name] = Group(name, delivery)
            return True
        delivery.group = group
        group.waiting.append(delivery)
        self.waiting += 1
        return False

    def is_first(self, delivery: HeldDelivery) -> bool:
        """Say whether nothing of its group is before it."""
        return delivery.group is None or delivery.group.first is delivery

    def replace(self, old: HeldDelivery, new: HeldDelivery) -> None:
        """Let `new`, another attempt of the same message, take the place of the first of its group."""
        new.group = old.group
        new.group.first = new

    def advance(self, done: HeldDelivery) -> HeldDelivery | None:
        """Remove the settled first of its group, and return the one that may be handled now."""
        group: Group = done.group
        while group.waiting:
            group.first = group.waiting.popleft()
            self.waiting -= 1
            if not group.first.lost:
                return group.first
        self._close(group)
        return None

    def close(self, delivery: HeldDelivery) -> list[HeldDelivery]:
        """Remove a delivery that is lost or given back, and return all that were behind it, in order."""
        group: Group = delivery.group
        if group.first is not delivery:
            later = list(group.waiting)
            behind = later[later.index(delivery) + 1 :] if delivery in later else []
            group.waiting = deque(waiting for waiting in later if waiting is not delivery and waiting not in behind)
            self.waiting -= len(later) - len(group.waiting)
            return behind
        behind = list(group.waiting)
        self.waiting -= len(behind)
        group.waiting.clear()
        self._close(group)
        return behind

    def _close(self, group: Group) -> None:
        if self._groups.get(group.name) is group:
            del self._groups[group.name]


class Ready:
    """A queue for one event loop; whoever waits is woken in the order in which they came.

    Whoever takes from `queue` looks whether what it took is still held. It is public because a call to ask for each
    message took a tenth of what receiving takes.
    """

    def __init__(self) -> None:
        self.queue: deque[HeldDelivery] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def put(self, delivery: HeldDelivery) -> None:
        """Add a delivery, and wake one who waits."""
        queue = self.queue
        # What is no longer held stays until it is taken; where nobody takes any, it is dropped as others come.
        while queue and queue[0].state is not State.HELD:
            queue.popleft()
        queue.append(delivery)
        if self._waiters:
            self._wake_one()

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
            elif waiter.done() and self.queue:
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
