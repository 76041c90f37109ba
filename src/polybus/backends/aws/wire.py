"""Messages as SNS and SQS carry them; docs/wire.md describes the same for readers.

A body that is legal SQS text travels as it is, any other as base64. Attributes travel as String message attributes;
what SQS can't carry (more than its ten, empty values, control characters) is folded into the reserved one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.backends.portable import invalid, problem, too_large
from polybus.binding import Entity, Kind
from polybus.driver import Outgoing, Prepared
from polybus.envelope import RESERVED, Envelope, decode_text, encode_text, short_type
from polybus.errors import Fault
from polybus.message import Message
from polybus.topology.limits import AWS, DEAD_LETTER_RESERVE_BYTES

__all__ = ["Wire", "decode", "encode", "message_limit", "why"]

# What SQS refuses in bodies and attribute values (SendMessage in the SQS API reference): all but #x9, #xA, #xD,
# #x20-#xD7FF, #xE000-#xFFFD, #x10000-#x10FFFF. Surrogates never reach this: they have no UTF-8.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

# Of SQS's ten attributes (limits.md) one is the reserved one, and one is kept free for dead-lettering (contract, P4).
NATIVE = AWS.attribute_count.most - 2
# Name, type and value count (SQS developer guide, message metadata): here those of the reserved attribute.
_STRING = len("String")


class Wire(msgspec.Struct, frozen=True):
    """What becomes one entry of a batch call."""

    body: str
    attributes: dict[str, Any]


def message_limit(target: Entity) -> int:
    """Return the bytes that one message may have: what the topology says, or the cloud's default."""
    if target.max_size is not None:
        return target.max_size
    return AWS.sns_default_bytes if target.kind is Kind.TOPIC else AWS.default_message_bytes


def encode(
    outgoing: Outgoing,
    target: Entity,
    *,
    reason: str = "",
    description: str = "",
) -> Prepared[Wire] | Fault:
    """Return a message in its wire form with its size as AWS counts it, or why it can't be sent.

    One that moves to or from dead letters was in SQS before: its names are what SQS carries, though a foreign producer
    may have chosen them, and the room that was kept free for its letter is there to be used.
    """
    moved = outgoing.moves > 0
    fault = problem(outgoing, target, "aws", moved=moved)
    if fault is not None:
        return fault
    message = outgoing.message
    text = _text(message.body)
    body, encoding = encode_text(message.body, text is not None and _ILLEGAL.search(text) is None, text)
    native, folded = _divide(message.attributes, target.filter_attributes)
    if isinstance(native, str):
        return invalid(target, "aws", native)
    envelope = Envelope(
        id=message.id,
        type=short_type(message.content_type),
        encoding=encoding,
        folded=folded,
        # A letter's group is its own; an unordered queue of an ordered topic gets no group from SNS.
        key=message.ordering_key if reason or target.kind is Kind.TOPIC else None,
        moves=outgoing.moves,
        reason=reason,
        description=description,
    )
    reserved = envelope.to_text()
    size = len(body) if body.isascii() else len(body.encode())
    attributes = {}
    for name, value in (*native.items(), (RESERVED, reserved)):
        attributes[name] = {"DataType": "String", "StringValue": value}
        size += len(name) + _STRING + (len(value) if value.isascii() else len(value.encode()))
    limit = message_limit(target)
    if size + (0 if moved else DEAD_LETTER_RESERVE_BYTES) > limit:
        return too_large(target, "aws", size, limit)
    return Prepared(outgoing, size, Wire(body, attributes))


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _divide(attributes: Mapping[str, str], filtered: tuple[str, ...]) -> tuple[dict[str, str] | str, dict[str, str]]:
    """Return what travels natively and what is folded; a text in place of the first says why that can't be."""
    native: dict[str, str] = {}
    folded: dict[str, str] = {}
    for name in filtered:
        value = attributes.get(name)
        if value is None:
            continue
        if not value or _ILLEGAL.search(value):
            return f"attribute {name!r} is in a filter, and SNS carries no empty values or control characters", {}
        if len(native) >= NATIVE:
            return f"more than {NATIVE} attributes of this message are in filters, and SQS carries no more", {}
        native[name] = value
    for name, value in attributes.items():
        if name in native:
            continue
        if value and len(native) < NATIVE and not _ILLEGAL.search(value):
            native[name] = value
        else:
            folded[name] = value
    return native, folded


def decode(raw: Mapping[str, Any], source: Entity) -> tuple[Message, Envelope]:
    """Return the message that an SQS message carries, ours or foreign (contract, D14)."""
    system = raw.get("Attributes", {})
    given = {name: _value(value) for name, value in raw.get("MessageAttributes", {}).items()}
    reserved = given.pop(RESERVED, None)
    envelope = None if reserved is None else Envelope.from_text(reserved)
    group = system.get("MessageGroupId") if source.ordered else None
    sent = int(system["SentTimestamp"]) / 1000 if "SentTimestamp" in system else None
    if envelope is None:
        return _foreign(raw, given, group, sent), Envelope()
    attributes = {**given, **envelope.folded} if envelope.folded else given
    try:
        body = decode_text(raw["Body"], envelope.encoding)
    except ValueError:
        body = raw["Body"].encode()  # someone changed it on the way; better delivered as it is than not at all
    key = envelope.key if envelope.key is not None else group
    message = Message(body, attributes, key, envelope.id, envelope.published_at or sent, envelope.content_type)
    return message, envelope


def why(envelope: Envelope, source: Entity) -> str | None:
    """Return why a message is among dead letters: what the bus wrote, or SQS's own redrive (contract, D6)."""
    return envelope.reason or ("MaxAttemptsExceeded" if source.kind is Kind.DEAD_LETTERS else None)


def _foreign(raw: Mapping[str, Any], given: dict[str, str], group: str | None, sent: float | None) -> Message:
    body: str = raw["Body"]
    notification = _notification(body)
    if notification is not None:
        attributes = {
            name: str(value.get("Value", "")) for name, value in notification.get("MessageAttributes", {}).items()
        }
        return Message(str(notification["Message"]).encode(), {**attributes, **given}, group, raw["MessageId"], sent)
    return Message(body.encode(), given, group, raw["MessageId"], sent)


def _notification(body: str) -> dict[str, Any] | None:
    """Return the SNS envelope that a subscription without raw delivery puts around a message, or None."""
    if not body.startswith("{") or '"TopicArn"' not in body:
        return None
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    if isinstance(found, dict) and found.get("Type") == "Notification" and "Message" in found:
        return found
    return None


def _value(attribute: Mapping[str, Any]) -> str:
    if "StringValue" in attribute:
        return str(attribute["StringValue"])
    import base64

    return base64.b64encode(attribute.get("BinaryValue", b"")).decode()
