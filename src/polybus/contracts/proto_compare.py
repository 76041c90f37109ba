"""Whether a reader by one Protobuf message takes all that a writer by another may send.

Parsing hardly ever fails: what is of another type is put aside, or is read as another value. So a reader takes a
message where each field that both have is read with the value that was sent, under the name that it was sent by, and
what the reader requires is there. Where something is found its example is tried by protobuf itself; one that is read as
it was sent is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from polybus.contracts.breaks import NONE, Gap
from polybus.contracts.proto_file import Message
from polybus.contracts.proto_judge import is_map, is_repeated, is_required, read_as_sent, read_as_sent_in_json, shape

__all__ = ["example_text", "gaps"]

_I32: Final = (-(1 << 31), (1 << 31) - 1)
_I64: Final = (-(1 << 63), (1 << 63) - 1)
_U32: Final = (0, (1 << 32) - 1)
_U64: Final = (0, (1 << 64) - 1)
# Types by what they are on the wire, with the numbers that they hold: within a group a number is read as it was sent
# where the reader's type holds it.
_VARINT = {"int32": _I32, "int64": _I64, "uint32": _U32, "uint64": _U64, "bool": (0, 1), "enum": _I32}
_ZIGZAG = {"sint32": _I32, "sint64": _I64}
_TYPES: Final = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string",
    10: "group", 11: "message", 12: "bytes", 13: "uint32", 14: "enum", 15: "sfixed32", 16: "sfixed64", 17: "sint32",
    18: "sint64",
}  # fmt: skip
_DEEPEST = 12


def gaps(writer: Message, reader: Message, *, reader_is_newer: bool) -> list[Gap]:
    """Return where a reader doesn't take what a writer may send; examples are messages of the writer's class."""
    comparison = _Comparison(reader_is_newer)
    found = comparison.within(writer.descriptor, reader.descriptor, "$")
    return [_tried(gap, reader.made) for gap in found]


def example_text(example: Any) -> Any:
    """Return an example as JSON has it."""
    if example is NONE:
        return NONE
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(example, preserving_proto_field_name=True)


def _tried(gap: Gap, reader: Any) -> Gap:
    if gap.example is NONE:
        return replace(gap, decided=False)
    judge = read_as_sent_in_json if gap.rule == "json-name-changed" else read_as_sent
    return replace(gap, example=NONE, decided=False) if judge(gap.example, reader) else gap


class _Comparison:
    def __init__(self, reader_is_newer: bool) -> None:
        self._reader_is_newer = reader_is_newer
        # Pairs that are being compared: a message within itself is as good as the rest of it is.
        self._assumed: set[tuple[str, str]] = set()

    def within(self, writer: Any, reader: Any, place: str) -> list[Gap]:
        pair = (writer.full_name, reader.full_name)
        if pair in self._assumed:
            return []
        before = set(self._assumed)
        self._assumed.add(pair)
        found = [*self._fields(writer, reader, place), *self._required(writer, reader, place)]
        found += _oneofs(writer, reader, place)
        if found:
            self._assumed = before  # nor does what was found with its help stand
        return found

    def _fields(self, writer: Any, reader: Any, place: str) -> Iterator[Gap]:
        for theirs in writer.fields:
            inner = f"{place}.{theirs.name}"
            ours = reader.fields_by_number.get(theirs.number)
            if ours is None:
                yield from self._missing(theirs, writer, reader, inner)
            elif ours.name != theirs.name:
                detail = f"the field {theirs.number} is sent as {theirs.name}, and read as {ours.name}"
                yield Gap("number-reused", inner, detail, _with(writer, theirs, _other(theirs, ours)))
            else:
                if theirs.json_name not in (ours.json_name, ours.name):
                    detail = f"in JSON it is sent as {theirs.json_name}, and read as {ours.json_name}"
                    yield Gap("json-name-changed", inner, detail, _with(writer, theirs, _other(theirs, ours)))
                yield from self._field(writer, theirs, ours, inner)

    def _missing(self, theirs: Any, writer: Any, reader: Any, place: str) -> Iterator[Gap]:
        if theirs.name in reader.fields_by_name:
            number = reader.fields_by_name[theirs.name].number
            detail = f"it is sent as the field {theirs.number}, and read as {number}"
            yield Gap("number-changed", place, detail, _with(writer, theirs, _other(theirs)))
            return
        reserved = _is_reserved(reader, theirs.number)
        if self._reader_is_newer and not reserved:
            detail = f"removed: have `reserved {theirs.number};`, or a later field may be read by its number"
            yield Gap("number-not-reserved", place, detail, decided=False)
        elif not self._reader_is_newer and reserved:
            detail = f"the number {theirs.number} was reserved, as one that is not to be used again"
            yield Gap("number-reused", place, detail, decided=False)

    def _required(self, writer: Any, reader: Any, place: str) -> Iterator[Gap]:
        for ours in reader.fields:
            theirs = writer.fields_by_number.get(ours.number)
            if is_required(ours) and (theirs is None or not is_required(theirs)):
                detail = "it is required, and may be left out"
                yield Gap("required-field-added", f"{place}.{ours.name}", detail, filled(writer))

    def _field(self, writer: Any, theirs: Any, ours: Any, place: str) -> Iterable[Gap]:
        if shape(theirs) != shape(ours):
            detail = f"{shape(theirs)} may be sent, and {shape(ours)} is read"
            return [Gap("cardinality-changed", place, detail, _with(writer, theirs, _other(theirs, ours), twice=True))]

        def put(value: Any) -> Any:
            return _with(writer, theirs, value)

        if is_map(theirs):
            return self._maps(theirs.message_type, ours.message_type, put, place)
        found = list(self._values(theirs, ours, put, place))
        if not found and shape(theirs) == "one value" and theirs.type not in (10, 11) and not is_required(theirs):
            found += _default(writer, theirs, ours, place)
        return found

    def _maps(self, theirs: Any, ours: Any, put: Callable[[Any], Any], place: str) -> Iterator[Gap]:
        for name in ("key", "value"):
            their, our = theirs.fields_by_name[name], ours.fields_by_name[name]

            def inside(value: Any, name: str = name) -> Any:
                key = value if name == "key" else _other(theirs.fields_by_name["key"])
                other = value if name == "value" else _other(theirs.fields_by_name["value"])
                return NONE if other is NONE else put({key: other})

            yield from self._values(their, our, inside, f"{place}[].{name}" if name == "key" else f"{place}[]")

    def _values(self, theirs: Any, ours: Any, put: Callable[[Any], Any], place: str) -> Iterable[Gap]:
        """Compare the values of two fields, or of the keys or values of maps; `put` makes an example of one."""
        kinds = _TYPES[theirs.type], _TYPES[ours.type]
        if kinds in (("message", "message"), ("group", "group")):
            inner = f"{place}[]" if is_repeated(theirs) else place
            for gap in self.within(theirs.message_type, ours.message_type, inner):
                yield gap if gap.example is NONE else replace(gap, example=put(gap.example))
        elif kinds == ("enum", "enum"):
            yield from self._enums(theirs.enum_type, ours.enum_type, put, place)
        elif kinds == ("bytes", "string"):
            yield Gap("type-narrowed", place, "bytes that are no text may be sent, and string is read", put(b"\xff"))
        elif kinds[0] != kinds[1] and kinds != ("string", "bytes"):
            value = _misread(theirs, ours)
            if value is not None:
                rule = (
                    "type-narrowed" if set(kinds) <= _VARINT.keys() or set(kinds) <= _ZIGZAG.keys() else "type-changed"
                )
                yield Gap(rule, place, f"{kinds[0]} may be sent, and {kinds[1]} is read", put(value))

    def _enums(self, theirs: Any, ours: Any, put: Callable[[Any], Any], place: str) -> Iterator[Gap]:
        sent, known = _symbols(theirs), _symbols(ours)
        for number, names in sent.items():
            shown = " and ".join(sorted(names))
            if number not in known:
                if ours.is_closed:
                    yield Gap("value-removed", place, f"{shown} may be sent, and is none that is read", put(number))
                elif self._reader_is_newer and not _is_reserved_value(ours, number):
                    detail = f"{shown} is removed: have `reserved {number};`, or a later one may be read by its number"
                    yield Gap("number-not-reserved", place, detail, decided=False)
            elif not names & known[number]:
                detail = f"{number} is sent as {shown}, and read as {' and '.join(sorted(known[number]))}"
                yield Gap("number-reused", place, detail, put(number))
        if ours.is_closed and not theirs.is_closed:
            other = next(number for number in range(1 << 20) if number not in known)
            yield Gap("type-narrowed", place, "any number may be sent, and those of the enum are read", put(other))


def filled(descriptor: Any, deep: int = 0) -> Any:
    """Return a message with what it requires and no more; NONE where it requires itself."""
    from google.protobuf.message_factory import GetMessageClass

    message = GetMessageClass(descriptor)()
    for each in descriptor.fields:
        if is_required(each):
            value = NONE if deep > _DEEPEST else _first(each, deep)
            if value is NONE:
                return NONE
            _set(message, each, value)
    return message


def _first(field: Any, deep: int) -> Any:
    return filled(field.message_type, deep + 1) if field.type in (10, 11) else field.default_value


def _with(descriptor: Any, field: Any, value: Any, *, twice: bool = False) -> Any:
    """Return a message with that value of a field; in a list, one that holds it."""
    message = filled(descriptor)
    if message is NONE or value is NONE:
        return NONE
    if is_map(field) and not isinstance(value, dict):
        return NONE
    _set(message, field, value)
    if twice and is_repeated(field) and not is_map(field):
        _set(message, field, value)
    return message


def _set(message: Any, field: Any, value: Any) -> None:
    if is_map(field):
        entries = getattr(message, field.name)
        for key, each in value.items():
            if hasattr(each, "DESCRIPTOR"):
                entries[key].CopyFrom(each)
            else:
                entries[key] = each
    elif is_repeated(field):
        getattr(message, field.name).append(value)
    elif field.type in (10, 11):
        getattr(message, field.name).CopyFrom(value)
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, value)


def _other(field: Any, beside: Any = None) -> Any:
    """Return a value that is neither the field's default nor, where it can be, that of another."""
    if is_map(field):
        entry = field.message_type
        value = _other(entry.fields_by_name["value"])
        return NONE if value is NONE else {_other(entry.fields_by_name["key"]): value}
    if field.type in (10, 11):
        return filled(field.message_type)
    kind = _TYPES[field.type]
    values: tuple[Any, ...] = (1, 2, 3)
    if kind == "enum":
        values = tuple(each.number for each in reversed(field.enum_type.values))
    elif kind in ("string", "bytes"):
        values = ("a", "b", "c") if kind == "string" else (b"a", b"b", b"c")
    elif kind == "bool":
        values = (True, False)
    elif kind in ("float", "double"):
        values = (1.0, 2.0, 3.0)
    taken = [each.default_value for each in (field, beside) if each is not None and not is_repeated(each)]
    return next((value for value in values if value not in taken), values[0])


def _misread(theirs: Any, ours: Any) -> Any:
    """Return a value of one scalar type that another doesn't read as it is; None where it reads all of them."""
    kinds = _TYPES[theirs.type], _TYPES[ours.type]
    for group in (_VARINT, _ZIGZAG):
        if kinds[0] in group and kinds[1] in group:
            low, high = _range(theirs, group)
            least, most = _range(ours, group)
            if kinds[1] == "enum" and ours.enum_type.is_closed:
                known = {each.number for each in ours.enum_type.values}
                sent = {each.number for each in theirs.enum_type.values} if kinds[0] == "enum" else range(low, high + 1)
                return next((number for number in sent if number not in known), None)
            return high if high > most else low if low < least else None
    if kinds[0] in ("fixed32", "fixed64") and kinds[1] == f"s{kinds[0]}":
        return (1 << int(kinds[0][-2:])) - 1
    if kinds[1] in ("fixed32", "fixed64") and kinds[0] == f"s{kinds[1]}":
        return -1
    return _other(theirs, ours)


def _range(field: Any, group: dict[str, tuple[int, int]]) -> tuple[int, int]:
    if _TYPES[field.type] == "enum" and field.enum_type.is_closed:
        numbers = [each.number for each in field.enum_type.values]
        return min(numbers), max(numbers)
    return group[_TYPES[field.type]]


def _default(writer: Any, theirs: Any, ours: Any, place: str) -> Iterator[Gap]:
    before, after = theirs.default_value, ours.default_value
    if isinstance(before, str) and isinstance(after, bytes):
        before = before.encode()
    if before != after and not (before != before and after != after):  # noqa: PLR0124 - no number is as good as another
        yield Gap("default-changed", place, "what isn't sent is read as another value", filled(writer))


def _oneofs(writer: Any, reader: Any, place: str) -> Iterator[Gap]:
    for oneof in reader.oneofs:
        both = [writer.fields_by_number[each.number] for each in oneof.fields if each.number in writer.fields_by_number]
        for number, one in enumerate(both):
            apart = [
                each
                for each in both[number + 1 :]
                if each.containing_oneof is None
                or one.containing_oneof is None
                or each.containing_oneof.name != one.containing_oneof.name
            ]
            if apart:
                detail = f"{one.name} and {apart[0].name} may be sent together, and one of them is read"
                example = _with(writer, one, _other(one))
                second = _other(apart[0])
                if example is not NONE and second is not NONE:
                    _set(example, apart[0], second)
                yield Gap("oneof-moved", f"{place}.{oneof.name}", detail, example)
                break


def _symbols(enum: Any) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for each in enum.values:
        found.setdefault(each.number, set()).add(each.name)
    return found


def _is_reserved(message: Any, number: int) -> bool:
    from google.protobuf.descriptor_pb2 import DescriptorProto

    proto = DescriptorProto()
    message.CopyToProto(proto)
    return any(each.start <= number < each.end for each in proto.reserved_range)


def _is_reserved_value(enum: Any, number: int) -> bool:
    from google.protobuf.descriptor_pb2 import EnumDescriptorProto

    proto = EnumDescriptorProto()
    enum.CopyToProto(proto)
    return any(each.start <= number <= each.end for each in proto.reserved_range)
