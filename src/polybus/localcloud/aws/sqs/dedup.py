"""What was sent in the last five minutes, so that sending it again changes nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from polybus.localcloud.aws.rows import Rows

__all__ = ["DedupWindow", "Seen"]

# SQS and SNS FIFO: "the deduplication interval is 5 minutes" (SQS Developer Guide, exactly-once processing).
WINDOW = 300.0
TABLE = "dedup"


@dataclass(frozen=True, slots=True)
class Seen:
    """One accepted message of the window."""

    owner: str
    key: str
    until: float
    message_id: str
    sequence: str

    @property
    def row_key(self) -> str:
        return f"{self.owner}/{self.key}"

    def to_row(self) -> list[Any]:
        return [self.owner, self.key, self.until, self.message_id, self.sequence]


class DedupWindow:
    """The deduplication ids of one queue or topic; `scope` is a message group, or empty for the whole of it."""

    def __init__(self, owner: str, rows: Rows) -> None:
        self.owner = owner
        self._rows = rows
        self._seen: dict[str, Seen] = {}
        self._due: deque[Seen] = deque()

    def find(self, scope: str, dedup: str, now: float) -> Seen | None:
        """Return the message that was accepted under this id and is still in the window."""
        self._forget(now)
        return self._seen.get(f"{scope}\0{dedup}")

    def add(self, scope: str, dedup: str, now: float, message_id: str, sequence: str) -> None:
        seen = Seen(self.owner, f"{scope}\0{dedup}", now + WINDOW, message_id, sequence)
        self.restore(seen)
        self._rows.save(TABLE, seen)

    def restore(self, seen: Seen) -> None:
        """Put back what was kept; called in the order of `until`."""
        self._seen[seen.key] = seen
        self._due.append(seen)

    def clear(self) -> None:
        self._forget(float("inf"))

    def _forget(self, now: float) -> None:
        while self._due and self._due[0].until <= now:
            seen = self._due.popleft()
            del self._seen[seen.key]
            self._rows.drop(TABLE, seen)
