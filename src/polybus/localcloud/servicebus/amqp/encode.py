"""Encoding of AMQP values: one function per type, each returning the constructor with its bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from uuid import UUID

from .decode import Timestamp

NULL, TRUE, FALSE, EMPTY_LIST = b"\x40", b"\x41", b"\x42", b"\x45"

_p2 = struct.Struct(">H").pack
_p4 = struct.Struct(">I").pack
_p8 = struct.Struct(">Q").pack
_s1 = struct.Struct(">b").pack
_s4 = struct.Struct(">i").pack
_s8 = struct.Struct(">q").pack
_d8 = struct.Struct(">d").pack


def boolean(value: bool) -> bytes:
    return TRUE if value else FALSE


def ubyte(value: int) -> bytes:
    return b"\x50" + bytes((value,))


def ushort(value: int) -> bytes:
    return b"\x60" + _p2(value)


def uint(value: int) -> bytes:
    if value == 0:
        return b"\x43"
    return b"\x52" + bytes((value,)) if value < 256 else b"\x70" + _p4(value)


def ulong(value: int) -> bytes:
    if value == 0:
        return b"\x44"
    return b"\x53" + bytes((value,)) if value < 256 else b"\x80" + _p8(value)


def int32(value: int) -> bytes:
    return b"\x54" + _s1(value) if -128 <= value < 128 else b"\x71" + _s4(value)


def long(value: int) -> bytes:
    return b"\x55" + _s1(value) if -128 <= value < 128 else b"\x81" + _s8(value)


def double(value: float) -> bytes:
    return b"\x82" + _d8(value)


def timestamp(milliseconds: int) -> bytes:
    return b"\x83" + _s8(milliseconds)


def uuid(value: UUID) -> bytes:
    return b"\x98" + value.bytes


def _sized(small: bytes, large: bytes, value: bytes) -> bytes:
    size = len(value)
    return small + bytes((size,)) + value if size < 256 else large + _p4(size) + value


def binary(value: bytes) -> bytes:
    return _sized(b"\xa0", b"\xb0", value)


def string(value: str) -> bytes:
    return _sized(b"\xa1", b"\xb1", value.encode())


def symbol(value: str) -> bytes:
    return _sized(b"\xa3", b"\xb3", value.encode("ascii"))


def _compound(small: bytes, large: bytes, elements: Sequence[bytes]) -> bytes:
    body = b"".join(elements)
    size, count = len(body), len(elements)
    if size < 255 and count < 256:
        return small + bytes((size + 1, count)) + body
    return large + _p4(size + 4) + _p4(count) + body


def items(elements: Sequence[bytes]) -> bytes:
    """A list of encoded elements."""
    return _compound(b"\xc0", b"\xd0", elements) if elements else EMPTY_LIST


def mapping(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A map of encoded keys and values."""
    return _compound(b"\xc1", b"\xd1", [part for pair in pairs for part in pair])


def array(constructor: int, elements: Sequence[bytes]) -> bytes:
    """An array of elements that are encoded without their constructor."""
    body = bytes((constructor,)) + b"".join(elements)
    return b"\xf0" + _p4(len(body) + 4) + _p4(len(elements)) + body


def longs(values: Iterable[int]) -> bytes:
    return array(0x81, [_s8(value) for value in values])


def timestamps(values: Iterable[int]) -> bytes:
    return array(0x83, [_s8(value) for value in values])


def strings(values: Iterable[str]) -> bytes:
    texts = [value.encode() for value in values]
    return array(0xB1, [_p4(len(text)) + text for text in texts])


def symbols(values: Iterable[str]) -> bytes:
    texts = [value.encode("ascii") for value in values]
    return array(0xB3, [_p4(len(text)) + text for text in texts])


def described(code: int, value: bytes) -> bytes:
    """A described value; the descriptor as smallulong, the only form that older clients read."""
    return b"\x00\x53" + bytes((code,)) + value


def described_by(code: int, value: bytes) -> bytes:
    """A value under a descriptor of any size, as those of vendors are."""
    return b"\x00" + ulong(code) + value


def scalar(value: object) -> bytes:
    """Encode a value of a rule's action or parameter: None, bool, int, Timestamp, float, str, bytes or UUID."""
    if value is None or isinstance(value, bool):
        return NULL if value is None else boolean(value)
    if isinstance(value, Timestamp):
        return timestamp(value)
    if isinstance(value, int):
        return long(value)
    if isinstance(value, float):
        return double(value)
    if isinstance(value, str):
        return string(value)
    if isinstance(value, bytes):
        return binary(value)
    if isinstance(value, UUID):
        return uuid(value)
    raise TypeError(f"an AMQP property can't hold a {type(value).__name__}")
