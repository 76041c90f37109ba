"""Handing messages of an entity without sessions to competing consumers, in turns."""

from __future__ import annotations

import heapq
from collections import OrderedDict

from polybus.localcloud.servicebus.entities.consumer import Consumer
from polybus.localcloud.servicebus.entities.holder import Holder
from polybus.localcloud.servicebus.entities.message import ACTIVE, Message
from polybus.localcloud.servicebus.refusal import Refusal

__all__ = ["Dispatch", "take"]


def take(mailbox: Holder, ready: list[int]) -> Message | None:
    """Return the first deliverable message of a heap of sequence numbers, or None; forgets what is gone."""
    while ready:
        message = mailbox.messages.get(heapq.heappop(ready))
        if message is None or message.token is not None or message.state != ACTIVE:
            continue
        if message.expires is not None and message.expires <= mailbox.clock.time():
            mailbox.expire(message)
            continue
        return message
    return None


class Dispatch:
    """The ready messages of a mailbox, lowest sequence number first, and the consumers that want some."""

    def __init__(self, mailbox: Holder) -> None:
        self._mailbox = mailbox
        self._ready: list[int] = []
        self._consumers: set[Consumer] = set()
        self._hungry: OrderedDict[Consumer, None] = OrderedDict()
        self._pumping = False

    def join(self, consumer: Consumer) -> None:
        self._consumers.add(consumer)

    def leave(self, consumer: Consumer) -> None:
        """Forget a consumer; what it has locked stays locked, as on Service Bus, until the locks end."""
        self._consumers.discard(consumer)
        self._hungry.pop(consumer, None)

    def offer(self, consumer: Consumer) -> None:
        """Note that a consumer is hungry, and feed it."""
        self._hungry[consumer] = None
        self.pump()

    def push(self, message: Message) -> None:
        """Make a message ready; `pump` delivers it."""
        heapq.heappush(self._ready, message.sequence)

    def pump(self) -> None:
        """Deliver while there is a message and a hungry consumer, to each in turn."""
        if self._pumping:  # delivering to one consumer can make another one's mailbox pump, and that one's ours
            return
        self._pumping = True
        try:
            while self._ready and self._hungry:
                consumer = next(iter(self._hungry))
                if not consumer.hungry:
                    del self._hungry[consumer]
                    continue
                message = take(self._mailbox, self._ready)
                if message is None:
                    return
                self._hungry.move_to_end(consumer)
                self._mailbox.hand_over(message, consumer)
        finally:
            self._pumping = False

    def ready_messages(self) -> list[Message]:
        """Take all that is ready, for an entity that begins to forward."""
        out = []
        while (message := take(self._mailbox, self._ready)) is not None:
            out.append(message)
        return out

    def close(self, refusal: Refusal) -> None:
        consumers, self._consumers = self._consumers, set()
        self._hungry.clear()
        for consumer in consumers:
            consumer.detach(refusal)
