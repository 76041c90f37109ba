"""Which changes of a Protobuf message are allowed: what protobuf reads of random messages decides."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.contracts.proto_random import changed, class_of, descriptor_set, filled, sources

from polybus.contracts.breaks import NONE
from polybus.contracts.proto_compare import example_text, gaps
from polybus.contracts.proto_file import message_in


def is_list(field: Any) -> bool:
    found = getattr(field, "is_repeated", None)  # protobuf 5 has but the label, of which later ones warn
    return bool(field.label == 3 if found is None else found)


def view(message: Any) -> dict[str, Any]:
    """Return what a message says by the names of its fields, whatever is left out included."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            of_value = field.message_type.fields_by_name["value"]
            found[field.name] = Entries({_plain(key, None): _value(value[key], of_value) for key in value})
        elif is_list(field):
            found[field.name] = [_value(each, field) for each in value]
        elif field.message_type is not None:
            found[field.name] = view(value) if message.HasField(field.name) else None
        else:
            found[field.name] = _value(value, field)
    return found


def _value(value: Any, field: Any) -> Any:
    return view(value) if field.message_type is not None else _plain(value, field)


class Entries(dict[Any, Any]):
    """A map, and not a message."""


class Symbol(int):
    """A number of an enum, with its names."""

    names: frozenset[str]


def _plain(value: Any, field: Any) -> Any:
    if field is not None and field.enum_type is not None:
        symbol = Symbol(value)
        symbol.names = frozenset(each.name for each in field.enum_type.values if each.number == value)
        return symbol
    return value.encode() if isinstance(value, str) else int(value) if isinstance(value, bool) else value


def alike(sent: Any, found: Any) -> bool:
    if isinstance(sent, Entries) or isinstance(found, Entries):
        same = type(sent) is type(found) and sent.keys() == found.keys()
        return same and all(alike(sent[key], found[key]) for key in sent)
    if isinstance(sent, dict) and isinstance(found, dict):
        return all(alike(sent[name], found[name]) for name in sent.keys() & found.keys())
    if isinstance(sent, list) and isinstance(found, list):
        return len(sent) == len(found) and all(map(alike, sent, found))
    if isinstance(sent, Symbol) and isinstance(found, Symbol):
        return sent == found and (not sent.names or not found.names or bool(sent.names & found.names))
    if isinstance(sent, int) and isinstance(found, int):
        return int(sent) == int(found)
    return type(sent) is type(found) and sent == found


def renamed(sent: Any, found: Any) -> bool:
    """Say whether a field that was sent is read under another name."""
    for field, value in sent.ListFields():
        other = found.DESCRIPTOR.fields_by_number.get(field.number)
        if other is None:
            continue
        if other.name != field.name:
            return True
        if field.message_type is None or other.message_type is None:
            continue
        theirs, ours = value, getattr(found, other.name)
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is None:
                continue
            pairs = [(theirs[key], ours[key]) for key in theirs if key in ours]
        elif is_list(field):
            pairs = list(zip(theirs, ours, strict=False)) if is_list(other) else []
        else:
            pairs = [] if is_list(other) else [(theirs, ours)]
        if any(renamed(one, two) for one, two in pairs):
            return True
    return False


def reads(message: Any, reader: Any) -> bool:
    """Say whether a class reads a message as it was sent."""
    try:
        found = reader.FromString(message.SerializeToString())
        return found.IsInitialized() and alike(view(message), view(found)) and not renamed(message, found)
    except (DecodeError, UnicodeDecodeError):
        return False


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_an_allowed_change_breaks_no_message_and_a_refused_one_has_one_that_breaks(data: st.DataObject) -> None:
    old = data.draw(sources())
    new = data.draw(st.one_of(changed(old), changed(old), sources()))
    for writer, reader, newer in ((old, new, True), (new, old, False)):
        (theirs, _held), (ours, _also_held) = class_of(writer), class_of(reader)
        one, two = (message_in(descriptor_set(each), "p.M") for each in (writer, reader))
        found = gaps(one, two, reader_is_newer=newer)
        if all(gap.rule in ("number-not-reserved", "json-name-changed") for gap in found):
            for _ in range(3):
                message = data.draw(filled(theirs, writer))
                assert reads(message, ours), (writer, reader, message, found)
        for gap in found:
            assert gap.decided == (gap.example is not NONE)
            if gap.decided and gap.rule == "json-name-changed":
                with pytest.raises(json_format.ParseError):
                    json_format.ParseDict(json_format.MessageToDict(gap.example), ours())
            elif gap.decided:
                example = theirs.FromString(gap.example.SerializeToString())
                assert not reads(example, ours), (writer, reader, gap)


def source(*fields: dict[str, Any], syntax: str = "proto3", **more: Any) -> dict[str, Any]:
    return {
        "syntax": syntax,
        "fields": list(fields),
        "inner": [],
        "values": {"NONE": 0, "X": 1},
        "reserved": [],
        **more,
    }


def field(name: str, number: int, kind: str, label: str = "plain", **more: Any) -> dict[str, Any]:
    return {"name": name, "number": number, "type": kind, "label": label, **more}


ID = field("id", 1, "int32")
STATE = field("e", 1, "enum")


@pytest.mark.parametrize(
    ("old", "new", "rule", "place"),
    [
        (source(ID), source(ID, field("who", 2, "string")), None, ""),
        (source(ID, field("who", 2, "string")), source(ID), "number-not-reserved", "$.who"),
        (source(ID, field("who", 2, "string")), source(ID, reserved=[2]), None, ""),
        (source(ID, field("who", 2, "string")), source(ID, field("note", 2, "string")), "number-reused", "$.who"),
        (source(ID), source(field("id", 2, "int32")), "number-changed", "$.id"),
        (source(ID), source(field("id", 1, "int64")), None, ""),
        (source(field("id", 1, "int64")), source(ID), "type-narrowed", "$.id"),
        (source(ID), source(field("id", 1, "uint32")), "type-narrowed", "$.id"),
        (source(ID), source(field("id", 1, "sint32")), "type-changed", "$.id"),
        (source(ID), source(field("id", 1, "string")), "type-changed", "$.id"),
        (source(field("f", 1, "fixed32")), source(field("f", 1, "float")), "type-changed", "$.f"),
        (source(field("s", 1, "string")), source(field("s", 1, "bytes")), None, ""),
        (source(field("s", 1, "bytes")), source(field("s", 1, "string")), "type-narrowed", "$.s"),
        (source(ID), source(field("id", 1, "int32", "list")), "cardinality-changed", "$.id"),
        (source(ID), source(field("id", 1, "int32", "optional")), None, ""),
        (source(field("e", 1, "enum")), source(field("e", 1, "int32")), None, ""),
        (
            source(field("e", 1, "enum")),
            source(field("e", 1, "enum"), values={"NONE": 0}),
            "number-not-reserved",
            "$.e",
        ),
        (
            source(field("e", 1, "enum")),
            source(field("e", 1, "enum"), values={"NONE": 0, "Y": 1}),
            "number-reused",
            "$.e",
        ),
        (
            source(field("e", 1, "enum"), syntax="proto2"),
            source(field("e", 1, "enum"), syntax="proto2", values={"NONE": 0}),
            "value-removed",
            "$.e",
        ),
        (
            source(ID, syntax="proto2"),
            source(ID, field("who", 2, "string", "required"), syntax="proto2"),
            "required-field-added",
            "$.who",
        ),
        (
            source(field("n", 1, "int32", default="1"), syntax="proto2"),
            source(field("n", 1, "int32", default="2"), syntax="proto2"),
            "default-changed",
            "$.n",
        ),
        (
            source(field("a", 1, "int32"), field("b", 2, "int32")),
            source(field("a", 1, "int32", "oneof"), field("b", 2, "int32", "oneof")),
            "oneof-moved",
            "$.choice",
        ),
        (
            source(field("a", 1, "int32", "oneof"), field("b", 2, "int32", "oneof")),
            source(field("a", 1, "int32"), field("b", 2, "int32")),
            None,
            "",
        ),
        (source({**ID, "json": "ident"}), source(ID), "json-name-changed", "$.id"),
        (source(ID), source({**ID, "json": "ident"}), None, ""),  # a field's own name is read too
        (
            source(field("n", 1, "message", "list"), inner=[ID]),
            source(field("n", 1, "message", "list"), inner=[field("id", 1, "string")]),
            "type-changed",
            "$.n[].id",
        ),
        (
            source(field("m", 1, "message", "map", key="string"), inner=[ID]),
            source(field("m", 1, "message", "map", key="string"), inner=[field("id", 1, "bool")]),
            "type-narrowed",
            "$.m[].id",
        ),
    ],
)
def test_a_refusal_names_its_rule_and_place(old: Any, new: Any, rule: str | None, place: str) -> None:
    one, two = (message_in(descriptor_set(each), "p.M") for each in (old, new))
    found = gaps(one, two, reader_is_newer=True)
    assert [(gap.rule, gap.place) for gap in found] == ([] if rule is None else [(rule, place)])
    for gap in found:
        assert gap.decided == (rule != "number-not-reserved")
        assert isinstance(example_text(gap.example), dict) or not gap.decided


def test_a_number_that_was_reserved_is_not_used_again() -> None:
    old, new = source(ID, reserved=[2]), source(ID, field("who", 2, "string"))
    one, two = (message_in(descriptor_set(each), "p.M") for each in (new, old))
    [gap] = gaps(one, two, reader_is_newer=False)
    assert (gap.rule, gap.place) == ("number-reused", "$.who")
    assert copy.deepcopy(old) == old
