"""Messages as Pub/Sub carries them; docs/wire.md describes the same for readers.

A body travels as it is, attributes as attributes. What Pub/Sub can't carry, values over 1,024 bytes and more attributes
than there is room for, is folded into the reserved attribute, which continues in `polybus.1` and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from polybus.binding import Entity, Kind
from polybus.clouds.gcp.limits import GCP
from polybus.driver import Outgoing, Prepared
from polybus.envelope import RESERVED, RESERVED_TO, Envelope, join, short_type, split
from polybus.errors import Fault
from polybus.message import Message
from polybus.portable import invalid, problem, too_large
from polybus.topology.limits import DEAD_LETTER_RESERVE_BYTES

__all__ = ["Pb", "Wire", "decode", "encode", "fill", "mark_again", "published", "why"]

Pb = Any
"""A raw protobuf message: its class is made at run time."""

VALUE = GCP.attribute_value_bytes.most if GCP.attribute_value_bytes else 0
# What Pub/Sub itself adds to a message that it forwards to a dead-letter topic (Message.proto of the API, and
# "Handle message failures" in its documentation).
SOURCE = "CloudPubSubDeadLetterSource"
_FORWARDED = tuple(
    SOURCE + name
    for name in ("DeliveryCount", "Subscription", "SubscriptionProject", "TopicPublishTime", "ResourceName")
)
# Of 100 attributes these are kept free: five that Pub/Sub adds to a letter, one for `polybus_to`, and three more
# continuations of the reserved one, into which a letter's reason and description (DEAD_LETTER_RESERVE_BYTES) fit.
FREE = 5 + 1 + 3
_COUNT = GCP.attribute_count.most if GCP.attribute_count else 0
MOST = _COUNT - FREE
_CONTINUED = f"{RESERVED}.1"
_RESERVED_SIZE = len(RESERVED) + 10  # its name, and what any attribute costs: see ATTRIBUTE_FRAME
_OTHERS = (RESERVED, SOURCE)  # beginnings of names that we, and Pub/Sub for a letter, give to others
# What a message gets that is sent again, though it may have been accepted before: Pub/Sub drops no duplicates.
_AGAIN = ',"x":true}'
# Beyond this many attributes the rest is folded: short ones take less room together than one by one.
NATIVE = 80
# Bytes of tags and lengths in front of what protobuf carries, at most: of a message in a request with its body and key,
# and of an attribute with its name and value.
FRAME = 16
ATTRIBUTE_FRAME = 10


class Wire(msgspec.Struct, frozen=True, gc=False):
    """What becomes one message of a request.

    Not a protobuf message yet: made inside of its request it takes a third of the time and no memory of its own.
    """

    body: bytes
    attributes: dict[str, str]
    key: str


def fill(messages: Pb, wires: Iterable[Wire]) -> None:
    """Add messages to a request's repeated field."""
    for wire in wires:
        attributes = messages.add(data=wire.body, ordering_key=wire.key).attributes
        for name, value in wire.attributes.items():
            attributes[name] = value


def mark_again(wire: Wire) -> None:
    """Have a message say that an earlier try of it may have been accepted; `encode` has kept the room for that."""
    text = join(wire.attributes)
    if text is not None and not text.endswith(_AGAIN):  # None: a bare copy of what had no room for a word
        wire.attributes.update(split(text[:-1] + _AGAIN, VALUE))


def encode(
    outgoing: Outgoing,
    target: Entity,
    *,
    to: str | None = None,
    reason: str = "",
    description: str = "",
    room: int = GCP.request_bytes.most,
) -> Prepared[Wire] | Fault:
    """Return a message in its wire form with its size as Pub/Sub counts it, or why it can't be sent.

    `to` is the tag of the one subscription that shall get it; with a `reason` it is a dead letter. `room` is how many
    bytes a request to its topic has for messages. One that moves to or
    from dead letters was in Pub/Sub before: its names and key are what Pub/Sub carries, though a foreign producer may
    have chosen them, and the room that was kept free for its letter is there to be used. What polybus adds gives way to
    what it has: the description first, then the reason, and for a foreign message, which kept no room free, all.
    """
    moved = outgoing.moves > 0
    fault = problem(outgoing, target, "gcp", moved=moved)
    if fault is not None:
        return fault
    message = outgoing.message
    native, folded, size = _divide(message.attributes)
    if folded and any(name in folded for name in target.filter_attributes):
        given = message.attributes
        first = {name: given[name] for name in target.filter_attributes if name in given}
        native, folded, size = _divide({**first, **given})
        for name in first:
            if name in folded:
                return invalid(target, "gcp", _unfit(name, given[name]))
    envelope = Envelope(
        id=message.id,
        type=short_type(message.content_type),
        folded=folded,
        # A letter has no key on the wire, or one that someone looks at would hold up the others of its key.
        key=message.ordering_key if reason else None,
        published=round(message.published_at * 1000) if moved and message.published_at else 0,
        moves=outgoing.moves,
        reason=reason,
        description=description,
    )
    key = "" if reason or message.ordering_key is None else message.ordering_key
    size += len(message.body) + len(key) + FRAME
    if to is not None:
        size += len(RESERVED_TO) + len(to) + ATTRIBUTE_FRAME
    limit = min(target.max_size or GCP.default_message_bytes, room if moved else GCP.request_bytes.most)
    most = MOST + FREE - 1 if moved else MOST
    again = 0 if reason else len(_AGAIN)
    if moved:
        fitted = envelope.fitted(_room(limit - size, most - len(native)) - again)
        bare = _bare(outgoing, target, to, limit) if fitted is None else None
        if bare is not None:
            return bare
        envelope = fitted or envelope
    text = envelope.to_text()
    longest = len(text) + again
    parts = -(-longest // VALUE)
    size += longest + (_RESERVED_SIZE if parts == 1 else (_RESERVED_SIZE + 4) * parts)
    if len(native) + parts > most:
        return invalid(target, "gcp", _too_many(len(message.attributes), len(native) + parts, most))
    if len(text) <= VALUE:
        native[RESERVED] = text
    else:
        native.update(split(text, VALUE))
    if to is not None:
        native[RESERVED_TO] = to
    if size + (0 if moved else DEAD_LETTER_RESERVE_BYTES) > limit:
        return too_large(target, "gcp", size, limit)
    return Prepared(outgoing, size, Wire(message.body, native, key))


def _room(left: int, parts: int) -> int:
    """Return how long the reserved attribute's text may be, in so many bytes and so many attributes."""
    parts = min(parts, left // VALUE + 1)
    return min(parts * VALUE, left - (_RESERVED_SIZE + 4) * parts)


def _bare(outgoing: Outgoing, target: Entity, to: str | None, limit: int) -> Prepared[Wire] | None:
    """Return a foreign message as it came, without a word of polybus's; None where that would lose something.

    A foreign message's id is Pub/Sub's own of that copy, so that a copy of it has another, and it has no content type.
    A queue's topic has no subscription but its own, which takes what is for nobody in particular.
    """
    message = outgoing.message
    given = dict(message.attributes)
    if message.id != outgoing.token or message.content_type is not None:
        return None
    if any(name.startswith((RESERVED, SOURCE)) for name in given):
        return None
    if to is not None and target.kind is not Kind.QUEUE:
        given[RESERVED_TO] = to
    values = [len(value.encode()) for value in given.values()]
    if len(given) > _COUNT or any(value > VALUE for value in values):
        return None
    key = message.ordering_key or ""
    size = sum(len(name.encode()) + ATTRIBUTE_FRAME for name in given) + sum(values)
    size += len(message.body) + len(key.encode()) + FRAME
    if size > limit:
        return None
    return Prepared(outgoing, size, Wire(message.body, given, key))


def _divide(attributes: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], int]:
    """Return what travels natively, what is folded, and the bytes of the first."""
    native: dict[str, str] = {}
    folded: dict[str, str] = {}
    size = 0
    for name, value in attributes.items():
        length = len(value) if value.isascii() else len(value.encode())
        # A foreign producer may have attributes of those names.
        if length <= VALUE and len(native) < NATIVE and not name.startswith(_OTHERS):
            native[name] = value
            size += len(name) + length + ATTRIBUTE_FRAME
        else:
            folded[name] = value
    return native, folded, size


def _unfit(name: str, value: str) -> str:
    if len(value.encode()) > VALUE:
        return f"attribute {name!r} is in a filter, and Pub/Sub carries values of at most {VALUE} bytes"
    return f"more than {NATIVE} attributes of this message are in filters, and Pub/Sub has no room for more"


def _too_many(given: int, needed: int, most: int) -> str:
    return (
        f"{given} attributes need {needed} of Pub/Sub's attributes of {VALUE} bytes each, and it has room for {most}; "
        "put them into the body"
    )


def decode(raw: Pb, source: Entity) -> tuple[Message, Envelope]:
    """Return the message that a PubsubMessage carries, ours or foreign (contract, D14)."""
    given = raw.attributes
    attributes: dict[str, str] = {name: given[name] for name in given}  # a third less than dict() takes
    if source.kind is Kind.DEAD_LETTERS:
        for name in _FORWARDED:
            attributes.pop(name, None)
    key: str | None = raw.ordering_key or None
    text = attributes.get(RESERVED)
    envelope = None
    if text is not None:
        envelope = Envelope.from_text(text) if _CONTINUED not in attributes else _joined(attributes)
    if envelope is None:
        attributes.pop(RESERVED_TO, None)
        return Message(raw.data, attributes, key, raw.message_id, published(raw)), Envelope()
    del attributes[RESERVED]
    attributes.pop(RESERVED_TO, None)
    if envelope.folded:
        attributes.update(envelope.folded)
    key = envelope.key or key
    identity = envelope.id or raw.message_id
    at = envelope.published_at or published(raw)
    return Message(raw.data, attributes, key, identity, at, envelope.content_type), envelope


def _joined(attributes: dict[str, str]) -> Envelope | None:
    text = join(attributes)
    envelope = None if text is None else Envelope.from_text(text)
    if envelope is not None:
        index = 1
        while attributes.pop(f"{RESERVED}.{index}", None) is not None:
            index += 1
    return envelope


def published(raw: Pb) -> float:
    """Return when a PubsubMessage was published, in seconds since the epoch."""
    stamp = raw.publish_time
    return float(stamp.seconds + stamp.nanos * 1e-9)


def why(envelope: Envelope, source: Entity) -> str | None:
    """Return why a message is among dead letters: what the bus wrote, or Pub/Sub's own limit (contract, D6)."""
    return envelope.reason or ("MaxAttemptsExceeded" if source.kind is Kind.DEAD_LETTERS else None)
