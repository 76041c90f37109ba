"""One message: what a sender gave, kept byte for byte, and what the service adds to it."""

from __future__ import annotations

from operator import itemgetter
from typing import Any
from uuid import UUID, uuid4

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp.decode import DecodeError, decode, decode_one, fields
from polybus.localcloud.servicebus.amqp.sections import (
    ANNOTATIONS,
    APPLICATION,
    DELIVERY_ANNOTATIONS,
    FOOTER,
    HEADER,
    PROPERTIES,
    replace_properties,
    sections,
    text,
)

__all__ = ["ACTIVE", "DEFERRED", "SCHEDULED", "Message", "parse", "render"]

# Values of x-opt-message-state (azure-servicebus, ServiceBusMessageState).
ACTIVE, DEFERRED, SCHEDULED = 0, 1, 2
FOREVER_MS = 922_337_203_685_477  # .NET's TimeSpan.MaxValue: clients send it for "no time to live"

_ENQUEUED = e.symbol("x-opt-enqueued-time")
_SEQUENCE = e.symbol("x-opt-sequence-number")
_ENQUEUE_SEQUENCE = e.symbol("x-opt-enqueue-sequence-number")
_LOCKED_UNTIL = e.symbol("x-opt-locked-until")
_STATE = e.symbol("x-opt-message-state")
_DEAD_LETTER_SOURCE = e.symbol("x-opt-deadletter-source")
_LOCK_TOKEN = e.symbol("x-opt-lock-token")
_OWN = {
    "x-opt-enqueued-time",
    "x-opt-sequence-number",
    "x-opt-enqueue-sequence-number",
    "x-opt-locked-until",
    "x-opt-message-state",
    "x-opt-deadletter-source",
}
_COMPOUND = (DELIVERY_ANNOTATIONS, APPLICATION, FOOTER)
_NO_DELIVERY_ANNOTATIONS = e.described(DELIVERY_ANNOTATIONS, e.mapping([]))


class Message:
    """A message of one mailbox. Times are seconds since the epoch; `bare` is what no one but an action may change."""

    __slots__ = (
        "annotations", "bare", "dead_letter_source", "delivery_count", "durable", "enqueue_sequence", "enqueued",
        "expires", "hops", "locked_until", "message_id", "partition_key", "priority", "scheduled", "sequence",
        "session_id", "state", "token", "ttl",
    )  # fmt: skip

    def __init__(self, bare: bytes) -> None:
        self.bare = bare
        self.annotations: list[tuple[bytes, bytes]] = []
        self.durable: bool | None = None
        self.priority: int | None = None
        self.ttl: float | None = None
        self.message_id: Any = None
        self.session_id: str | None = None
        self.partition_key: str | None = None
        self.scheduled: float | None = None
        self.sequence = 0
        self.enqueue_sequence = 0
        self.enqueued = 0.0
        self.expires: float | None = None
        self.delivery_count = 0
        self.state = ACTIVE
        self.hops = 0
        self.dead_letter_source: str | None = None
        self.token: bytes | None = None
        self.locked_until = 0.0

    @property
    def size(self) -> int:
        return len(self.bare)

    def copy(self) -> Message:
        """Return a copy that another mailbox can own: unlocked and active."""
        twin = Message(self.bare)
        for name in (
            "annotations", "durable", "priority", "ttl", "message_id", "session_id", "partition_key", "scheduled",
            "sequence", "enqueue_sequence", "enqueued", "delivery_count", "hops", "dead_letter_source",
        ):  # fmt: skip
            setattr(twin, name, getattr(self, name))
        return twin

    def row(self) -> list[Any]:
        """Return what a store keeps of it."""
        return [
            self.bare, [list(pair) for pair in self.annotations], self.durable, self.priority, self.ttl,
            self.scheduled, self.sequence, self.enqueue_sequence, self.enqueued, self.expires,
            self.delivery_count, self.state, self.hops, self.dead_letter_source,
        ]  # fmt: skip

    @classmethod
    def from_row(cls, row: list[Any]) -> Message:
        message = cls(row[0])
        message.annotations = [(key, value) for key, value in row[1]]
        (message.durable, message.priority, message.ttl, message.scheduled, message.sequence,
         message.enqueue_sequence, message.enqueued, message.expires, message.delivery_count, message.state,
         message.hops, message.dead_letter_source) = row[2:]  # fmt: skip
        message.read_bare()
        return message

    def give_id(self) -> None:
        """Give it an id where its sender gave none, as the service does."""
        if self.message_id is None:
            self.message_id = uuid4().hex
            self.bare = replace_properties(self.bare, {0: e.string(self.message_id)})

    def read_bare(self) -> None:
        """Take over the ids that the bare message holds; raise DecodeError."""
        self.message_id = self.session_id = None
        for code, _, value, _ in sections(self.bare):
            if code != PROPERTIES:
                continue
            found = fields(self.bare, value)
            if found:
                self.message_id = text(decode_one(found[0]))
            if len(found) > 10:
                session = text(decode_one(found[10]))
                if session is not None and not isinstance(session, str):
                    raise DecodeError("the group-id is not a string")
                self.session_id = session
        for name, encoded in self.annotations:
            if text(decode_one(name)) == "x-opt-partition-key":
                self.partition_key = text(decode_one(encoded))


def _read_header(message: Message, data: bytes, at: int) -> None:
    header, _ = decode(data, at)
    if not isinstance(header, list):
        raise DecodeError("the header is no list")
    header += [None] * (5 - len(header))
    durable, priority, ttl = header[:3]
    if durable is not None and not isinstance(durable, bool):
        raise DecodeError("the header's durable is no boolean")
    for number in (priority, ttl):
        if number is not None and (not isinstance(number, int) or number < 0):
            raise DecodeError("the header's priority or ttl is no unsigned number")
    message.durable, message.priority = durable, None if priority is None else priority & 0xFF
    message.ttl = None if ttl is None or ttl >= FOREVER_MS else ttl / 1000


def _read_annotations(message: Message, data: bytes, at: int) -> None:
    flat = fields(data, at)
    for key, value in zip(flat[::2], flat[1::2], strict=False):
        name = text(decode_one(key))
        if not isinstance(name, str) or name in _OWN:
            continue
        message.annotations.append((key, value))
        if name == "x-opt-scheduled-enqueue-time":
            when = decode_one(value)
            if not isinstance(when, int):
                raise DecodeError("x-opt-scheduled-enqueue-time is no timestamp")
            message.scheduled = when / 1000


def parse(data: bytes) -> Message:
    """Read one message as it came from a sender; raise DecodeError.

    The service takes a message without a body, and sections at any place: azure-servicebus writes delivery annotations
    at the end (its own live tests send both). They are kept in the order of AMQP 3.2, under numeric descriptors.
    """
    message = Message(b"")
    kept: list[tuple[int, bytes]] = []
    for code, start, value, end in sections(data):
        if code == HEADER:
            _read_header(message, data, value)
        elif code == ANNOTATIONS:
            _read_annotations(message, data, value)
        elif code in _COMPOUND:
            fields(data, value)
        if code >= PROPERTIES:
            kept.append((code, data[start:end] if data[start + 1] == 0x53 else e.described(code, data[value:end])))
    if not data:
        raise DecodeError("a message has no sections")
    kept.sort(key=itemgetter(0))
    message.bare = b"".join([encoded for _, encoded in kept])
    message.read_bare()
    return message


def render(message: Message, *, locked: bool, shown_state: int = ACTIVE) -> bytes:
    """Return the message as it is delivered; `locked` adds its lock's token and end."""
    ttl = message.ttl
    header = [
        e.NULL if message.durable is None else e.boolean(message.durable),
        e.NULL if message.priority is None else e.ubyte(message.priority),
        e.NULL if ttl is None or ttl * 1000 > 0xFFFFFFFF else e.uint(int(ttl * 1000)),
        e.NULL,
        e.uint(message.delivery_count),
    ]
    annotations = [
        *message.annotations,
        (_ENQUEUED, e.timestamp(int(message.enqueued * 1000))),
        (_SEQUENCE, e.long(message.sequence)),
    ]
    if message.enqueue_sequence:
        annotations.append((_ENQUEUE_SEQUENCE, e.long(message.enqueue_sequence)))
    if message.dead_letter_source is not None:
        annotations.append((_DEAD_LETTER_SOURCE, e.string(message.dead_letter_source)))
    if shown_state != ACTIVE:
        annotations.append((_STATE, e.int32(shown_state)))
    delivery = _NO_DELIVERY_ANNOTATIONS
    if locked and message.token is not None:
        annotations.append((_LOCKED_UNTIL, e.timestamp(int(message.locked_until * 1000))))
        delivery = e.described(DELIVERY_ANNOTATIONS, e.mapping([(_LOCK_TOKEN, e.uuid(UUID(bytes_le=message.token)))]))
    return (
        e.described(HEADER, e.items(header))
        + delivery
        + e.described(ANNOTATIONS, e.mapping(annotations))
        + message.bare
    )
