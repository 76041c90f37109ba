"""Duplicate detection: the ids that an entity accepted within its window."""

from __future__ import annotations

from collections import OrderedDict

from polybus.localcloud.servicebus.entities.holder import Holder
from polybus.localcloud.servicebus.entities.message import Message

__all__ = ["Duplicates"]


class Duplicates:
    def __init__(self, mailbox: Holder) -> None:
        self._mailbox = mailbox
        self._accepted: OrderedDict[str, float] = OrderedDict()

    def _forget(self, now: float, window: float) -> None:
        while self._accepted:
            key, when = next(iter(self._accepted.items()))
            if when + window > now:
                return
            del self._accepted[key]
            self._mailbox.journal.put_duplicate(self._mailbox.key, key, None)

    def seen(self, message: Message) -> bool:
        """Return whether the message repeats one of the window; notes it otherwise."""
        options = self._mailbox.options
        if (
            message.message_id is None
            or self._mailbox.parent is not None
            or not getattr(options, "detects_duplicates", False)
        ):
            return False
        now = self._mailbox.clock.time()
        self._forget(now, getattr(options, "duplicate_window", 0.0))
        key = str(message.message_id)
        if getattr(options, "partitioned", False):
            key = f"{message.partition_key or message.session_id or ''}\n{key}"
        if key in self._accepted:
            return True
        self._accepted[key] = now
        self._mailbox.journal.put_duplicate(self._mailbox.key, key, now)
        return False

    def restore(self, entries: list[tuple[str, float]]) -> None:
        """Take back what a store kept."""
        self._accepted = OrderedDict(sorted(entries, key=lambda entry: entry[1]))

    def erase(self) -> None:
        for key in self._accepted:
            self._mailbox.journal.put_duplicate(self._mailbox.key, key, None)
