"""One at a time within a group, in the order of receipt (contract, D10)."""

from __future__ import annotations

from collections import deque

from polybus.bus.delivery import Delivery

__all__ = ["Groups"]


class Lane:
    """A group's deliveries: the first may be handled, the others wait for it."""

    __slots__ = ("first", "name", "waiting")

    def __init__(self, name: str, first: Delivery) -> None:
        self.name = name
        self.first = first
        self.waiting: deque[Delivery] = deque()


class Groups:
    """The lanes of one source; deliveries without a group pass freely and have no lane."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}
        self.waiting = 0
        """How many deliveries wait behind others of their group."""

    def add(self, delivery: Delivery) -> bool:
        """Put a delivery behind those of its group; say whether it may be handled now."""
        group = delivery.received.group
        if group is None:
            return True
        lane = self._lanes.get(group)
        if lane is None:
            delivery.lane = self._lanes[group] = Lane(group, delivery)
            return True
        delivery.lane = lane
        lane.waiting.append(delivery)
        self.waiting += 1
        return False

    def is_first(self, delivery: Delivery) -> bool:
        """Say whether nothing of its group is before it."""
        return delivery.lane is None or delivery.lane.first is delivery

    def replace(self, old: Delivery, new: Delivery) -> None:
        """Let `new`, another attempt of the same message, take the place of the first of its lane."""
        new.lane = old.lane
        new.lane.first = new

    def advance(self, done: Delivery) -> Delivery | None:
        """Remove the settled first of its lane, and return the one that may be handled now."""
        lane: Lane = done.lane
        while lane.waiting:
            lane.first = lane.waiting.popleft()
            self.waiting -= 1
            if not lane.first.lost:
                return lane.first
        self._close(lane)
        return None

    def close(self, delivery: Delivery) -> list[Delivery]:
        """Remove a delivery that is lost or given back, and return all that were behind it, in order."""
        lane: Lane = delivery.lane
        if lane.first is not delivery:
            later = list(lane.waiting)
            behind = later[later.index(delivery) + 1 :] if delivery in later else []
            lane.waiting = deque(waiting for waiting in later if waiting is not delivery and waiting not in behind)
            self.waiting -= len(later) - len(lane.waiting)
            return behind
        behind = list(lane.waiting)
        self.waiting -= len(behind)
        lane.waiting.clear()
        self._close(lane)
        return behind

    def _close(self, lane: Lane) -> None:
        if self._lanes.get(lane.name) is lane:
            del self._lanes[lane.name]
