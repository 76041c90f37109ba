"""The two hot message types, PubsubMessage and ReceivedMessage, assembled as bytes.

A message is kept as the bytes that every delivery of it has in common, not as a protobuf object: an object that came
with a request keeps that whole request in memory (they share one arena), so that a single unacked message would hold a
thousand; and writing the bytes out again takes 0.5 us a delivery, building and serialising a ReceivedMessage 2.1 us
(256-byte body, two attributes, 100 to a response).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from polybus.localcloud.pubsub.protocol import Proto, PubsubMessage, split_time

if TYPE_CHECKING:
    from polybus.localcloud.pubsub.state import Entry

__all__ = ["ACK_ID_LENGTH", "decode", "encode", "publish_stamp", "received_messages", "varint"]

# Google's ack ids are of about this length, which makes clients' batches of acks as large as they are there.
ACK_ID_LENGTH = 176

# Tags: field number << 3 | wire type (2: bytes, 0: varint).
_MESSAGE_ID = b"\x1a"  # PubsubMessage.message_id = 3
_PUBLISH_TIME = b"\x22"  # PubsubMessage.publish_time = 4
_RECEIVED = b"\x0a"  # PullResponse.received_messages = 1, StreamingPullResponse.received_messages = 1
_ACK_ID = b"\x0a" + bytes((ACK_ID_LENGTH & 0x7F | 0x80, ACK_ID_LENGTH >> 7))  # ReceivedMessage.ack_id = 1
_MESSAGE = b"\x12"  # ReceivedMessage.message = 2
_ATTEMPT = b"\x18"  # ReceivedMessage.delivery_attempt = 3
_ACK_PART = len(_ACK_ID) + ACK_ID_LENGTH


def varint(number: int) -> bytes:
    """Return a non-negative number as protobuf's base-128 varint."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def publish_stamp(when: float) -> bytes:
    """Return the publish_time field for `when`, seconds since the epoch."""
    seconds, nanos = split_time(when)
    stamp = b"\x08" + varint(seconds) + b"\x10" + varint(nanos)
    return _PUBLISH_TIME + varint(len(stamp)) + stamp


def encode(message: Proto, number: int, stamp: bytes) -> bytes:
    """Return a PubsubMessage, without id and time as yet, as the `message` field of a ReceivedMessage."""
    text = b"%d" % number
    body: bytes = message.SerializeToString() + _MESSAGE_ID + varint(len(text)) + text + stamp
    return _MESSAGE + varint(len(body)) + body


def decode(wire: bytes) -> Proto:
    """Return the PubsubMessage that `encode` made."""
    start = 1
    while wire[start] & 0x80:
        start += 1
    return PubsubMessage.FromString(wire[start + 1 :])


def received_messages(entries: Iterable[Entry], with_attempts: bool) -> bytes:
    """Return leased entries as the received_messages of a PullResponse or StreamingPullResponse."""
    parts: list[bytes] = []
    for entry in entries:
        wire = entry.message.wire
        attempt = _ATTEMPT + varint(entry.failures + 1) if with_attempts else b""
        size = varint(_ACK_PART + len(wire) + len(attempt))
        parts += (_RECEIVED, size, _ACK_ID, entry.ack_id.encode(), wire, attempt)
    return b"".join(parts)
