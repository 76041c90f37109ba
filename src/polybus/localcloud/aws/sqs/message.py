"""One message in one queue, and its receipt handles."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DELAYED", "GONE", "IN_FLIGHT", "READY", "Message", "parse_handle"]

# States, small integers because a queue counts its messages by state in a list.
READY, DELAYED, IN_FLIGHT, GONE = range(4)

_KEPT = (
    "queue",
    "order",
    "id",
    "body",
    "md5",
    "attributes",
    "attributes_md5",
    "sent",
    "sender",
    "group",
    "dedup",
    "sequence",
    "trace",
    "source",
    "receives",
    "first_received",
    "last_received",
    "visible_at",
    "state",
)


@dataclass(slots=True, eq=False)
class Message:
    """A message as a queue holds it; times are seconds since the epoch.

    `order` is unique in its queue and grows; `attributes` are in the JSON protocol's shape, Binary values base64.
    `visible_at` is the end of its delay or lease. `timer` names the one pending timer that is still its own (0: none).
    """

    queue: str
    order: int
    id: str
    body: str
    md5: str
    attributes: dict[str, dict[str, str]]
    attributes_md5: str | None
    sent: float
    sender: str
    group: str | None = None
    dedup: str | None = None
    sequence: str | None = None
    trace: str | None = None
    source: str | None = None
    receives: int = 0
    first_received: float | None = None
    last_received: float | None = None
    visible_at: float = 0.0
    state: int = READY
    timer: int = field(default=0, repr=False)

    @property
    def row_key(self) -> str:
        return f"{self.queue}/{self.order:020d}"

    def to_row(self) -> list[Any]:
        return [getattr(self, name) for name in _KEPT]

    @classmethod
    def from_row(cls, row: list[Any]) -> Message:
        return cls(*row)

    @property
    def handle(self) -> str:
        """The receipt handle of the latest receive."""
        return base64.b64encode(f"{self.queue}/{self.order}/{self.receives}".encode()).decode()


def parse_handle(handle: str) -> tuple[str, int, int] | None:
    """Return a handle's queue uid, message order and receive number, or None where it was never issued."""
    try:
        queue, order, receive = base64.b64decode(handle, validate=True).decode("ascii").split("/")
        return queue, int(order), int(receive)
    except (binascii.Error, ValueError):
        return None
