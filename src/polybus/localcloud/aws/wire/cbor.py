"""The part of CBOR (RFC 8949) that Smithy's RPC v2 protocol speaks: maps, lists, texts, bytes, numbers, times."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from polybus.localcloud.aws.errors import AwsError

__all__ = ["CONTENT_TYPE", "Timestamp", "decode", "encode"]

CONTENT_TYPE = "application/cbor"
_MAX_DEPTH = 32
_BREAK = object()
_TIME = 1  # the tag of seconds since the epoch


class Timestamp(float):
    """Seconds since the epoch, which are written with their tag."""


def encode(value: Any) -> bytes:
    """Return a value's bytes; None in a map is left out, as Smithy has it."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case Timestamp():
            return _head(6, _TIME) + struct.pack(">Bd", 0xFB, value)
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case float():
            return struct.pack(">Bd", 0xFB, value)
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case bytes():
            return _head(2, len(value)) + value
        case Mapping():
            items = [(key, item) for key, item in value.items() if item is not None]
            return _head(5, len(items)) + b"".join(encode(str(key)) + encode(item) for key, item in items)
    return _head(4, len(value)) + b"".join(encode(item) for item in value)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for kind, size, code in ((24, 1, ">B"), (25, 2, ">H"), (26, 4, ">I"), (27, 8, ">Q")):
        if number < 1 << (8 * size):
            return bytes([major << 5 | kind]) + struct.pack(code, number)
    raise OverflowError(number)


def decode(data: bytes) -> dict[str, Any]:
    """Return a request's parameters; raises AwsError for what is no map of CBOR."""
    if not data:
        return {}
    try:
        value, end = _Reader(data).value(0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise AwsError("SerializationException", f"The request's body is not CBOR: {error}") from None
    if not isinstance(value, dict) or end != len(data):
        raise AwsError("SerializationException", "The request's body is not one CBOR map.")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """Return the value that begins at a place, and where the next one does."""
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        first = self._data[at]
        major, low = first >> 5, first & 31
        if major == 7:
            return self._simple(low, at + 1)
        if low == 31 and major in (2, 3, 4, 5):
            return self._open(major, at + 1, depth)
        number, at = self._number(low, at + 1)
        if major in (2, 3):
            if at + number > len(self._data):
                raise ValueError("it ends in the middle")
            part = self._data[at : at + number]
            return (part if major == 2 else part.decode()), at + number
        if major == 4:
            return self._list(at, number, depth)
        if major == 5:
            return self._map(at, number, depth)
        if major == 6:
            return self.value(at, depth + 1)  # a time's tag: its seconds stay
        return (number if major == 0 else -1 - number), at

    def _number(self, low: int, at: int) -> tuple[int, int]:
        if low < 24:
            return low, at
        size, code = {24: (1, ">B"), 25: (2, ">H"), 26: (4, ">I"), 27: (8, ">Q")}.get(low, (0, ""))
        if not size:
            raise ValueError(f"a length of kind {low}")
        found: int = struct.unpack_from(code, self._data, at)[0]
        return found, at + size

    def _simple(self, low: int, at: int) -> tuple[Any, int]:
        plain = {20: False, 21: True, 22: None, 23: None, 31: _BREAK}
        if low in plain:
            return plain[low], at
        size, code = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}.get(low, (0, ""))
        if not size:
            raise ValueError(f"a simple value of kind {low}")
        found = struct.unpack_from(code, self._data, at)[0]
        if not math.isfinite(found):
            raise ValueError("a number that is none")
        return found, at + size

    def _list(self, at: int, number: int, depth: int) -> tuple[list[Any], int]:
        found = []
        for _ in range(min(number, len(self._data) + 1)):
            item, at = self.value(at, depth + 1)
            found.append(item)
        return found, at

    def _map(self, at: int, number: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        for _ in range(min(number, len(self._data) + 1)):
            key, at = self.value(at, depth + 1)
            found[str(key)], at = self.value(at, depth + 1)
        return found, at

    def _open(self, major: int, at: int, depth: int) -> tuple[Any, int]:
        """Read what ends with a break instead of having a length."""
        items: list[Any] = []
        while True:
            item, at = self.value(at, depth + 1)
            if item is _BREAK:
                break
            items.append(item)
        if major == 2:
            return b"".join(items), at
        if major == 3:
            return "".join(items), at
        if major == 4:
            return items, at
        if len(items) % 2:
            raise ValueError("a key without a value")
        return dict(zip(map(str, items[::2]), items[1::2], strict=True)), at
