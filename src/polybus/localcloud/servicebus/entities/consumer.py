"""What a mailbox needs of whoever receives from it."""

from __future__ import annotations

from typing import Protocol

from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.servicebus.refusal import Refusal

__all__ = ["Consumer"]


class Consumer(Protocol):
    def __hash__(self) -> int: ...

    @property
    def peek_lock(self) -> bool:
        """Whether what it is given is locked until it settles it; otherwise it is gone once given."""

    @property
    def hungry(self) -> bool:
        """Whether it can take one more message now."""

    def deliver(self, message: Message) -> None:
        """Take one message; only called while hungry."""

    def detach(self, refusal: Refusal) -> None:
        """Learn that it is no consumer any more; the mailbox has forgotten it."""
