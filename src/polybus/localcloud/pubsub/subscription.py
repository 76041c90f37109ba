"""One subscription: what waits, what is out, and what happens when it comes back."""

from __future__ import annotations

import heapq
import itertools
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from polybus.clock import Clock, Timer
from polybus.localcloud.events import CONSUMED, DEAD_LETTERED, DELIVERED, PUBLISHED, Events
from polybus.localcloud.pubsub import limits
from polybus.localcloud.pubsub.backlog import Backlog
from polybus.localcloud.pubsub.encoding import ACK_ID_LENGTH, decode
from polybus.localcloud.pubsub.filters import Predicate, parse_filter
from polybus.localcloud.pubsub.journal import Hold, MessageJournal
from polybus.localcloud.pubsub.leases import Leases
from polybus.localcloud.pubsub.message import Message
from polybus.localcloud.pubsub.protocol import Proto, seconds
from polybus.localcloud.pubsub.settings import backoff
from polybus.localcloud.pubsub.state import NO_LEASE, Consumer, Entry, KeyQueue

__all__ = ["Subscription"]

# Forwards a message that has had its last delivery; False where it can't, and the message stays.
Forward = Callable[["Subscription", Message, int], bool]

_SEQUENCE_DIGITS = 16


class Subscription:
    """A backlog that consumers compete on.

    `config` is its google.pubsub.v1.Subscription; `tag` names it in the journal. Everything runs on one event loop, and
    one timer serves all that falls due: lease ends, backoffs, retention and the expiry of the subscription itself, for
    which `expire` is called.
    """

    def __init__(
        self,
        config: Proto,
        tag: str,
        *,
        clock: Clock,
        journal: MessageJournal,
        forward: Forward,
        expire: Callable[[str], None],
        events: Events,
    ) -> None:
        self.tag = tag
        self._events = events
        self._clock = clock
        self._journal = journal
        self._forward = forward
        self._expire = expire
        self._filter: Predicate | None = parse_filter(config.filter) if config.filter else None
        self._entries: dict[int, Entry] = {}
        self._backlog = Backlog(config.enable_message_ordering)
        self._leases = Leases()
        self._delayed: list[tuple[float, int, Entry | KeyQueue]] = []
        self._order = itertools.count()
        self._consumers: dict[Consumer, None] = {}
        self._waiting: dict[Consumer, None] = {}
        self._timer: Timer | None = None
        self._timer_due = float("inf")
        self._active = clock.monotonic()
        # Random, so that no ack id comes twice: those of leases outlive a restart. Others', and ended ones, are
        # well-formed but of no lease.
        self._ack_prefix = secrets.token_hex(8).ljust(ACK_ID_LENGTH - _SEQUENCE_DIGITS, "_")
        self.configure(config)

    def configure(self, config: Proto) -> None:
        """Take over a changed configuration."""
        self.config = config
        self.name: str = config.name
        self.ordered: bool = config.enable_message_ordering
        self.exactly_once: bool = config.enable_exactly_once_delivery
        self.counts_attempts: bool = config.HasField("dead_letter_policy")
        self._retain_acked: bool = config.retain_acked_messages
        self._retention = seconds(config.message_retention_duration)
        self._ttl = seconds(config.expiration_policy.ttl) or float("inf")
        self.touch()
        self._drop_acked_unless_retained()
        self._arm(self._next_due())

    def touch(self) -> None:
        """Note that the subscription is in use, which puts off its expiry."""
        self._active = self._clock.monotonic()

    # -- intake

    @property
    def filtered(self) -> bool:
        return self._filter is not None

    def passes(self, attributes: Mapping[str, str]) -> bool:
        """Say whether its filter lets a message with these attributes through."""
        return self._filter is None or self._filter(attributes)

    def add(self, messages: Iterable[Message]) -> None:
        """Take in newly published messages that pass the filter."""
        was_empty = not self._entries
        hold, tag = self._journal.hold, self.tag
        for message in messages:
            hold(tag, message)
            self._enqueue(Entry(message))
            if self._events.active:
                self._tell(PUBLISHED, message)
        if was_empty and self._entries:
            self._arm(self._next_due())
        self._kick()

    def _tell(self, kind: str, message: Message) -> None:
        self._events.tell(kind, self.name, str(message.number))

    def restore(self, holds: Iterable[Hold]) -> None:
        """Take back what it held before a restart."""
        former = Consumer(0.0)  # whoever had what is out
        former.open = False
        for hold in holds:
            entry = Entry(hold.message, hold.failures)
            entry.gone = hold.acked
            was_out = entry.gone or hold.ack_id != NO_LEASE
            out = was_out and self._backlog.restore(entry, former)
            if out and not entry.gone:
                self._lease_again(entry, hold, former)
            if out or entry.gone:
                self._entries[entry.message.number] = entry
            else:
                self._enqueue(entry)
        self._drop_acked_unless_retained()
        self._arm(self._next_due())

    def _lease_again(self, entry: Entry, hold: Hold, former: Consumer) -> None:
        # By the time of day, which may have been set meanwhile: no lease is longer than one can be.
        left = min(max(hold.until - self._clock.time(), 0.0), limits.MODIFY_DEADLINE[1])
        entry.ack_id, entry.consumer = hold.ack_id, former
        entry.deadline = self._clock.monotonic() + left
        former.out += 1
        former.out_bytes += len(entry.message.wire)
        self._leases.by_id[entry.ack_id] = entry
        self._leases.schedule(entry.deadline, [entry])

    def _note(self, entries: Iterable[Entry]) -> None:
        """Note in the journal how far entries are."""
        if not self._journal.durable:
            return
        today = self._clock.time() - self._clock.monotonic()
        for entry in entries:
            until = entry.deadline + today if entry.ack_id != NO_LEASE else 0.0
            self._journal.mark(self.tag, Hold(entry.message, entry.gone, entry.failures, entry.ack_id, until))

    def _enqueue(self, entry: Entry) -> None:
        self._entries[entry.message.number] = entry
        self._backlog.add(entry)

    # -- handing out

    def attach(self, consumer: Consumer) -> None:
        self._consumers[consumer] = None
        self.touch()

    def detach(self, consumer: Consumer) -> None:
        """Forget a consumer; what it has out stays leased until that ends."""
        consumer.open = False
        self._consumers.pop(consumer, None)
        self._waiting.pop(consumer, None)
        self._backlog.leave(consumer)
        self.touch()
        self._kick()

    async def wait(self, consumer: Consumer) -> None:
        """Return once there may be something for the consumer, or it was woken for another reason."""
        self._waiting[consumer] = None
        try:
            await consumer.wait()
        finally:
            self._waiting.pop(consumer, None)

    def take(self, consumer: Consumer) -> list[Entry]:
        """Lease to the consumer what waits, within its flow control; maybe nothing.

        One that was woken with others gets no more than its share at first.
        """
        count = min(consumer.room, limits.RESPONSE_MESSAGES, consumer.share or limits.RESPONSE_MESSAGES)
        consumer.share = 0
        batch = self._backlog.take(consumer, count) if count > 0 else []
        if batch:
            self._lease(batch, consumer)
        return batch

    def _lease(self, batch: Sequence[Entry], consumer: Consumer) -> None:
        deadline = self._clock.monotonic() + consumer.ack_seconds
        by_id, prefix, order = self._leases.by_id, self._ack_prefix, self._order
        for entry in batch:
            entry.ack_id = ack_id = f"{prefix}{next(order):016x}"
            entry.deadline = deadline
            entry.consumer = consumer
            by_id[ack_id] = entry
            consumer.out_bytes += len(entry.message.wire)
        if self._events.active:
            for entry in batch:
                self._tell(DELIVERED, entry.message)
        consumer.out += len(batch)
        self._leases.schedule(deadline, batch)
        self._note(batch)
        self._arm(deadline)

    def _kick(self) -> None:
        """Wake as many waiting consumers as there are messages, each for its share."""
        backlog = self._backlog.free
        if not backlog or not self._waiting:
            return
        able = [consumer for consumer in self._waiting if consumer.idle and consumer.room > 0][:backlog]
        for consumer in able:
            consumer.share = -(-backlog // len(able))
            consumer.wake()

    # -- what comes back

    def acknowledge(self, ack_ids: Iterable[str]) -> list[str]:
        """Settle leases for good; return the ids that are none, or no longer."""
        unknown: list[str] = []
        by_id = self._leases.by_id
        for ack_id in ack_ids:
            entry = by_id.get(ack_id)
            if entry is None:
                unknown.append(ack_id)
                continue
            self._end_lease(entry)
            if self._events.active:
                self._tell(CONSUMED, entry.message)
            finals = self._backlog.settle(entry)
            if not finals:  # one before it isn't settled
                self._note([entry])
            for final in finals:
                self._finish(final)
        self.touch()
        self._kick()
        return unknown

    def modify(self, ack_ids: Iterable[str], lengths: Iterable[float]) -> list[str]:
        """Let each lease end that many seconds from now, at once for 0; return the ids that are none, or no longer."""
        unknown: list[str] = []
        now = self._clock.monotonic()
        extended: dict[float, list[Entry]] = {}
        for ack_id, length in zip(ack_ids, lengths, strict=True):
            entry = self._leases.by_id.get(ack_id)
            if entry is None:
                unknown.append(ack_id)
            elif length <= 0:
                self._end_lease(entry)
                self._failed(entry)
            else:
                entry.deadline = now + length
                extended.setdefault(entry.deadline, []).append(entry)
        for deadline, entries in extended.items():
            self._leases.schedule(deadline, entries)
            self._note(entries)
            self._arm(deadline)
        self.touch()
        self._kick()
        return unknown

    def _end_lease(self, entry: Entry) -> None:
        del self._leases.by_id[entry.ack_id]
        entry.ack_id = NO_LEASE
        consumer, entry.consumer = entry.consumer, None
        assert consumer is not None  # noqa: S101 - a leased entry has its consumer
        full = consumer.room <= 0
        consumer.out -= 1
        consumer.out_bytes -= len(entry.message.wire)
        self._backlog.unlease(entry)
        if full and consumer.room > 0 and self._backlog.has(consumer):
            consumer.wake()

    def _finish(self, entry: Entry) -> None:
        """Let go of an acked message, or keep it for seeking."""
        message = entry.message
        if self._retain_acked:
            self._journal.mark(self.tag, Hold(message, acked=True, failures=entry.failures))
        else:
            del self._entries[message.number]
            self._journal.release(self.tag, message)

    def _failed(self, entry: Entry) -> None:
        """Count a failed delivery; dead-letter the message or have it come again, after its backoff.

        The later ones of its key come again with it, which counts only for those whose own leases are over by now.
        """
        entry.failures += 1
        now = self._clock.monotonic()
        later = self._backlog.rewind(entry)
        for other in later:
            if other.ack_id != NO_LEASE:
                other.failures += other.deadline <= now
                self._end_lease(other)
        self._note(later)
        spent = self.counts_attempts and entry.failures >= self.config.dead_letter_policy.max_delivery_attempts
        if spent and self._forward(self, entry.message, entry.failures):
            self._tell(DEAD_LETTERED, entry.message)
            finals = self._backlog.forwarded(entry)
            if not finals:
                self._note([entry])
            for final in finals:
                self._finish(final)
            return
        self._note([entry])
        delay = backoff(self.config, entry.failures)
        if delay <= 0:
            self._backlog.resume(entry)
            return
        due = self._clock.monotonic() + delay
        heapq.heappush(self._delayed, (due, next(self._order), self._backlog.hold(entry)))
        self._arm(due)

    # -- time

    def _next_due(self) -> float:
        now, today = self._clock.monotonic(), self._clock.time()
        due = self._active + self._ttl
        if self._entries:
            oldest = next(iter(self._entries.values())).message
            due = min(due, now + oldest.published + self._retention - today)
        if self._delayed:
            due = min(due, self._delayed[0][0])
        deadline = self._leases.next_deadline
        return due if deadline is None else min(due, deadline)

    def _arm(self, due: float) -> None:
        if due >= self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._clock.call_later(max(due - self._clock.monotonic(), 0.0), self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due = None, float("inf")

    def _tick(self) -> None:
        self._timer, self._timer_due = None, float("inf")
        now = self._clock.monotonic()
        for entry in self._leases.due(now):
            self._end_lease(entry)
            self._failed(entry)
        while self._delayed and self._delayed[0][0] <= now:
            self._backlog.resume(heapq.heappop(self._delayed)[2])
        self._drop_expired()
        if self._consumers:
            self.touch()
        if now >= self._active + self._ttl:
            self._expire(self.name)
            return
        self._journal.flush_soon()
        self._kick()
        # Not before a millisecond is over: rounding could leave something due that isn't quite yet.
        self._arm(max(self._next_due(), now + 0.001))

    def _drop_expired(self) -> None:
        horizon = self._clock.time() - self._retention
        expired = list(itertools.takewhile(lambda entry: entry.message.published <= horizon, self._entries.values()))
        for entry in expired:
            self._discard(entry)
        self._backlog.prune()

    def _discard(self, entry: Entry) -> None:
        """Let go of a message, whatever its state."""
        if entry.ack_id != NO_LEASE:
            self._end_lease(entry)
        self._backlog.discard(entry)
        del self._entries[entry.message.number]
        self._journal.release(self.tag, entry.message)

    def _drop_acked_unless_retained(self) -> None:
        if not self._retain_acked:
            for entry in [each for each in self._entries.values() if each.gone and not self._backlog.sent(each)]:
                self._discard(entry)

    # -- looking

    def look(self) -> Iterator[tuple[Message, str, int, float | None]]:
        """Yield its messages, oldest first: each with its state, how often it was delivered, and its lease's end.

        Times are seconds since the epoch.
        """
        today = self._clock.time() - self._clock.monotonic()
        for entry in self._entries.values():
            if entry.gone:
                yield entry.message, "acked", entry.failures + 1, None
            elif entry.ack_id != NO_LEASE:
                yield entry.message, "in_flight", entry.failures + 1, entry.deadline + today
            else:
                yield entry.message, "waiting", entry.failures, None

    def drop(self, numbers: Collection[int]) -> None:
        """Let go of messages, whatever their state."""
        for number in numbers:
            self._discard(self._entries[number])
        self._backlog.prune()

    # -- seeking and ending

    @property
    def out(self) -> int:
        """How many messages are leased."""
        return len(self._leases)

    def unacked(self) -> list[Message]:
        """Return what is not acked, oldest first."""
        return [entry.message for entry in self._entries.values() if not entry.gone]

    def seek(self, candidates: Iterable[Message], wanted: Callable[[Message], bool]) -> None:
        """Make exactly the wanted ones unacked, of what it holds and of `candidates`, messages held elsewhere.

        Leases end without counting as failed.
        """
        held = {number: entry.message for number, entry in self._entries.items()}
        others = {
            message.number: message for message in candidates if message.number not in held and self._admits(message)
        }
        self._clear()
        for number, message in sorted((held | others).items()):
            keep = wanted(message)
            if number in held and not keep and not self._retain_acked:
                self._journal.release(self.tag, message)
            elif number in others and keep:
                self._journal.hold(self.tag, message)
            if keep:
                self._journal.mark(self.tag, Hold(message))
                self._enqueue(Entry(message))
            elif number in held and self._retain_acked:
                self._journal.mark(self.tag, Hold(message, acked=True))
                entry = self._entries[number] = Entry(message)
                entry.gone = True
        self._arm(self._next_due())
        self._kick()

    def _admits(self, message: Message) -> bool:
        return not self.filtered or self.passes(dict(decode(message.wire).attributes))

    def close(self, reason: Exception) -> None:
        """End every consumer with `reason` and let go of everything."""
        for entry in self._entries.values():
            self._journal.release(self.tag, entry.message)
        self._clear()
        self.end_consumers(reason)
        self._disarm()

    def stop(self, reason: Exception) -> None:
        """End every consumer with `reason` and let nothing fall due any more; what it has stays."""
        self.end_consumers(reason)
        self._disarm()
        self._timer_due = float("-inf")

    def end_consumers(self, reason: Exception) -> None:
        """End every stream and pull with `reason`."""
        for consumer in list(self._consumers):
            consumer.end(reason)

    def _clear(self) -> None:
        for entry in list(self._leases.by_id.values()):
            self._end_lease(entry)
        self._leases.clear()
        for consumer in self._consumers:
            consumer.keys.clear()
        for entry in self._entries.values():
            entry.gone = True
        self._entries.clear()
        self._delayed.clear()
        self._backlog = Backlog(self.ordered)
