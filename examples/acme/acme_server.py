"""Acme, a messaging system for the guide in docs/write-a-backend.md: boxes of messages, in this process.

Elsewhere it would be somebody else's server, and this its SDK. A box keeps messages for its `retention`, leases them,
and moves what was delivered `net` times to its box of `dead` letters; one that is `ordered` leases none of a key that
is out to somebody. A topic is a box without a retention: it passes each message on to the boxes that name it as their
`topic`, by their `filter`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polybus.message import Message
from polybus.topology.filters import parse

__all__ = ["SERVERS", "Busy", "Item", "NoSuchBox", "Server"]


class NoSuchBox(LookupError):
    """There is no box of that name."""


class Busy(RuntimeError):
    """The server has too much to do."""


@dataclass(eq=False, slots=True)
class Item:
    """A message in one box; leased until `until` where `lease`, that lease's number, isn't 0."""

    message: Message
    number: int
    expires: float
    moves: int = 0
    reason: str | None = None
    description: str | None = None
    attempt: int = 0
    lease: int = 0
    until: float = 0.0


class Server:
    """Times are readings of one clock, in seconds, which each call brings along as `now`."""

    def __init__(self) -> None:
        self.boxes: dict[str, Mapping[str, Any]] = {}
        self.changed = asyncio.Event()
        self._items: dict[str, list[Item]] = {}
        self._numbers = itertools.count(1)

    def make(self, box: Mapping[str, Any]) -> None:
        """Make a box, or change one."""
        self.boxes[box["name"]] = box
        self._items.setdefault(box["name"], [])

    def put(self, name: str, message: Message, now: float, *more: Any) -> None:
        """Put a message into a box, or into those that a topic passes it on to."""
        if name not in self.boxes:
            raise NoSuchBox(name)
        fed = [box for box in self.boxes.values() if box.get("topic") == name and _passes(box, message)]
        for box in fed if "retention" not in self.boxes[name] else [self.boxes[name]]:
            self._items[box["name"]].append(Item(message, next(self._numbers), now + box["retention"], *more))
        self._notify()

    def items(self, name: str, now: float) -> list[Item]:
        """Return what is in a box, to be changed there, without what expired; leases that are over end."""
        if name not in self._items:
            raise NoSuchBox(name)
        items = self._items[name]
        for item in items:
            item.lease = item.lease if item.until > now else 0
        items[:] = [item for item in items if item.lease or item.expires > now]
        return items

    def take(self, name: str, count: int, lease: float, now: float) -> tuple[Sequence[Item], float | None]:
        """Lease up to `count` messages for so many seconds; say also in how many the next lease ends."""
        box, items = self.boxes.get(name, {}), self.items(name, now)
        net = box.get("net") or math.inf
        for item in [item for item in items if not item.lease and item.attempt >= net]:
            items.remove(item)
            why = ("MaxAttemptsExceeded", f"delivered {item.attempt} times")
            self.put(box["dead"], item.message, now, item.moves + 1, *why)
        out = {item.message.ordering_key for item in items if item.lease} - {None} if box.get("ordered") else set()
        free = [item for item in items if not item.lease and item.message.ordering_key not in out][:count]
        due = min((item.until - now for item in items if item.lease), default=None)
        for item in free:
            item.lease, item.until, item.attempt = next(self._numbers), now + lease, item.attempt + 1
        return free, due

    def held(self, name: str, item: Item, lease: int, now: float) -> bool:
        """Say whether a lease of a message still holds."""
        return item in self.items(name, now) and item.lease == lease

    def remove(self, name: str, item: Item) -> None:
        """Delete a message whose lease holds."""
        self._items[name].remove(item)
        self._free(item)

    def give_back(self, item: Item, attempt: int) -> None:
        """End a lease, and say how often the message was delivered."""
        item.attempt = attempt
        self._free(item)

    def _free(self, item: Item) -> None:
        item.lease, item.until = 0, 0.0
        self._notify()

    def _notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


def _passes(box: Mapping[str, Any], message: Message) -> bool:
    return "filter" not in box or parse(box["filter"]).matches(message.attributes)


SERVERS: dict[str, Server] = {}
"""The servers of this process, by their names."""
