"""A published message, and what one subscription knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polybus.localcloud.pubsub.consumer import Consumer
    from polybus.localcloud.pubsub.ordering import KeyQueue

__all__ = ["NO_LEASE", "Entry", "Message"]

NO_LEASE = ""


class Message:
    """One message, shared by all that hold it; `holders` counts them, and without any it is gone.

    `wire` is its encoded form (see encoding), `published` in seconds since the epoch.
    """

    __slots__ = ("holders", "key", "number", "published", "wire")

    def __init__(self, number: int, wire: bytes, key: str, published: float) -> None:
        self.number = number
        self.wire = wire
        self.key = key
        self.published = published
        self.holders = 0


class Entry:
    """One message in one subscription.

    While it is leased, `ack_id` isn't NO_LEASE, and `consumer` and `deadline` (monotonic seconds) say whose and for how
    long. `gone` marks what is acked or expired and may still sit in a queue.
    """

    __slots__ = ("ack_id", "consumer", "deadline", "failures", "gone", "message", "queue")

    def __init__(self, message: Message, failures: int = 0) -> None:
        self.message = message
        self.failures = failures
        self.ack_id = NO_LEASE
        self.deadline = 0.0
        self.gone = False
        self.consumer: Consumer | None = None
        self.queue: KeyQueue | None = None
