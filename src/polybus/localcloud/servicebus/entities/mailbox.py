"""A place that holds messages: a queue, a subscription, or the dead letters of either."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from polybus.clock import Clock
from polybus.localcloud.events import CONSUMED, DEAD_LETTERED, DELIVERED, PUBLISHED, Events
from polybus.localcloud.servicebus.amqp.sections import put_pairs, set_map
from polybus.localcloud.servicebus.entities.alarm import Alarm
from polybus.localcloud.servicebus.entities.consumer import Consumer
from polybus.localcloud.servicebus.entities.dispatch import Dispatch
from polybus.localcloud.servicebus.entities.duplicates import Duplicates
from polybus.localcloud.servicebus.entities.journal import EntityJournal
from polybus.localcloud.servicebus.entities.message import ACTIVE, DEFERRED, SCHEDULED, Message
from polybus.localcloud.servicebus.entities.options import STANDARD_MESSAGE_BYTES, AnyOptions, Counts
from polybus.localcloud.servicebus.entities.sessions import Sessions
from polybus.localcloud.servicebus.refusal import (
    ARGUMENT_OUT_OF_RANGE,
    ENTITY_DISABLED,
    LOCK_LOST,
    NOT_ALLOWED,
    QUOTA_EXCEEDED,
    TOO_LARGE,
    Refusal,
)

__all__ = ["DEAD_LETTERS", "TRANSFER_DEAD_LETTERS", "Home", "Mailbox"]

DEAD_LETTERS = "/$DeadLetterQueue"
TRANSFER_DEAD_LETTERS = "/$Transfer/$DeadLetterQueue"
MOST_HOPS = 4  # Microsoft's "Chaining Service Bus entities with autoforwarding"
MOST_BATCH_BYTES = 1024 * 1024  # Microsoft's "Service Bus quotas": a batch on Premium, whatever a message may have
LONGEST_ID = 128  # Microsoft's "Service Bus quotas": message id, session id and partition key


class Home(Protocol):
    """Where a mailbox finds the others: its namespace."""

    clock: Clock
    journal: EntityJournal
    events: Events

    def find(self, address: str) -> Mailbox:
        """Return the queue, topic, subscription or sub-queue of an address; raise Refusal."""


class Mailbox:
    """Messages by sequence number, their locks and deadlines. All methods but `counts` are for the server's loop."""

    def __init__(self, home: Home, path: str, options: AnyOptions, parent: Mailbox | None = None) -> None:
        self.home = home
        self.clock = home.clock
        self.journal = home.journal
        self.path = path
        self.key = path.lower()
        self.parent = parent
        self.sequence = 0
        self.bytes = 0
        self.created = self.updated = home.clock.time()
        self.accessed: float | None = None
        """When something was sent to it last, since the server started."""
        self.messages: dict[int, Message] = {}
        self.locks: dict[bytes, Message] = {}
        self._states = [0, 0, 0]
        self.alarm = Alarm(home.clock, self.pump)
        self._lock_ends = self.alarm.lane(self._lock_ended)
        self._expiries = self.alarm.lane(self._expired)
        self._schedule = self.alarm.lane(self._due)
        self.duplicates = Duplicates(self)
        self.configure(options)
        self.sessions = Sessions(self) if getattr(options, "requires_session", False) and parent is None else None
        self.dispatch = Dispatch(self)
        self._letters: dict[str, Mailbox] = {}

    def configure(self, options: AnyOptions) -> None:
        """Take over new options; what is already locked or expiring keeps its times."""
        self.options = options
        inner = self.parent is not None
        self.lock_duration: float = getattr(options, "lock_duration", 60.0)
        self.most_deliveries: int | None = None if inner else getattr(options, "max_delivery_count", None)
        self.forward_to: str | None = None if inner else getattr(options, "forward_to", None)
        self.forward_letters_to: str | None = None if inner else getattr(options, "forward_dead_letters_to", None)
        self.max_message_bytes: int = getattr(options, "max_message_bytes", STANDARD_MESSAGE_BYTES)

    # -- what it holds

    def letters(self, suffix: str = DEAD_LETTERS) -> Mailbox:
        """Return the mailbox of its dead letters, or of those that it could not forward."""
        box = self._letters.get(suffix)
        if box is None:
            box = self._letters[suffix] = Mailbox(self.home, self.path + suffix, self.options, self)
        return box

    def children(self) -> list[Mailbox]:
        return list(self._letters.values())

    def counts(self) -> Counts:
        def held(suffix: str) -> int:
            return len(box.messages) if (box := self._letters.get(suffix)) is not None else 0

        active, deferred, scheduled = self._states
        return Counts(active, deferred, scheduled, held(DEAD_LETTERS), held(TRANSFER_DEAD_LETTERS), self.bytes)

    def _add(self, message: Message) -> None:
        self.messages[message.sequence] = message
        self._states[message.state] += 1
        self.bytes += message.size
        if self.sessions is not None:
            self.sessions.count(message, 1)

    def remove(self, message: Message) -> None:
        """Forget a message for good."""
        if self.messages.pop(message.sequence, None) is None:
            return
        self._states[message.state] -= 1
        self.bytes -= message.size
        self._expiries.discard(message.sequence)
        self._schedule.discard(message.sequence)
        self.unlock(message)
        if self.sessions is not None:
            self.sessions.count(message, -1)
        self.journal.drop_message(self.key, message.sequence)

    def change_state(self, message: Message, state: int) -> None:
        self._states[message.state] -= 1
        self._states[state] += 1
        message.state = state
        if state == DEFERRED:
            self._expiries.discard(message.sequence)
            message.expires = None

    def change_properties(self, message: Message, changes: Sequence[tuple[bytes, bytes]]) -> None:
        """Set application properties of a message to encoded values, as who settles it asked for."""
        self.bytes -= message.size
        message.bare = put_pairs(message.bare, changes)
        self.bytes += message.size

    # -- coming in

    def check(self, message: Message, size: int = 0) -> None:
        """Raise Refusal where a sender's message can't be accepted; changes nothing."""
        if self.options.status in ("Disabled", "SendDisabled"):
            raise Refusal(ENTITY_DISABLED, f"The messaging entity '{self.path}' is disabled for sending.")
        if size > self.max_message_bytes:
            raise Refusal(TOO_LARGE, f"The message of {size} bytes exceeds the limit of {self.max_message_bytes}.")
        for name, value in (("MessageId", message.message_id), ("SessionId", message.session_id)):
            if isinstance(value, str) and len(value) > LONGEST_ID:
                raise Refusal(ARGUMENT_OUT_OF_RANGE, f"{name} has {len(value)} characters, allowed are {LONGEST_ID}.")
        if self.sessions is not None and message.session_id is None:
            raise Refusal(
                NOT_ALLOWED,
                f"The SessionId was not set on a message, and it cannot be sent to the entity '{self.path}'. Entities "
                "that have session support enabled can only receive messages that have the SessionId set.",
            )
        limit = getattr(self.options, "max_size_megabytes", None)
        if limit is not None and self.bytes + message.size > limit << 20:
            raise Refusal(QUOTA_EXCEEDED, f"The entity '{self.path}' has reached its maximum size of {limit} MB.")

    @property
    def max_batch_bytes(self) -> int:
        """What one batch may have; on Premium less than one message."""
        return min(self.max_message_bytes, MOST_BATCH_BYTES)

    def check_batch(self, messages: Sequence[Message], size: int) -> None:
        """Raise Refusal where messages can't be accepted in one batch of `size` bytes."""
        if size > self.max_batch_bytes:
            raise Refusal(TOO_LARGE, f"The batch of {size} bytes exceeds the limit of {self.max_batch_bytes}.")
        if getattr(self.options, "partitioned", False) and len({self._partition(message) for message in messages}) > 1:
            raise Refusal(
                NOT_ALLOWED,
                "Batching brokered messages with distinct SessionId, PartitionKey, or MessageId is not supported for "
                "an entity with partitioning enabled.",
            )

    def _partition(self, message: Message) -> object:
        """Return what decides in which partition a message is kept; None where the service chooses."""
        key = message.session_id or message.partition_key
        if key is None and getattr(self.options, "detects_duplicates", False):
            return message.message_id
        return key

    def accept(self, message: Message) -> int:
        """Keep (or forward) a message that was checked; return its sequence number, 0 for a dropped duplicate."""
        if self.duplicates.seen(message):
            return 0
        self.sequence += 1
        self.journal.put_sequence(self.key, self.sequence)
        self.accessed = now = self.clock.time()
        message.sequence, message.enqueued = self.sequence, now
        if message.scheduled is not None and message.scheduled > now:
            message.state = SCHEDULED
            self._add(message)
            self.journal.put_message(self.key, message)
            self._schedule.set(message.sequence, message.scheduled)
        else:
            message.state = ACTIVE
            self._tell(PUBLISHED, message)
            self.arrive(message, now)
        return message.sequence

    def _tell(self, kind: str, message: Message) -> None:
        if self.home.events.active:
            self.home.events.tell(kind, self.path, str(message.message_id))

    def complete(self, message: Message) -> None:
        """Forget a message that whoever received it is done with."""
        self.remove(message)
        self._tell(CONSUMED, message)

    def arrive(self, message: Message, now: float) -> None:
        """Do with a message that is due what this entity does: hold it for consumers, or forward it."""
        if self.forward_to is not None:
            self.forward(message, self.forward_to)
            return
        ttl, default = message.ttl, self.options.default_ttl
        if default is not None and (ttl is None or default < ttl):
            ttl = default
        message.expires = None if ttl is None or self.parent is not None else now + ttl
        self._add(message)
        self.journal.put_message(self.key, message)
        if message.expires is not None:
            self._expiries.set(message.sequence, message.expires)
        self.make_ready(message)

    def forward(self, message: Message, target: str) -> None:
        """Send a message on; what can't be sent on becomes a transfer dead letter here."""
        copy = message.copy()
        copy.hops += 1
        copy.enqueue_sequence = copy.enqueue_sequence or message.sequence
        try:
            if copy.hops > MOST_HOPS:
                raise Refusal(NOT_ALLOWED, "The maximum number of hops when forwarding between entities was exceeded.")
            destination = self.home.find(target)
            destination.check(copy)
        except Refusal as refusal:
            reason = "MaxTransferHopCountExceeded" if copy.hops > MOST_HOPS else refusal.condition
            self._bury(message, TRANSFER_DEAD_LETTERS, reason, refusal.description)
        else:
            destination.accept(copy)
            destination.pump()

    def make_ready(self, message: Message) -> None:
        if self.sessions is not None:
            self.sessions.push(message)
        else:
            self.dispatch.push(message)

    def pump(self) -> None:
        """Deliver what can be delivered."""
        if self.sessions is not None:
            self.sessions.pump()
        else:
            self.dispatch.pump()

    # -- going out

    def hand_over(self, message: Message, consumer: Consumer) -> None:
        """Deliver one ready message to a consumer, locked or for good."""
        self._tell(DELIVERED, message)
        if consumer.peek_lock:
            self.lock(message)
        else:
            self.complete(message)
        consumer.deliver(message)

    def lock(self, message: Message) -> None:
        """Lock a message: for its time, or as long as its session is."""
        token = message.token = os.urandom(16)
        self.locks[token] = message
        if self.sessions is not None:
            self.sessions.hold(message)
        else:
            message.locked_until = self.clock.time() + self.lock_duration
            self._lock_ends.set(token, message.locked_until)

    def unlock(self, message: Message) -> None:
        token = message.token
        if token is None:
            return
        message.token = None
        self.locks.pop(token, None)
        if self.sessions is not None:
            self.sessions.let_go(message, token)
        else:
            self._lock_ends.discard(token)

    def locked(self, token: bytes) -> Message:
        """Return the message that this token locks; raise Refusal where the lock is lost."""
        message = self.locks.get(token)
        if message is None or message.locked_until <= self.clock.time():
            raise Refusal(
                LOCK_LOST,
                "The lock supplied is invalid. Either the lock expired, or the message has already been removed from "
                "the queue, or was received by a different receiver instance.",
            )
        return message

    def renew(self, token: bytes) -> float:
        """Extend a lock by the entity's lock duration from now; return its new end."""
        message = self.locked(token)
        message.locked_until = self.clock.time() + self.lock_duration
        self._lock_ends.set(token, message.locked_until)
        return message.locked_until

    def give_back(self, message: Message, *, failed: bool) -> None:
        """Unlock a message that wasn't settled; `failed` counts the delivery, and too many make a dead letter."""
        self.unlock(message)
        if failed:
            message.delivery_count += 1
            if self.most_deliveries is not None and message.delivery_count >= self.most_deliveries:
                self.dead_letter(
                    message,
                    "MaxDeliveryCountExceeded",
                    f"Message could not be consumed after {self.most_deliveries} delivery attempts.",
                )
                return
            self.journal.put_message(self.key, message)
        if message.expires is not None and message.expires <= self.clock.time():
            self.expire(message)
        elif message.state != DEFERRED:
            self.make_ready(message)

    # -- ending

    def expire(self, message: Message) -> None:
        if getattr(self.options, "dead_letter_on_expiry", False):
            self.dead_letter(message, "TTLExpiredException", "The message expired and was dead lettered.")
        else:
            self.remove(message)

    def dead_letter(self, message: Message, reason: str | None, description: str | None) -> None:
        """Move a message to the dead letters; those of dead letters stay where they are."""
        self.remove(message)
        self._tell(DEAD_LETTERED, message)
        if self.forward_letters_to is not None:
            letter = self._letter(message, reason, description)
            letter.dead_letter_source = self.path
            letter.hops += 1
            letter.enqueue_sequence = letter.enqueue_sequence or message.sequence
            try:
                destination = self.home.find(self.forward_letters_to)
                destination.check(letter)
            except Refusal:
                # As on Service Bus: what can't be forwarded stays among the entity's own dead letters.
                self._bury(message, DEAD_LETTERS, reason, description)
            else:
                destination.accept(letter)
                destination.pump()
            return
        self._bury(message, DEAD_LETTERS, reason, description)

    def _letter(self, message: Message, reason: str | None, description: str | None) -> Message:
        letter = message.copy()
        letter.scheduled = None
        given = {"DeadLetterReason": reason, "DeadLetterErrorDescription": description}
        extra = {name: value for name, value in given.items() if value is not None}
        if extra:
            letter.bare = set_map(letter.bare, extra)
        return letter

    def _bury(self, message: Message, suffix: str, reason: str | None, description: str | None) -> None:
        box = self.letters(suffix) if self.parent is None else self
        box.accept(self._letter(message, reason, description))
        box.pump()

    # -- deadlines

    def _lock_ended(self, token: bytes) -> None:
        message = self.locks.get(token)
        if message is not None:
            self.give_back(message, failed=True)

    def _expired(self, sequence: int) -> None:
        message = self.messages.get(sequence)
        if message is not None and message.token is None:
            self.expire(message)

    def _due(self, sequence: int) -> None:
        message = self.messages.get(sequence)
        if message is None:
            return
        self.remove(message)
        message.enqueued, message.state = self.clock.time(), ACTIVE
        self.arrive(message, message.enqueued)

    # -- life

    def restore(self, message: Message) -> None:
        """Take back a message that a store kept, unlocked."""
        self._add(message)
        if message.state == SCHEDULED and message.scheduled is not None:
            self._schedule.set(message.sequence, message.scheduled)
        elif message.state == ACTIVE:
            if message.expires is not None:
                self._expiries.set(message.sequence, message.expires)
            self.make_ready(message)

    def close(self, refusal: Refusal) -> None:
        """Detach every consumer and stop the timer."""
        self.alarm.stop()
        self.dispatch.close(refusal)
        if self.sessions is not None:
            self.sessions.close(refusal)
        for box in self._letters.values():
            box.close(refusal)

    def erase(self) -> None:
        """Drop all that a store keeps of it."""
        for sequence in self.messages:
            self.journal.drop_message(self.key, sequence)
        self.journal.drop_sequence(self.key)
        self.duplicates.erase()
        if self.sessions is not None:
            self.sessions.erase()
        for box in self._letters.values():
            box.erase()
