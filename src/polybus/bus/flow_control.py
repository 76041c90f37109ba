"""How much a publisher may hold at once (contract, P7)."""

from __future__ import annotations

from collections import OrderedDict

from polybus.bus.send_queue import Item
from polybus.errors import Fault

__all__ = ["FlowControl", "Turn"]


class Turn:
    """The place of one call that publishes many: its messages come in here one after another, and all later calls wait.

    `item` is the one of its messages that waits for room. `fault`, where it is set, is why none of the rest is sent.
    """

    __slots__ = ("fault", "item")

    def __init__(self) -> None:
        self.item: Item | None = None
        self.fault: Fault | None = None


class FlowControl:
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
        self._waiting: OrderedDict[Item | Turn, None] = OrderedDict()
        self._of_key: dict[str, dict[Item, None]] = {}
        # The first of those that wait, which each message that comes is compared with.
        self._first: Item | Turn | None = None
        self.messages = 0
        """How many messages wait."""

    def __bool__(self) -> bool:
        """Say whether anything waits."""
        return bool(self._waiting)

    def enter(self, item: Item, turn: Turn | None = None) -> bool:
        """Take the room for a message, if it is there and nothing waits before it or before its call's turn."""
        first = self._first
        if first is not None and first is not (turn or item):
            return False
        size = self.bytes + item.size
        if self.count and (self.count >= self._count or size > self._bytes):
            return False
        self.count += 1
        self.bytes = size
        return True

    def leave(self, item: Item) -> None:
        """Give the room of a message back."""
        self.count -= 1
        self.bytes -= item.size

    def take_turn(self) -> Turn:
        """Return a place behind all that waits, for a call that publishes many; `end_turn` gives it up."""
        turn = Turn()
        self._add(turn)
        return turn

    def end_turn(self, turn: Turn) -> None:
        """Let those behind it pass."""
        del self._waiting[turn]
        self._look()

    def wait(self, item: Item, turn: Turn | None = None) -> None:
        """Put a message behind all that waits, or in its call's place."""
        if turn is None:
            self._add(item)
        else:
            turn.item, item.turn = item, turn
        self.messages += 1
        if item.key is not None:
            self._of_key.setdefault(item.key, {})[item] = None

    def first(self) -> Item | None:
        """Return the message that has waited longest; None where nothing waits, or a call's turn has none right now."""
        first = self._first
        return first.item if isinstance(first, Turn) else first

    def remove(self, item: Item) -> None:
        """Take a message out of those that wait, if it is among them."""
        if item.turn is not None:
            if item.turn.item is not item:
                return
            item.turn.item = None
        elif self._waiting.pop(item, self) is self:
            return
        else:
            self._look()
        self.messages -= 1
        if item.key is None:
            return
        same = self._of_key[item.key]
        del same[item]
        if not same:
            del self._of_key[item.key]

    def waiting(self, key: str | None = None) -> list[Item]:
        """Return what waits, all of it or that of one key, in the order of the calls."""
        if key is not None:
            return list(self._of_key.get(key, ()))
        waiting = [each.item if isinstance(each, Turn) else each for each in self._waiting]
        return [item for item in waiting if item is not None]

    def _add(self, item: Item | Turn) -> None:
        self._waiting[item] = None
        if self._first is None:
            self._first = item

    def _look(self) -> None:
        self._first = next(iter(self._waiting), None)
