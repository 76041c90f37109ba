"""A published message."""

from __future__ import annotations

__all__ = ["Message"]


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
