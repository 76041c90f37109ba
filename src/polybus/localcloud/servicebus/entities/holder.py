"""A mailbox as its parts see it: what hands its messages out, its sessions, its memory of duplicates."""

from __future__ import annotations

from typing import Protocol

from polybus.clock import Clock
from polybus.localcloud.servicebus.entities.alarm import Alarm
from polybus.localcloud.servicebus.entities.consumer import Consumer
from polybus.localcloud.servicebus.entities.journal import EntityJournal
from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.servicebus.entities.options import AnyOptions

__all__ = ["Holder"]


class Holder(Protocol):
    key: str
    clock: Clock
    journal: EntityJournal
    alarm: Alarm
    messages: dict[int, Message]
    lock_duration: float

    @property
    def options(self) -> AnyOptions: ...

    @property
    def parent(self) -> Holder | None:
        """Whose dead letters it holds; None where it is no mailbox of dead letters."""

    def hand_over(self, message: Message, consumer: Consumer) -> None:
        """Deliver one ready message to a consumer, locked or for good."""

    def give_back(self, message: Message, *, failed: bool) -> None:
        """Unlock a message that wasn't settled; `failed` counts the delivery."""

    def expire(self, message: Message) -> None:
        """Forget a message whose time is over, or make it a dead letter."""

    def pump(self) -> None:
        """Deliver what can be delivered."""
