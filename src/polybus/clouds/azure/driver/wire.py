"""Messages as Service Bus carries them; docs/wire.md describes the same for readers.

All that has a native place is there: the body as it is, the content type, the ordering key as session id, attributes as
string properties, the id as message id. What has none (a redriven message's id and moves, attributes that Service Bus
can't carry) is in the property `polybus`, which most messages don't have.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from typing import Any

import msgspec
from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType, AmqpMessageProperties

from polybus.binding import Entity, Kind
from polybus.clouds.azure.limits import AZURE
from polybus.driver import Outgoing, Prepared
from polybus.envelope import RESERVED, RESERVED_RULE, RESERVED_TO, Envelope, join, split
from polybus.errors import Fault, FaultKind
from polybus.message import Message
from polybus.portable import invalid, problem, safe_id, too_large
from polybus.topology.limits import DEAD_LETTER_RESERVE_BYTES

__all__ = ["Wire", "decode", "encode", "message_limit", "sayable", "token", "why"]

# What a message id may have (limits: LONGEST_ID in "Service Bus quotas and limits").
LONGEST_ID = 128
VALUE_BYTES = AZURE.attribute_value_bytes.most if AZURE.attribute_value_bytes is not None else 0
# Characters that the reason and the description of a dead letter may have (Service Bus: 4,096 each).
SAID = 4_096
# Before the base64 of a foreign binary property, which has no text: as in a `data:` URL (RFC 2397).
BINARY = "data:;base64,"
# Bytes that a message takes besides its body, ids, content type and properties: section headers, list and map headers,
# nulls of absent fields and annotations (AMQP 1.0, 1.6 and 3.2), counted as their most.
FRAME_BYTES = 160
# Bytes of type and length of one property's name and value, counted as their most (AMQP 1.0, 1.6: str8 or str32).
PROPERTY_BYTES = 10
# Set by Service Bus on dead letters, where they would replace attributes of those names.
_REASON, _DESCRIPTION = "DeadLetterReason", "DeadLetterErrorDescription"
_OF_DEAD_LETTERS = frozenset({_REASON.lower(), _DESCRIPTION.lower()})
# The cloud's own limit of deliveries (contract, D6), in our words.
_EXCEEDED, _MAX_ATTEMPTS = "MaxDeliveryCountExceeded", "MaxAttemptsExceeded"

Wire = ServiceBusMessage | AmqpAnnotatedMessage


def message_limit(target: Entity) -> int:
    """Return the bytes that one message may have: what the binding says, or the Standard tier's limit."""
    return target.max_size if target.max_size is not None else AZURE.default_message_bytes


def encode(outgoing: Outgoing, target: Entity, *, now: float = 0.0, to: str | None = None) -> Prepared[Wire] | Fault:
    """Return a message in its wire form with its size, or why it can't be sent.

    `now` is the time from which a delay counts, in seconds since the epoch; `to` the tag of the one subscription that
    gets it. The size is that of the encoded message or a few bytes more. A message that comes back from dead letters
    was in Service Bus before: its names and session are what Service Bus carries, though a foreign producer may have
    chosen them, and the room that was kept free for its letter is there to be used.
    """
    fault = problem(outgoing, target, "azure", moved=outgoing.moves > 0)
    if fault is not None:
        return fault
    message = outgoing.message
    identity = _message_id(outgoing, to)
    size = 0
    # What polybus itself adds to what comes back from dead letters gives way where there is no room for it: a foreign
    # message may fill what the entity takes.
    for added in (True, False) if outgoing.moves else (True,):
        found = _properties(outgoing, target, identity, to, added=added)
        if isinstance(found, Fault):
            return found
        properties, header = found
        size = _size(message, identity, header)
        if header + _reserve(outgoing) <= AZURE.header_bytes.most and size <= message_limit(target):
            break
    if header + _reserve(outgoing) > AZURE.header_bytes.most:
        return _header_too_large(target, header)
    # The size is counted as its most: whether what was in Service Bus before fits again is Service Bus's to say.
    if size + _reserve(outgoing) - (FRAME_BYTES if outgoing.moves else 0) > message_limit(target):
        return too_large(target, "azure", size, message_limit(target))
    key = message.ordering_key
    if outgoing.delay:
        due = datetime.datetime.fromtimestamp(now + outgoing.delay, datetime.UTC)
        return Prepared(outgoing, size, _scheduled(message, identity, properties, due))
    # The library's plain AMQP message: its ServiceBusMessage takes 40 us more to make, and twice to encode (timeit).
    given = AmqpMessageProperties(message_id=identity, content_type=message.content_type, group_id=key)
    wire = AmqpAnnotatedMessage(
        data_body=message.body,
        properties=given,
        application_properties=properties or None,
    )
    return Prepared(outgoing, size, wire)


def _scheduled(
    message: Message, identity: str, properties: dict[str, str], due: datetime.datetime
) -> ServiceBusMessage:
    given: dict[str | bytes, Any] = dict(properties.items())
    return ServiceBusMessage(
        message.body,
        application_properties=given or None,
        session_id=message.ordering_key,
        message_id=identity,
        content_type=message.content_type,
        scheduled_enqueue_time_utc=due,
    )


def _reserve(outgoing: Outgoing) -> int:
    """Return the room that is kept free for dead-lettering (contract, P4): in the message and in its header."""
    return 0 if outgoing.moves else DEAD_LETTER_RESERVE_BYTES


def _size(message: Message, identity: str, header: int) -> int:
    key, content_type = message.ordering_key, message.content_type
    return (
        FRAME_BYTES
        + len(message.body)
        + len(identity)
        + header
        + (_bytes(content_type) if content_type else 0)
        + (_bytes(key) if key is not None else 0)
    )


def _message_id(outgoing: Outgoing, to: str | None) -> str:
    """Return the key by which Service Bus drops duplicates in a topic or queue.

    Subscriptions of one topic redrive through it, each its own copy of one message: so their moves differ by the tag.
    """
    return safe_id(outgoing.dedup_id if to is None else f"{outgoing.dedup_id}.{to}", LONGEST_ID)


def _properties(
    outgoing: Outgoing, target: Entity, identity: str, to: str | None, *, added: bool
) -> tuple[dict[str, str], int] | Fault:
    """Return the application properties and their bytes; without what polybus adds for itself unless `added`."""
    message = outgoing.message
    native, folded = _divide(message.attributes, target.filter_attributes)
    if isinstance(native, str):
        return invalid(target, "azure", native)
    if folded or (added and (outgoing.moves or identity != message.id)):
        envelope = Envelope(id=message.id, folded=folded, moves=outgoing.moves)
        native = {**native, **split(envelope.to_text(), VALUE_BYTES)}
    if to is not None:
        native = {**native, RESERVED_TO: to}
    return native, sum(PROPERTY_BYTES + len(name) + _bytes(value) for name, value in native.items())


def _header_too_large(target: Entity, header: int) -> Fault:
    return Fault(
        FaultKind.TOO_LARGE,
        f"{target.kind.value} {target.name!r} on azure: attributes of {header} bytes; the limit is "
        f"{AZURE.header_bytes.most} for all of a message, of which {DEAD_LETTER_RESERVE_BYTES} are kept for "
        "dead-lettering (message body limits are larger)",
    )


def _divide(attributes: Mapping[str, str], filtered: tuple[str, ...]) -> tuple[dict[str, str] | str, dict[str, str]]:
    """Return what travels natively and what is folded; a text in place of the first says why that can't be."""
    native: dict[str, str] = {}
    folded: dict[str, str] = {}
    named = {name.lower(): name for name in filtered}
    for name, value in attributes.items():
        lower = name.lower()
        wanted = named.get(lower)
        if wanted is not None and wanted != name:
            return f"attribute {name!r}: Service Bus can't tell it from {wanted!r}, which is in a filter", {}
        if _bytes(value) <= VALUE_BYTES and lower not in _OF_DEAD_LETTERS:
            native[name] = value
        elif wanted is not None:
            return f"attribute {name!r} is in a filter, and Service Bus carries no more than {VALUE_BYTES} bytes", {}
        else:
            folded[name] = value
    return native, folded


def _bytes(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode())


def decode(raw: ServiceBusReceivedMessage, source: Entity) -> tuple[Message, Envelope]:
    """Return the message that a Service Bus message carries, ours or foreign (contract, D14)."""
    given = {_text(name): _text(value) for name, value in (raw.application_properties or {}).items()}
    if source.kind is Kind.DEAD_LETTERS:
        given = {name: value for name, value in given.items() if name not in (_REASON, _DESCRIPTION)}
    given.pop(RESERVED_TO, None)
    given.pop(RESERVED_RULE, None)
    reserved = join(given)
    envelope = Envelope.from_text(reserved) if reserved is not None else None
    if reserved is not None:
        given = {name: value for name, value in given.items() if name.partition(".")[0] != RESERVED}
    envelope = envelope or Envelope()
    enqueued, session, content_type = raw.enqueued_time_utc, raw.session_id, raw.content_type
    message = Message(
        _body(raw),
        {**given, **envelope.folded} if envelope.folded else given,
        None if session is None else _text(session),
        envelope.id or _text(raw.message_id or raw.sequence_number),
        None if enqueued is None else enqueued.timestamp(),
        None if content_type is None else _text(content_type),
    )
    return message, envelope


def token(raw: ServiceBusReceivedMessage) -> str:
    """Return the name of one copy in Service Bus: its number in the entity, and when it came there.

    Numbers begin again where a subscription is made anew, while its topic remembers the moves of the last one.
    """
    enqueued = raw.enqueued_time_utc
    at = 0 if enqueued is None else int(enqueued.timestamp() * 1000)
    return f"{raw.sequence_number or 0:x}-{at:x}"


def sayable(text: str) -> str:
    """Return a reason or description as Service Bus takes it: Unicode text, and not too long."""
    return text[:SAID].encode(errors="replace").decode()


def why(raw: ServiceBusReceivedMessage, source: Entity) -> tuple[str | None, str | None]:
    """Return the reason and description of a dead letter; neither for any other message."""
    if source.kind is not Kind.DEAD_LETTERS:
        return None, None
    given = raw.application_properties or {}
    reason, description = (_text(given.get(name.encode()) or "") for name in (_REASON, _DESCRIPTION))
    if reason == _EXCEEDED:
        return _MAX_ATTEMPTS, f"{_EXCEEDED}: {description}" if description else _EXCEEDED
    return reason or "unknown", description or None


def _body(raw: ServiceBusReceivedMessage) -> bytes:
    """Return the body: bytes and text as they are, any other AMQP value and a sequence as JSON."""
    if raw.body_type is AmqpMessageBodyType.DATA:
        return b"".join(raw.body)
    value = list(raw.body) if raw.body_type is AmqpMessageBodyType.SEQUENCE else raw.body
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    return msgspec.json.encode(_plain(value))


def _plain(value: Any) -> Any:
    """Return a decoded AMQP value as JSON can have it; the library leaves strings as UTF-8 bytes."""
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    # Described numbers (.NET's TimeSpan and DateTimeOffset are such) are of classes of the library's own.
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else _text(value)


def _text(value: object) -> str:
    """Return a property's name or value as text: numbers and UUIDs as written, dates in milliseconds since 1970.

    The library gives strings and binary values alike as bytes. What is no UTF-8 can't be a string: it is marked.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        found = bytes(value)
        try:
            return found.decode()
        except UnicodeDecodeError:
            return BINARY + base64.b64encode(found).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
