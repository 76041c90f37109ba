"""Messages as SNS and SQS carry them; docs/wire.md describes the same for readers.

A body that is legal SQS text travels as it is, any other as base64. Attributes travel as String message attributes;
what SQS can't carry (more than its ten, empty values, control characters) is folded into the reserved one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from polybus.binding import Entity, Kind
from polybus.clouds.aws.driver.notification import read_notification
from polybus.clouds.aws.limits import AWS
from polybus.driver import Outgoing, Prepared
from polybus.envelope import RESERVED, Envelope, decode_text, encode_text, short_type
from polybus.errors import Fault
from polybus.message import Message
from polybus.portable import invalid, problem, safe_id, too_large
from polybus.topology.limits import DEAD_LETTER_RESERVE_BYTES

__all__ = ["Wire", "decode", "encode", "group_id", "message_limit", "sent_at", "topics_of", "why"]

# What SQS refuses in bodies and attribute values (SendMessage in the SQS API reference): all but #x9, #xA, #xD,
# #x20-#xD7FF, #xE000-#xFFFD, #x10000-#x10FFFF. Surrogates never reach this: they have no UTF-8.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

# Of SQS's ten attributes (its quotas) one is the reserved one, and one is kept free for dead-lettering (contract, P4).
NATIVE = AWS.attribute_count.most - 2
# Name, type and value count (SQS developer guide, message metadata): here those of the reserved attribute.
_STRING = len("String")


class Wire(msgspec.Struct, frozen=True):
    """What becomes one entry of a batch call; `group` is set where a letter has to keep its message's own."""

    body: str
    attributes: dict[str, Any]
    group: str | None = None


def group_id(key: str) -> str:
    """Return the MessageGroupId of an ordering key: itself where SQS takes it, else a hash of it."""
    return safe_id(key, 128)


def topics_of(source: Entity, topics: Mapping[str, Entity]) -> frozenset[str]:
    """Return the ARNs of what may deliver to `source`: a subscription's own topic, any of the bus to a queue."""
    names = topics if source.topic is None else (source.topic,)
    return frozenset(topics[name].address for name in names if name in topics)


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
    may have chosen them, and the room that was kept free for its letter is there to be used. What polybus adds gives
    way to what it has: the description first, then the reason, and for a foreign message, which kept no room free, all.
    """
    moved = outgoing.moves > 0
    fault = problem(outgoing, target, "aws", moved=moved)
    if fault is not None:
        return fault
    message = outgoing.message
    text = _text(message.body)
    body, encoding = encode_text(message.body, text is not None and _ILLEGAL.search(text) is None, text)
    native, folded = _divide(message.attributes, () if moved else target.filter_attributes)
    if isinstance(native, str):
        return invalid(target, "aws", native)
    key = message.ordering_key
    envelope = Envelope(
        id=message.id,
        type=short_type(message.content_type),
        encoding=encoding,
        folded=folded,
        key=key if _needs_key(key, target, letter=bool(reason)) else None,
        published=round(message.published_at * 1000) if moved and message.published_at else 0,
        moves=outgoing.moves,
        reason=reason,
        description=description,
    )
    size = _size(body) + sum(_attribute_size(name, value) for name, value in native.items())
    size += _attribute_size(RESERVED, "")
    limit = message_limit(target)
    fitted = envelope.fitted(limit - size, ascii=False) if moved else envelope
    if fitted is None:
        size += _size(envelope.to_text(ascii=False))
        return _bare(outgoing, target, body) or too_large(target, "aws", size, limit)
    reserved = fitted.to_text(ascii=False)
    size += _size(reserved)
    if size + (0 if moved else DEAD_LETTER_RESERVE_BYTES) > limit:
        return too_large(target, "aws", size, limit)
    return Prepared(outgoing, size, Wire(body, _attributes({**native, RESERVED: reserved})))


def _needs_key(key: str | None, target: Entity, *, letter: bool) -> bool:
    """Say whether the group that SQS carries won't say what the ordering key is.

    A letter's group is its own, an unordered queue of an ordered topic gets none from SNS, and a key may be no group.
    """
    return key is not None and (letter or target.kind is Kind.TOPIC or not target.ordered or group_id(key) != key)


def _bare(outgoing: Outgoing, target: Entity, body: str) -> Prepared[Wire] | None:
    """Return a foreign message as it came, without a word of polybus's; None where that would lose something.

    A foreign message's id is SQS's own of that copy, so that a copy of it has another; it has no content type, and its
    ordering key is its group.
    """
    message = outgoing.message
    given = message.attributes
    foreign = message.id == outgoing.token and message.content_type is None
    if not foreign or body.encode() != message.body or len(given) > AWS.attribute_count.most:
        return None
    if any(not value or _ILLEGAL.search(value) for value in given.values()):
        return None
    size = _size(body) + sum(_attribute_size(name, value) for name, value in given.items())
    if size > message_limit(target):
        return None
    key = message.ordering_key
    return Prepared(outgoing, size, Wire(body, _attributes(given), None if key is None else group_id(key)))


def _attributes(given: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in given.items()}


def _attribute_size(name: str, value: str) -> int:
    return _size(name) + _STRING + _size(value)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


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
        # A foreign producer may have an attribute of the reserved name that isn't ours.
        if value and name != RESERVED and len(native) < NATIVE and not _ILLEGAL.search(value):
            native[name] = value
        else:
            folded[name] = value
    return native, folded


def decode(raw: Mapping[str, Any], source: Entity, topics: frozenset[str] = frozenset()) -> tuple[Message, Envelope]:
    """Return the message that an SQS message carries, ours or foreign (contract, D14).

    `topics` are the ARNs of what may deliver here: what comes from one of them in SNS's envelope is opened.
    """
    system = raw.get("Attributes", {})
    given = {name: _value(value) for name, value in raw.get("MessageAttributes", {}).items()}
    group = system.get("MessageGroupId") if source.ordered else None
    sent = int(system["SentTimestamp"]) / 1000 if "SentTimestamp" in system else None
    text, identity = raw["Body"], raw["MessageId"]
    # Only what is delivered raw has attributes in SQS.
    notification = None if given or not topics else read_notification(text, topics)
    if notification is not None:
        text, given, sent = notification.text, notification.attributes, notification.sent
        identity = notification.id or identity
    reserved = given.pop(RESERVED, None)
    envelope = None if reserved is None else Envelope.from_text(reserved)
    if envelope is None:
        if reserved is not None:
            given[RESERVED] = reserved  # not ours: shown as it is
        return Message(text.encode(), given, group, identity, sent), Envelope()
    attributes = {**given, **envelope.folded} if envelope.folded else given
    try:
        body = decode_text(text, envelope.encoding)
    except ValueError:
        body = text.encode()  # someone changed it on the way; better delivered as it is than not at all
    key = envelope.key or group
    published = envelope.published_at or sent
    return Message(body, attributes, key, envelope.id or identity, published, envelope.content_type), envelope


def sent_at(raw: Mapping[str, Any]) -> float | None:
    """Return when a message was sent to its queue, in seconds since the epoch."""
    sent = raw["Attributes"].get("SentTimestamp")
    return None if sent is None else int(sent) / 1000


def why(envelope: Envelope, source: Entity) -> str | None:
    """Return why a message is among dead letters: what the bus wrote, or SQS's own redrive (contract, D6)."""
    return envelope.reason or ("MaxAttemptsExceeded" if source.kind is Kind.DEAD_LETTERS else None)


def _value(attribute: Mapping[str, Any]) -> str:
    if "StringValue" in attribute:
        return str(attribute["StringValue"])
    return base64.b64encode(attribute.get("BinaryValue", b"")).decode()
