"""What a consumer took, as a small driver gives it."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from polybus.message import Message

__all__ = ["Polled"]

R = TypeVar("R")


class Polled(msgspec.Struct, Generic[R], frozen=True):
    """One attempt at handing a message over, as `polybus.driver.Received` says; what is None here is derived.

    `lease` is how many seconds were granted, counted from when they were asked for; None for the entity's `lease`.
    `group` is the message's ordering key where the source keeps order. `redelivered` says so from the second attempt
    on, and of what was moved.
    """

    message: Message
    receipt: R
    attempt: int = 1
    moves: int = 0
    reason: str | None = None
    description: str | None = None
    token: str = ""
    at: float | None = None
    lease: float | None = None
    group: str | None = None
    redelivered: bool | None = None
