"""Values as Avro has them on the wire: one by one, each with the fingerprint of its schema before it."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import BytesIO
from typing import Any, Final
from uuid import UUID

from polybus.contracts.avro_schema import ABSENT, Branch, Node, Schema, datum_of, parsed
from polybus.errors import DecodeError

__all__ = ["MARK", "Reader", "Refused", "body_of", "encoded", "value_of"]

MARK: Final = b"\xc3\x01"
"""What a single object begins with, before the 8 bytes of its schema's fingerprint (Avro, Single-object encoding)."""
_HEAD: Final = len(MARK) + 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000


class Refused(ValueError):
    """What keeps a value from being one of a schema, and where: of what is declared, never of the content."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"at {place}: {what}")
        self.place = place
        self.what = what


def encoded(schema: Schema, value: Any) -> bytes:
    """Return a value as a single object; raise Refused where it isn't one of the schema."""
    out = bytearray(MARK + schema.fingerprint)
    _write(schema.node, value, out, "$")
    return bytes(out)


def body_of(node: Node, value: Any) -> bytes:
    """Return the bytes of a value alone; raise Refused."""
    out = bytearray()
    _write(node, value, out, "$")
    return bytes(out)


def _write(node: Node, value: Any, out: bytearray, place: str) -> None:
    _WRITERS[node.kind](node, value, out, place)


def _null(node: Node, value: Any, out: bytearray, place: str) -> None:
    if value is not None:
        raise Refused(place, "null is declared")


def _boolean(node: Node, value: Any, out: bytearray, place: str) -> None:
    if not isinstance(value, bool):
        raise Refused(place, "boolean is declared")
    out.append(value)


def _integer(node: Node, value: Any, out: bytearray, place: str) -> None:
    number = value if node.logical is None else _number_of(node.logical[0], value, place)
    if isinstance(number, bool) or not isinstance(number, int):
        raise Refused(place, f"{node.shown} is declared")
    bits = 31 if node.kind == "int" else 63
    if not -1 << bits <= number < 1 << bits:
        raise Refused(place, f"a number that is no {node.kind}")
    _number(number, out)


def _number(number: int, out: bytearray) -> None:
    coded = number << 1 if number >= 0 else ~(number << 1)
    while coded > 0x7F:
        out.append(coded & 0x7F | 0x80)
        coded >>= 7
    out.append(coded)


def _number_of(logical: str, value: Any, place: str) -> Any:
    """Return the number that stands for a date or time; numbers are taken as they are where they stand for one."""
    wrong = Refused(place, f"{logical} is declared")
    if logical == "date":
        if isinstance(value, date) and not isinstance(value, datetime):
            return value.toordinal() - _EPOCH_DAY
        return _within(value, 1 - _EPOCH_DAY, date.max.toordinal() - _EPOCH_DAY, wrong)
    unit = {"millis": 1000, "micros": 1}.get(logical.rpartition("-")[2])
    if unit is None:
        return value  # nanoseconds, for which Python has no type
    if logical.startswith("time-"):
        if isinstance(value, time) and value.tzinfo is None:
            at = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
            return at // unit
        return _within(value, 0, _DAY // unit - 1, wrong)
    local = logical.startswith("local-")
    if isinstance(value, datetime):
        if (value.tzinfo is None) is not local:
            raise Refused(place, f"{logical} is declared, a time with{'out' if local else ''} a time zone")
        since = (value.replace(tzinfo=UTC) if local else value) - _EPOCH
        return (since.days * _DAY + since.seconds * 1_000_000 + since.microseconds) // unit
    return _within(
        value, (1 - _EPOCH_DAY) * _DAY // unit, (date.max.toordinal() - _EPOCH_DAY + 1) * _DAY // unit - 1, wrong
    )


def _within(value: Any, low: int, high: int, wrong: Refused) -> int:
    if type(value) is not int or not low <= value <= high:
        raise wrong
    return value


def _float(node: Node, value: Any, out: bytearray, place: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(place, f"{node.kind} is declared")
    try:
        out += struct.pack("<f" if node.kind == "float" else "<d", value)
    except OverflowError:
        raise Refused(place, f"a number that is no {node.kind}") from None


def _string(node: Node, value: Any, out: bytearray, place: str) -> None:
    if node.logical is not None:
        value = _uuid(value, place)
    if not isinstance(value, str):
        raise Refused(place, "string is declared")
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise Refused(place, "a text with a lone surrogate") from None
    _number(len(data), out)
    out += data


def _uuid(value: Any, place: str) -> str:
    try:
        return str(value if isinstance(value, UUID) else UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise Refused(place, "uuid is declared") from None


def _bytes(node: Node, value: Any, out: bytearray, place: str) -> None:
    if node.logical is not None and isinstance(value, Decimal):
        number = _unscaled(node, value, place)
        value = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    if not isinstance(value, bytes | bytearray | memoryview):
        raise Refused(place, f"{node.shown} is declared")
    _hold_precision(node, bytes(value), place)
    _number(len(value), out)
    out += value


def _fixed(node: Node, value: Any, out: bytearray, place: str) -> None:
    if node.logical is not None and isinstance(value, Decimal):
        number = _unscaled(node, value, place)
        try:
            value = number.to_bytes(node.size, "big", signed=True)
        except OverflowError:
            raise Refused(place, f"a decimal that takes more than {node.size} bytes") from None
    if node.logical is not None and node.logical[0] == "uuid" and isinstance(value, UUID):
        value = value.bytes
    if not isinstance(value, bytes | bytearray | memoryview) or len(value) != node.size:
        raise Refused(place, f"{node.size} bytes are declared")
    _hold_precision(node, bytes(value), place)
    out += value


def _unscaled(node: Node, value: Decimal, place: str) -> int:
    name, _, scale = node.logical or ("", 0, 0)
    sign, digits, exponent = value.as_tuple()
    if name != "decimal" or not isinstance(exponent, int):  # a text for what is no number
        raise Refused(place, f"{node.shown} is declared")
    shift = exponent + scale
    if shift < 0 and any(digits[shift:]):
        raise Refused(place, f"a decimal with more than {scale} digits after the point")
    if shift > _MOST_DIGITS:
        raise Refused(place, "a decimal with too many digits")
    number = int("".join(map(str, digits)))
    scaled: int = number * 10**shift if shift >= 0 else number // 10 ** min(-shift, len(digits))
    return -scaled if sign else scaled


# A decimal of more digits than this is none of a schema, whose precision a person wrote: it isn't worked out.
_MOST_DIGITS = 10_000


def _hold_precision(node: Node, value: bytes, place: str) -> None:
    if node.logical is None or node.logical[0] != "decimal":
        return
    if abs(int.from_bytes(value, "big", signed=True)) >= 10 ** node.logical[1]:
        raise Refused(place, f"a decimal with more than {node.logical[1]} digits")


def _enum(node: Node, value: Any, out: bytearray, place: str) -> None:
    if not isinstance(value, str) or value not in node.symbols:
        raise Refused(place, f"one of {', '.join(node.symbols)} is declared")
    _number(node.symbols.index(value), out)


def _array(node: Node, value: Any, out: bytearray, place: str) -> None:
    if not isinstance(value, list | tuple):
        raise Refused(place, "array is declared")
    if value:
        _number(len(value), out)
        for index, each in enumerate(value):
            _write(node.items[0], each, out, f"{place}[{index}]")
    out.append(0)


def _map(node: Node, value: Any, out: bytearray, place: str) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise Refused(place, "map is declared, with texts as its keys")
    if value:
        _number(len(value), out)
        for name, each in value.items():
            _string(_TEXT, name, out, f"{place}[...]")
            _write(node.items[0], each, out, f"{place}[...]")
    out.append(0)


_TEXT = Node("string")


def _record(node: Node, value: Any, out: bytearray, place: str) -> None:
    if not isinstance(value, Mapping):
        raise Refused(place, f"{node.shown} is declared")
    missing = 0
    for each in node.fields:
        inner = f"{place}.{each.name}"
        if each.name in value:
            _write(each.node, value[each.name], out, inner)
        elif each.default is not ABSENT:
            missing += 1
            _write(each.node, datum_of(each.node, each.default), out, inner)
        else:
            raise Refused(inner, "required, and not there")
    if len(value) > len(node.fields) - missing:
        raise Refused(f"{place}[...]", "a field that is not declared")


def _union(node: Node, value: Any, out: bytearray, place: str) -> None:
    if isinstance(value, Branch):
        _number(value.index, out)
        _write(node.items[value.index], value.value, out, place)
        return
    begun = len(out)
    refused: list[Refused] = []
    for index, item in enumerate(node.items):
        try:
            _number(index, out)
            _write(item, value, out, place)
        except Refused as problem:
            del out[begun:]
            if item.kind != "null":
                refused.append(problem)
        else:
            return
    if len(refused) == 1:
        raise refused[0]
    raise Refused(place, f"one of {', '.join(item.shown for item in node.items)} is declared")


_WRITERS: Final[Mapping[str, Callable[[Node, Any, bytearray, str], None]]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _float,
    "double": _float,
    "string": _string,
    "bytes": _bytes,
    "fixed": _fixed,
    "enum": _enum,
    "array": _array,
    "map": _map,
    "record": _record,
    "union": _union,
}


class Reader:
    """Reads single objects as one schema says, whichever of the known ones they were written by."""

    def __init__(self, own: Schema, known: Iterable[Schema] = ()) -> None:
        from fastavro import schemaless_reader

        self._read = schemaless_reader
        self._own = own.fingerprint
        self._form = parsed(own.node)
        changeable = _set_defaults(own.node, self._form)
        self._known = {each.fingerprint: parsed(each.node) for each in known} | {own.fingerprint: self._form}
        self._copied = copy.deepcopy if changeable else None

    def __call__(self, body: bytes) -> Any:
        """Return what a body says; raise DecodeError, without its content."""
        if body[: len(MARK)] != MARK or len(body) < _HEAD:
            raise DecodeError("the body is no single object of Avro: it has no fingerprint of a schema")
        fingerprint = body[len(MARK) : _HEAD]
        writer = self._known.get(fingerprint)
        if writer is None:
            raise DecodeError(f"the body is of an Avro schema that is not known here, {fingerprint.hex()}")
        data = BytesIO(body)
        data.seek(_HEAD)
        try:
            if fingerprint == self._own:
                found = self._read(data, writer)
            else:
                found = self._read(data, writer, self._form)
                if self._copied is not None:  # a default that is a list is the same one in all that it is given to
                    found = self._copied(found)
        except Exception as error:  # noqa: BLE001 - anything may come of bytes that aren't what they say
            raise DecodeError(f"the body is not what its Avro schema says ({type(error).__name__})") from None
        if data.tell() != len(body):
            raise DecodeError("the body is longer than its Avro schema says")
        return found


def _set_defaults(node: Node, form: Any) -> bool:
    """Make values of the defaults that JSON has, as fastavro gives them out; say whether any of them can change."""
    return _Defaults().set_in(node, form)


class _Defaults:
    def __init__(self) -> None:
        self._seen: set[int] = set()

    def set_in(self, node: Node, form: Any) -> bool:
        if id(node) in self._seen or isinstance(form, str):
            return False
        self._seen.add(id(node))
        if node.kind == "union":
            of_each = [self.set_in(item, each) for item, each in zip(node.items, form, strict=True)]
            return any(of_each)
        if node.kind in ("array", "map"):
            return self.set_in(node.items[0], form["items" if node.kind == "array" else "values"])
        found = False
        for each, declared in zip(node.fields, form.get("fields", ()), strict=True):
            found |= self.set_in(each.node, declared["type"])
            if each.default is not ABSENT:
                value = declared["default"] = value_of(each.node, datum_of(each.node, each.default))
                found |= isinstance(value, list | dict)
        return found


def value_of(node: Node, datum: Any) -> Any:
    """Return what a reader makes of a value as Avro has it: dates and decimals of numbers and bytes. Raises Refused."""
    from fastavro import schemaless_reader

    return schemaless_reader(BytesIO(body_of(node, datum)), parsed(node))
