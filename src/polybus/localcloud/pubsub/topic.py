"""A topic: gives each of its subscriptions, its snapshots and its own log what is published."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence

from polybus.clock import Clock, Timer
from polybus.localcloud.events import PUBLISHED, Events
from polybus.localcloud.pubsub.encoding import encode, publish_stamp
from polybus.localcloud.pubsub.journal import Hold, MessageJournal
from polybus.localcloud.pubsub.message import Message
from polybus.localcloud.pubsub.protocol import Proto, seconds
from polybus.localcloud.pubsub.snapshot import Snapshot
from polybus.localcloud.pubsub.subscription import Subscription

__all__ = ["Topic"]


class Topic:
    """`config` is its google.pubsub.v1.Topic; `tag` names it in the journal as the holder of its log.

    The log holds what is published for as long as the topic's own retention says; without one it stays empty.
    """

    # How long after it is due the log may let go of a message, in seconds: it bounds how often the timer runs.
    SWEEP = 1.0

    def __init__(self, config: Proto, tag: str, clock: Clock, journal: MessageJournal, events: Events) -> None:
        self.tag = tag
        self.subscriptions: dict[str, Subscription] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.log: deque[Message] = deque()
        self._clock = clock
        self._journal = journal
        self._events = events
        self._timer: Timer | None = None
        self.configure(config)

    def configure(self, config: Proto) -> None:
        """Take over a changed configuration."""
        self.config = config
        self.name: str = config.name
        self._retention = seconds(config.message_retention_duration)
        self._sweep()

    def restore(self, holds: Iterable[Hold]) -> None:
        """Take back the log that it held before a restart."""
        self.log.extend(hold.message for hold in holds)
        self._sweep()

    def publish(self, bodies: Sequence[Proto]) -> list[int]:
        """Accept checked PubsubMessages; return their numbers, in order."""
        now = self._clock.time()
        stamp = publish_stamp(now)
        number = self._journal.number
        messages: list[Message] = []
        for body in bodies:
            mine = number()
            messages.append(Message(mine, encode(body, mine, stamp), body.ordering_key, now))
        if self._events.active:
            for message in messages:
                self._events.tell(PUBLISHED, self.name, str(message.number))
        for subscription in self.subscriptions.values():
            subscription.add(self._passing(subscription, messages, bodies))
        for snapshot in self.snapshots.values():
            snapshot.add(messages)
        if self._retention:
            for message in messages:
                self._journal.hold(self.tag, message)
            self.log.extend(messages)
            self._arm()
        return [message.number for message in messages]

    def message(self, body: Proto) -> Message:
        """Return a message that is published now, which nobody has yet."""
        now, number = self._clock.time(), self._journal.number()
        return Message(number, encode(body, number, publish_stamp(now)), body.ordering_key, now)

    @staticmethod
    def _passing(subscription: Subscription, messages: Sequence[Message], bodies: Sequence[Proto]) -> Sequence[Message]:
        if not subscription.filtered:
            return messages
        return [
            message
            for message, body in zip(messages, bodies, strict=True)
            if subscription.passes(dict(body.attributes))
        ]

    def _arm(self) -> None:
        if self._timer is None and self.log:
            due = self.log[0].published + self._retention - self._clock.time()
            self._timer = self._clock.call_later(max(due, 0.0) + self.SWEEP, self._sweep)

    def _sweep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        horizon = self._clock.time() - self._retention
        for message in list(itertools.takewhile(lambda message: message.published <= horizon, self.log)):
            self.log.popleft()
            self._journal.release(self.tag, message)
        self._journal.flush_soon()
        self._arm()

    def stop(self) -> None:
        """Let nothing fall due any more."""
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        """Let go of the log."""
        self.stop()
        for message in self.log:
            self._journal.release(self.tag, message)
        self.log.clear()
