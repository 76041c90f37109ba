"""Whether a Protobuf message is read by another class as it was sent."""

from __future__ import annotations

from typing import Any

__all__ = ["is_map", "is_repeated", "is_required", "read_as_sent", "read_as_sent_in_json", "shape"]


def is_repeated(field: Any) -> bool:
    """Say whether a field is a list or a map."""
    found = getattr(field, "is_repeated", None)  # from protobuf 6 on, which warns of `label`
    return bool(field.label == 3 if found is None else found)


def is_required(field: Any) -> bool:
    """Say whether a field is required, as only proto2 and editions have it."""
    found = getattr(field, "is_required", None)
    return bool(field.label == 2 if found is None else found)


def is_map(field: Any) -> bool:
    """Say whether a field is a map."""
    return is_repeated(field) and field.message_type is not None and field.message_type.GetOptions().map_entry


def shape(field: Any) -> str:
    """Say how many values a field has."""
    return "a map" if is_map(field) else "a list" if is_repeated(field) else "one value"


def read_as_sent(message: Any, reader: Any) -> bool:
    """Say whether the class `reader` reads a message, and all that both have, under the same names and numbers."""
    from google.protobuf.message import DecodeError

    try:
        found = reader.FromString(message.SerializePartialToString())
        return bool(found.IsInitialized()) and _same(message, found)
    except (DecodeError, UnicodeDecodeError):
        return False


def read_as_sent_in_json(message: Any, reader: Any) -> bool:
    """Say whether the class reads a message from its JSON form."""
    from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

    try:
        ParseDict(MessageToDict(message), reader())
    except ParseError:
        return False
    return True


def _same(sent: Any, found: Any) -> bool:
    theirs, ours = sent.DESCRIPTOR, found.DESCRIPTOR
    for field in theirs.fields:
        other = ours.fields_by_number.get(field.number)
        if not _is_there(sent, field):
            if other is not None and other.name == field.name and not _same_absent(sent, found, field, other):
                return False
        elif other is None:
            moved = ours.fields_by_name.get(field.name)  # under another number: it isn't read
            if moved is not None and not _same_absent(sent, found, field, moved):
                return False
        elif other.name != field.name or shape(other) != shape(field) or not _same_field(sent, found, field, other):
            return False
    return True


def _is_there(message: Any, field: Any) -> bool:
    if field.has_presence:
        return bool(message.HasField(field.name))
    value = getattr(message, field.name)
    return len(value) > 0 if is_repeated(field) else value != field.default_value


def _same_absent(sent: Any, found: Any, field: Any, other: Any) -> bool:
    """Say whether what a reader has for a field that it wasn't sent is what the sender has, sent or not."""
    if shape(field) != shape(other) or field.message_type is not None or other.message_type is not None:
        return not _is_there(found, other) and not _is_there(sent, field)
    if is_repeated(field):
        return len(getattr(sent, field.name)) == len(getattr(found, other.name)) == 0
    return _same_value(getattr(sent, field.name), getattr(found, other.name), field, other)


def _same_field(sent: Any, found: Any, field: Any, other: Any) -> bool:
    if field.message_type is not None and not is_repeated(field) and not _is_there(found, other):
        return False
    one, two = getattr(sent, field.name), getattr(found, other.name)
    if is_map(field):
        (key, value), (other_key, other_value) = _entry(field), _entry(other)
        theirs = {_plain(each): one[each] for each in one}
        ours = {_plain(each): two[each] for each in two}
        return theirs.keys() == ours.keys() and all(
            _same_value(each, each, key, other_key) and _same_value(theirs[each], ours[each], value, other_value)
            for each in theirs
        )
    if is_repeated(field):
        return len(one) == len(two) and all(_same_value(a, b, field, other) for a, b in zip(one, two, strict=True))
    return _same_value(one, two, field, other)


def _entry(field: Any) -> tuple[Any, Any]:
    fields = field.message_type.fields_by_name
    return fields["key"], fields["value"]


def _same_value(one: Any, two: Any, field: Any, other: Any) -> bool:
    if (field.message_type is None) is not (other.message_type is None):
        return False
    if field.message_type is not None:
        return _same(one, two)
    if field.enum_type is not None and other.enum_type is not None:
        sent, known = _names(field.enum_type, one), _names(other.enum_type, two)
        return bool(one == two) and (not sent or not known or bool(sent & known))
    one, two = _plain(one), _plain(two)
    return type(one) is type(two) and (one == two or (one != one and two != two))  # noqa: PLR0124 - NaN


def _plain(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else int(value) if isinstance(value, bool) else value


def _names(enum: Any, number: int) -> set[str]:
    return {each.name for each in enum.values if each.number == number}
