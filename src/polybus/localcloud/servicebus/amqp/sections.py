"""The sections of an AMQP message, as slices of its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import encode as e
from .decode import DecodeError, decode, decode_one, fields, skip

__all__ = [
    "batch",
    "encoded_pairs",
    "put_pairs",
    "replace_map",
    "replace_properties",
    "section",
    "sections",
    "set_map",
    "text",
]

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION, DATA, SEQUENCE, VALUE, FOOTER = range(0x70, 0x79)
# Source: "AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide", batching of messages.
BATCH_FORMAT = 0x80013700

_NAMES = {
    "amqp:header:list": HEADER,
    "amqp:delivery-annotations:map": DELIVERY_ANNOTATIONS,
    "amqp:message-annotations:map": ANNOTATIONS,
    "amqp:properties:list": PROPERTIES,
    "amqp:application-properties:map": APPLICATION,
    "amqp:data:binary": DATA,
    "amqp:amqp-sequence:list": SEQUENCE,
    "amqp:amqp-value:*": VALUE,
    "amqp:footer:map": FOOTER,
}


def sections(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (code, start, start of the value, end) of each section, its descriptor in any form; raise DecodeError."""
    at, end = 0, len(data)
    while at < end:
        if data[at] != 0 or at + 3 > end:
            raise DecodeError("a message's section is no described value")
        if data[at + 1] == 0x53:
            code, value = data[at + 2], at + 3
        else:
            descriptor, value = decode(data, at + 1)
            code = _code(descriptor)
        if not HEADER <= code <= FOOTER:
            raise DecodeError(f"unknown message section {code:#x}")
        stop = skip(data, value)
        yield code, at, value, stop
        at = stop


def _code(descriptor: Any) -> int:
    if isinstance(descriptor, str):
        return _NAMES.get(descriptor, 0)
    return descriptor if isinstance(descriptor, int) else 0


def section(data: bytes, wanted: int) -> Any:
    """Return the decoded value of the section with that code, or None."""
    for code, _, value, _ in sections(data):
        if code == wanted:
            return decode(data, value)[0]
    return None


def batch(data: bytes) -> list[bytes]:
    """Return the messages that a batch holds: each of its data sections is one; raise DecodeError."""
    messages = []
    for code, _, value, _ in sections(data):
        if code == DATA:
            message = decode(data, value)[0]
            if not isinstance(message, bytes):
                raise DecodeError("a batch's data section is not binary")
            messages.append(message)
    return messages


def text(value: object) -> Any:
    """Return binary as text: clients send either where text is meant; raise DecodeError."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise DecodeError("a text is not UTF-8") from error
    return value


def _put_section(bare: bytes, wanted: int, encoded: bytes) -> bytes:
    """Replace or insert a section of a bare message, in its place by the order of codes."""
    for code, start, _, end in sections(bare):
        if code == wanted:
            return bare[:start] + encoded + bare[end:]
        if code > wanted:
            return bare[:start] + encoded + bare[start:]
    return bare + encoded


def pairs(data: bytes, wanted: int) -> list[tuple[bytes, bytes]]:
    """Return the encoded keys and values of a map section; [] where there is none."""
    for code, _, value, _ in sections(data):
        if code == wanted:
            flat = fields(data, value)
            if len(flat) % 2:
                raise DecodeError("a map has a key without a value")
            return list(zip(flat[::2], flat[1::2], strict=True))
    return []


def encoded_pairs(value: bytes) -> list[tuple[bytes, bytes]]:
    """Return the encoded keys and values of an encoded map; [] for null; raise DecodeError."""
    if value == e.NULL:
        return []
    flat = fields(value, 0)
    if len(flat) % 2:
        raise DecodeError("a map has a key without a value")
    return list(zip(flat[::2], flat[1::2], strict=True))


def put_pairs(bare: bytes, changes: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the bare message with application properties set to encoded values; raise DecodeError."""
    names = [text(decode_one(key)) for key, _ in changes]
    if not all(isinstance(name, str) for name in names):
        raise DecodeError("a property's name is no text")
    kept = [pair for pair in pairs(bare, APPLICATION) if text(decode_one(pair[0])) not in names]
    added = [(e.string(name), value) for name, (_, value) in zip(names, changes, strict=True)]
    return replace_map(bare, [*kept, *added])


def set_map(bare: bytes, changes: Mapping[str, object]) -> bytes:
    """Return the bare message with application properties set (or, where the value is None, removed)."""
    kept = [(key, value) for key, value in pairs(bare, APPLICATION) if text(decode_one(key)) not in changes]
    added = [(e.string(key), e.scalar(value)) for key, value in changes.items() if value is not None]
    return replace_map(bare, [*kept, *added])


def replace_map(bare: bytes, content: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the bare message with exactly these application properties, given encoded."""
    return _put_section(bare, APPLICATION, e.described(APPLICATION, e.mapping(content)))


def replace_properties(bare: bytes, changes: Mapping[int, bytes]) -> bytes:
    """Return the bare message with fields of its properties section replaced by encoded values."""
    encoded: list[bytes] = []
    for code, _, value, _ in sections(bare):
        if code == PROPERTIES:
            encoded = fields(bare, value)
    encoded += [e.NULL] * (max(changes) + 1 - len(encoded))
    for index, changed in changes.items():
        encoded[index] = changed
    return _put_section(bare, PROPERTIES, e.described(PROPERTIES, e.items(encoded)))
