"""How much a publisher may hold at once (contract, P7)."""

from __future__ import annotations

from collections import OrderedDict

from polybus.bus.lanes import Item

__all__ = ["Gate"]


class Gate:
    """Counts what is inside, and keeps what waits for room in the order of the calls.

    It holds the messages themselves, so that who wakes first changes nothing (contract, P6). One message is always
    let in, however large, when nothing else is inside: otherwise it would wait for ever.
    """

    def __init__(self, count: int, total_bytes: int) -> None:
        self._count = count
        self._bytes = total_bytes
        self.count = 0
        self.bytes = 0
        # Ordered dicts: whose call is cancelled leaves at once, wherever it stands.
        self._waiting: OrderedDict[Item, None] = OrderedDict()
        self._of_key: dict[str, dict[Item, None]] = {}

    def __bool__(self) -> bool:
        """Say whether anything waits."""
        return bool(self._waiting)

    def enter(self, item: Item) -> bool:
        """Take the room for a message, if it is there and nothing waits before it."""
        if (self._waiting and next(iter(self._waiting)) is not item) or not self._fits(item.size):
            return False
        self.count += 1
        self.bytes += item.size
        return True

    def leave(self, item: Item) -> None:
        """Give the room of a message back."""
        self.count -= 1
        self.bytes -= item.size

    def wait(self, item: Item) -> None:
        """Put a message behind all that waits."""
        self._waiting[item] = None
        if item.key is not None:
            self._of_key.setdefault(item.key, {})[item] = None

    def first(self) -> Item | None:
        """Return the message that has waited longest."""
        return next(iter(self._waiting), None)

    def remove(self, item: Item) -> None:
        """Take a message out of those that wait, if it is among them."""
        if self._waiting.pop(item, self) is self or item.key is None:
            return
        same = self._of_key[item.key]
        del same[item]
        if not same:
            del self._of_key[item.key]

    def waiting(self, key: str | None = None) -> list[Item]:
        """Return what waits, all of it or that of one key, in the order of the calls."""
        return list(self._waiting if key is None else self._of_key.get(key, ()))

    def _fits(self, size: int) -> bool:
        return self.count == 0 or (self.count < self._count and self.bytes + size <= self._bytes)
