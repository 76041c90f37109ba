"""A snapshot: what was unacked in a subscription when it was made, and all that its topic got since."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from polybus.clock import Clock, Timer
from polybus.localcloud.pubsub.journal import Hold, MessageJournal
from polybus.localcloud.pubsub.message import Message
from polybus.localcloud.pubsub.protocol import Proto, seconds

__all__ = ["Snapshot"]


class Snapshot:
    """`config` is its google.pubsub.v1.Snapshot; `tag` names it in the journal; `expire` is called when it is over."""

    def __init__(
        self, config: Proto, tag: str, *, clock: Clock, journal: MessageJournal, expire: Callable[[str], None]
    ) -> None:
        self.tag = tag
        self.messages: dict[int, Message] = {}
        self._clock = clock
        self._journal = journal
        self._expire = expire
        self._timer: Timer | None = None
        self.configure(config)

    def configure(self, config: Proto) -> None:
        """Take over a changed configuration."""
        self.config = config
        self.name: str = config.name
        if self._timer is not None:
            self._timer.cancel()
        delay = seconds(config.expire_time) - self._clock.time()
        self._timer = self._clock.call_later(max(delay, 0.0), lambda: self._expire(self.name))

    def add(self, messages: Iterable[Message]) -> None:
        """Keep messages, as unacked."""
        for message in messages:
            self._journal.hold(self.tag, message)
            self.messages[message.number] = message

    def restore(self, holds: Iterable[Hold]) -> None:
        """Take back what it held before a restart."""
        self.messages = {hold.message.number: hold.message for hold in holds}

    def stop(self) -> None:
        """Let nothing fall due any more."""
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Let go of everything."""
        self.stop()
        for message in self.messages.values():
            self._journal.release(self.tag, message)
        self.messages.clear()
