"""Decoding of AMQP values.

Numbers of every width become int or float, strings and symbols str, binary bytes, timestamps Timestamp (an int),
lists and arrays list, maps dict. What has to go out again as it came in is kept as a slice of the input, never decoded
and encoded again, so no type is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

__all__ = ["DecodeError", "Described", "Timestamp", "decode", "decode_one", "fields", "skip"]

_u2 = struct.Struct(">H").unpack_from
_i2 = struct.Struct(">h").unpack_from
_u4 = struct.Struct(">I").unpack_from
_i4 = struct.Struct(">i").unpack_from
_f4 = struct.Struct(">f").unpack_from
_u8 = struct.Struct(">Q").unpack_from
_i8 = struct.Struct(">q").unpack_from
_f8 = struct.Struct(">d").unpack_from

Decoded = tuple[Any, int]
Decoder = Callable[[bytes, int], Decoded]

# What malformed input can raise below; the public functions turn it into DecodeError.
_BROKEN = (IndexError, KeyError, ValueError, struct.error, RecursionError, TypeError, OverflowError)


class DecodeError(ValueError):
    """The bytes are not what AMQP allows at this place."""


class Timestamp(int):
    """Milliseconds since the epoch."""

    __slots__ = ()


class Described:
    """A value with its descriptor."""

    __slots__ = ("descriptor", "value")

    def __init__(self, descriptor: Any, value: Any) -> None:
        self.descriptor = descriptor
        self.value = value


def _cut(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise DecodeError("a value reaches beyond the end")
    return data[start:end]


def _binary8(data: bytes, at: int) -> Decoded:
    end = at + 1 + data[at]
    return _cut(data, at + 1, end), end


def _binary32(data: bytes, at: int) -> Decoded:
    end = at + 4 + _u4(data, at)[0]
    return _cut(data, at + 4, end), end


def _text8(data: bytes, at: int) -> Decoded:
    end = at + 1 + data[at]
    return str(_cut(data, at + 1, end), "utf-8"), end


def _text32(data: bytes, at: int) -> Decoded:
    end = at + 4 + _u4(data, at)[0]
    return str(_cut(data, at + 4, end), "utf-8"), end


def _sized(data: bytes, at: int, wide: bool) -> tuple[int, int, int]:
    """Return (count, position of the first element, end) of the compound whose size field is at `at`."""
    if wide:
        end = at + 4 + _u4(data, at)[0]
        count, start = _u4(data, at + 4)[0], at + 8
    else:
        end = at + 1 + data[at]
        count, start = data[at + 1], at + 2
    # Every element takes at least a byte. Arrays of zero-width elements don't, and could name billions of them.
    if end > len(data) or count > end - start:
        raise DecodeError("a compound is larger than its frame")
    return count, start, end


def _ended(at: int, end: int) -> None:
    if at != end:
        raise DecodeError("a compound's size and content differ")


def _items(data: bytes, at: int, wide: bool) -> Decoded:
    count, at, end = _sized(data, at, wide)
    out = []
    for _ in range(count):
        value, at = _DECODERS[data[at]](data, at + 1)
        out.append(value)
    _ended(at, end)
    return out, at


def _pairs(data: bytes, at: int, wide: bool) -> Decoded:
    count, at, end = _sized(data, at, wide)
    if count % 2:
        raise DecodeError("a map has a key without a value")
    out = {}
    for _ in range(count // 2):
        key, at = _DECODERS[data[at]](data, at + 1)
        value, at = _DECODERS[data[at]](data, at + 1)
        out[key] = value
    _ended(at, end)
    return out, at


def _array(data: bytes, at: int, wide: bool) -> Decoded:
    count, at, end = _sized(data, at, wide)
    out: list[Any] = []
    if count == 0 and at == end:
        return out, at
    described = data[at] == 0
    descriptor = None
    if described:
        descriptor, at = decode(data, at + 1)
    decoder = _DECODERS[data[at]]
    at += 1
    for _ in range(count):
        value, at = decoder(data, at)
        out.append(Described(descriptor, value) if described else value)
    _ended(at, end)
    return out, at


def _described(data: bytes, at: int) -> Decoded:
    descriptor, at = _DECODERS[data[at]](data, at + 1)
    value, at = _DECODERS[data[at]](data, at + 1)
    return Described(descriptor, value), at


def _boolean(data: bytes, at: int) -> Decoded:
    if data[at] > 1:
        raise DecodeError("a boolean is neither 0 nor 1")
    return data[at] == 1, at + 1


def _char(data: bytes, at: int) -> Decoded:
    return chr(_u4(data, at)[0]), at + 4


def _uuid(data: bytes, at: int) -> Decoded:
    return UUID(bytes=_cut(data, at, at + 16)), at + 16


def _signed8(data: bytes, at: int) -> Decoded:
    value = data[at]
    return (value - 256 if value > 127 else value), at + 1


_DECODERS: dict[int, Decoder] = {
    0x00: _described,
    0x40: lambda data, at: (None, at),
    0x41: lambda data, at: (True, at),
    0x42: lambda data, at: (False, at),
    0x43: lambda data, at: (0, at),
    0x44: lambda data, at: (0, at),
    0x45: lambda data, at: ([], at),
    0x50: lambda data, at: (data[at], at + 1),
    0x51: _signed8,
    0x52: lambda data, at: (data[at], at + 1),
    0x53: lambda data, at: (data[at], at + 1),
    0x54: _signed8,
    0x55: _signed8,
    0x56: _boolean,
    0x60: lambda data, at: (_u2(data, at)[0], at + 2),
    0x61: lambda data, at: (_i2(data, at)[0], at + 2),
    0x70: lambda data, at: (_u4(data, at)[0], at + 4),
    0x71: lambda data, at: (_i4(data, at)[0], at + 4),
    0x72: lambda data, at: (_f4(data, at)[0], at + 4),
    0x73: _char,
    0x74: lambda data, at: (_cut(data, at, at + 4), at + 4),
    0x80: lambda data, at: (_u8(data, at)[0], at + 8),
    0x81: lambda data, at: (_i8(data, at)[0], at + 8),
    0x82: lambda data, at: (_f8(data, at)[0], at + 8),
    0x83: lambda data, at: (Timestamp(_i8(data, at)[0]), at + 8),
    0x84: lambda data, at: (_cut(data, at, at + 8), at + 8),
    0x94: lambda data, at: (_cut(data, at, at + 16), at + 16),
    0x98: _uuid,
    0xA0: _binary8,
    0xA1: _text8,
    0xA3: _text8,
    0xB0: _binary32,
    0xB1: _text32,
    0xB3: _text32,
    0xC0: lambda data, at: _items(data, at, False),
    0xC1: lambda data, at: _pairs(data, at, False),
    0xD0: lambda data, at: _items(data, at, True),
    0xD1: lambda data, at: _pairs(data, at, True),
    0xE0: lambda data, at: _array(data, at, False),
    0xF0: lambda data, at: _array(data, at, True),
}


def decode(data: bytes, at: int = 0) -> Decoded:
    """Return the value whose constructor is at `at`, and the position after it; raise DecodeError."""
    try:
        return _DECODERS[data[at]](data, at + 1)
    except DecodeError:
        raise
    except _BROKEN as error:
        raise DecodeError(f"malformed value at byte {at}: {error}") from error


def decode_one(data: bytes) -> Any:
    """Return the one value that `data` holds; raise DecodeError for anything more or less."""
    value, end = decode(data)
    if end != len(data):
        raise DecodeError("bytes after the value")
    return value


def skip(data: bytes, at: int) -> int:
    """Return the position after the value whose constructor is at `at`, without decoding it; raise DecodeError."""
    try:
        while data[at] == 0:
            at = skip(data, at + 1)
        width = data[at] >> 4
        if 4 <= width <= 9:
            end = at + (1, 2, 3, 5, 9, 17)[width - 4]
        elif width in (0xA, 0xC, 0xE):
            end = at + 2 + data[at + 1]
        elif width in (0xB, 0xD, 0xF):
            end = at + 5 + _u4(data, at + 1)[0]
        else:
            raise DecodeError(f"unknown constructor {data[at]:#x}")
    except (IndexError, struct.error, RecursionError) as error:
        raise DecodeError(f"malformed value at byte {at}") from error
    if end > len(data):
        raise DecodeError("a value reaches beyond the end")
    return end


def fields(data: bytes, at: int) -> list[bytes]:
    """Return the encoded elements of the list or map whose constructor is at `at`; raise DecodeError."""
    code = data[at] if at < len(data) else None
    if code == 0x45:
        return []
    if code not in (0xC0, 0xC1, 0xD0, 0xD1):
        raise DecodeError("neither a list nor a map")
    try:
        count, at, end = _sized(data, at + 1, code >= 0xD0)
    except (IndexError, struct.error) as error:
        raise DecodeError("a compound is cut off") from error
    out = []
    for _ in range(count):
        stop = skip(data, at)
        out.append(data[at:stop])
        at = stop
    _ended(at, end)
    return out
