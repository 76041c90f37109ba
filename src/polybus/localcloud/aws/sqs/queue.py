"""A queue: its messages by state, its timers, and those who wait for it. Standard queues here, FIFO in `fifo`."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import Any

from polybus.localcloud.aws.arn import Arn
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.sqs.message import DELAYED, GONE, IN_FLIGHT, READY, Message
from polybus.localcloud.aws.sqs.sampling import Sampler
from polybus.localcloud.aws.sqs.settings import Settings
from polybus.localcloud.aws.sqs.tenants import Tenants
from polybus.localcloud.aws.sqs.waiters import Waiters
from polybus.localcloud.aws.timeline import Timeline
from polybus.localcloud.events import CONSUMED, DELIVERED, PUBLISHED, Events

__all__ = ["Queue"]

MESSAGES = "sqs.message"


class Queue:
    """A standard queue. Every operation costs O(log n) at most, however many messages it holds.

    `uid` tells a queue from an earlier one of the same name. Times are seconds since the epoch. The oldest message
    comes first (recorded), where no `sampler` says otherwise; where messages have groups, of those whose tenants are
    quiet.
    """

    fifo = False

    def __init__(
        self, arn: Arn, uid: str, settings: Settings, *, tags: dict[str, str], rows: Rows, timeline: Timeline
    ) -> None:
        self.arn = arn
        self.arn_text = str(arn)
        self.uid = uid
        self.settings = settings
        self.tags = tags
        self.created = timeline.now()
        self.modified = self.created
        self.purged = 0.0
        self.gone = False
        self.rows = rows
        self.timeline = timeline
        self.counts = [0, 0, 0, 0]
        self.messages: OrderedDict[int, Message] = OrderedDict()
        self.waiters = Waiters(self)
        self.sampler: Sampler | None = None
        self.tenants: Tenants | None = None
        self.events = Events()
        self._timers: list[tuple[float, int, Message]] = []
        self._timer = 0
        self._ready: list[tuple[int, Message]] = []  # a heap by order; may hold what is ready no more, or hold it twice

    # What is kept.

    @property
    def row_key(self) -> str:
        return self.uid

    def to_row(self) -> list[Any]:
        return [self.arn_text, self.uid, self.settings.given, self.tags, self.created, self.modified]

    def restore(self, message: Message) -> None:
        """Put back a message that was kept; called in order."""
        self.messages[message.order] = message
        self.counts[message.state] += 1
        self._tell_tenants(message)
        if message.state == READY:
            self._make_available(message)
        else:
            self._arm(message)

    # What happens to messages.

    def add(self, message: Message, delay: float) -> None:
        """Take in a new message; the caller wakes the waiters once its whole batch is in."""
        self.messages[message.order] = message
        if delay > 0:
            message.state = DELAYED
            message.visible_at = self.timeline.now() + delay
            self._arm(message)
        else:
            message.state = READY
            self._make_available(message)
        self.counts[message.state] += 1
        self._tell_tenants(message)
        self.rows.save(MESSAGES, message)
        if self.events.active:
            self.events.tell(PUBLISHED, self.arn_text, message.id)

    def take(
        self, limit: int, visibility: float, now: float, max_receives: int | None
    ) -> tuple[list[Message], list[Message]]:
        """Lease up to `limit` messages; return them, and those received too often, which have left."""
        dead: list[Message] = []
        if self.sampler is not None:
            limit = self.sampler.sample(self._ready, limit)
        # All are chosen before the first is leased: with a visibility of 0 it is available again at once.
        chosen: dict[int, Message] = {}
        while len(chosen) < limit and (found := self._next(now)) is not None:
            order, message = found
            if message.state == READY and order not in chosen and not self._spent(message, now, max_receives, dead):
                chosen[order] = message
        for message in chosen.values():
            self._lease(message, visibility, now)
        return list(chosen.values()), dead

    def remove(self, message: Message) -> None:
        """Forget a message for good."""
        self._to(message, GONE)
        message.timer = 0
        del self.messages[message.order]
        self.rows.drop(MESSAGES, message)

    def consume(self, message: Message) -> None:
        """Forget a message that whoever received it is done with."""
        self.remove(message)
        if self.events.active:
            self.events.tell(CONSUMED, self.arn_text, message.id)

    def renew(self, message: Message, visibility: float, now: float) -> None:
        """Let the lease of a message end `visibility` seconds from now; 0 gives it back at once."""
        message.visible_at = now + visibility
        if visibility > 0:
            if message.state == READY:  # an old receipt on a standard queue; where it stands in `_ready` it is skipped
                self._to(message, IN_FLIGHT)
            self._arm(message)
            self.rows.save(MESSAGES, message)
        elif message.state == IN_FLIGHT:
            self._return(message)

    def advance(self, now: float) -> None:
        """Let happen what is due: delays and leases that ended, messages past their retention."""
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, token, message = heapq.heappop(timers)
            if message.timer == token:
                self._return(message)
        oldest = now - self.settings.retention
        while self.messages:
            message = next(iter(self.messages.values()))
            if message.sent > oldest:
                break
            self.remove(message)

    def clear(self) -> None:
        """Forget every message."""
        for message in list(self.messages.values()):
            self.remove(message)

    # What waiters ask.

    @property
    def available(self) -> int:
        """How many receives could be answered now."""
        return self.counts[READY]

    @property
    def next_due(self) -> float | None:
        """When the next delay or lease may end."""
        return self._timers[0][0] if self._timers else None

    # How.

    def _make_available(self, message: Message) -> None:
        heapq.heappush(self._ready, (message.order, message))

    def _to(self, message: Message, state: int) -> None:
        self.counts[message.state] -= 1
        if state != GONE:
            self.counts[state] += 1
        if self.tenants is not None:
            self.tenants.moved(message, state, self.timeline.now())
            if state == GONE:
                self.tenants.gone(message)
        message.state = state

    def _tell_tenants(self, message: Message) -> None:
        if self.tenants is None and message.group is not None and not self.fifo:
            self.tenants = Tenants(lambda: self.counts[IN_FLIGHT])
            for known in self.messages.values():
                self.tenants.sent(known)
        elif self.tenants is not None:
            self.tenants.sent(message)

    def _next(self, now: float) -> tuple[int, Message] | None:
        """Return the oldest of those whose tenants are quiet, else of those whose aren't; None where none is left."""
        tenants = self.tenants
        while self._ready:
            found = self._pop()
            if tenants is None or found[1].state != READY:
                return found
            if (older := tenants.quiet_again(found[0], now)) is not None:
                heapq.heappush(self._ready, found)
                return older
            if not tenants.keeps(*found, now):
                return found
        return None if tenants is None else tenants.last(now)

    def _pop(self) -> tuple[int, Message]:
        """Return the oldest, or any where a sampler has shuffled them."""
        return heapq.heappop(self._ready) if self.sampler is None else self._ready.pop()

    def _spent(self, message: Message, now: float, max_receives: int | None, dead: list[Message]) -> bool:
        if message.sent <= now - self.settings.retention:
            self.remove(message)
            return True
        if max_receives is not None and message.receives >= max_receives:
            self.remove(message)
            dead.append(message)
            return True
        return False

    def _lease(self, message: Message, visibility: float, now: float) -> None:
        self._to(message, IN_FLIGHT)
        message.receives += 1
        if message.first_received is None:
            message.first_received = now
        message.last_received = now
        message.visible_at = now + visibility
        if self.events.active:
            self.events.tell(DELIVERED, self.arn_text, message.id)
        if visibility > 0:
            self._arm(message)
            self.rows.save(MESSAGES, message)
        else:
            self._return(message)

    def _return(self, message: Message) -> None:
        self._to(message, READY)
        message.timer = 0
        self._make_available(message)
        self.rows.save(MESSAGES, message)

    def _arm(self, message: Message) -> None:
        self._timer += 1
        message.timer = self._timer
        heapq.heappush(self._timers, (message.visible_at, self._timer, message))
        # Timers of messages that were deleted or renewed stay until due. Twice as many as live ones are worth one
        # O(n) sweep, which is O(1) per timer; 1,024 keeps small queues from sweeping at all.
        if len(self._timers) > 1024 + 2 * (self.counts[IN_FLIGHT] + self.counts[DELAYED]):
            self._timers = [entry for entry in self._timers if entry[2].timer == entry[1]]
            heapq.heapify(self._timers)
        self.waiters.expect(message.visible_at)
