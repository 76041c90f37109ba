"""Random Protobuf messages, changes of them, and values: none of polybus's own code."""

from __future__ import annotations

import copy
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import strategies as st

NAMES = ["a", "b", "c", "d", "e"]
NUMBERS = [1, 2, 3, 4, 5]
SCALARS = [
    "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "bytes", "uint32",
    "sfixed32", "sfixed64", "sint32", "sint64",
]  # fmt: skip
TYPES = [*SCALARS, "enum", "message"]
KEYS = ["int32", "int64", "bool", "string", "sint32", "uint32"]


@st.composite
def sources(draw: st.DrawFn) -> dict[str, Any]:
    """Give what a message is, as plain data: M with an enum E and a message N within it."""
    syntax = draw(st.sampled_from(["proto2", "proto3"]))
    return {
        "syntax": syntax,
        "fields": draw(_fields(syntax, TYPES)),
        "inner": draw(_fields(syntax, SCALARS)),
        "values": draw(_values_of_enum()),
        "reserved": [],
    }


@st.composite
def _fields(draw: st.DrawFn, syntax: str, types: list[str]) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    numbers = draw(st.permutations(NUMBERS))
    return [draw(_field(syntax, types, name, number)) for name, number in zip(names, numbers, strict=False)]


@st.composite
def _field(draw: st.DrawFn, syntax: str, types: list[str], name: str, number: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(types))
    labels = ["plain", "plain", "optional", "list", "oneof"] + (["required"] if syntax == "proto2" else [])
    label = draw(st.sampled_from(labels + (["map"] if kind != "enum" and types is TYPES else [])))
    found: dict[str, Any] = {"name": name, "number": number, "type": kind, "label": label}
    if label == "map":
        found["key"] = draw(st.sampled_from(KEYS))
    if syntax == "proto2" and label in ("plain", "required") and kind in ("int32", "string") and draw(st.booleans()):
        found["default"] = draw(st.sampled_from(["1", "2"]))
    if draw(st.integers(0, 9)) == 0:
        found["json"] = "named"
    return found


@st.composite
def _values_of_enum(draw: st.DrawFn) -> dict[str, int]:
    names = draw(st.lists(st.sampled_from(["X", "Y", "Z"]), max_size=3, unique=True))
    return {"NONE": 0, **{name: draw(st.sampled_from([1 + at, -1 - at])) for at, name in enumerate(names)}}


@st.composite
def changed(draw: st.DrawFn, source: dict[str, Any]) -> dict[str, Any]:
    """Give a message with a few places changed."""
    found = copy.deepcopy(source)
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["remove", "add", "type", "label", "name", "number", "enum", "reserve", "default"]))
        fields = found[draw(st.sampled_from(["fields", "inner"]))]
        if kind == "enum":
            found["values"] = draw(_values_of_enum())
        elif kind == "add":
            free = [name for name in NAMES if name not in {each["name"] for each in fields}]
            spare = [number for number in NUMBERS if number not in {each["number"] for each in fields}]
            if free and spare:
                number = draw(st.sampled_from(spare))
                fields.append(draw(_field(found["syntax"], SCALARS, draw(st.sampled_from(free)), number)))
        elif fields:
            _change(draw, kind, found, fields, draw(st.sampled_from(fields)))
    return found


def _change(draw: st.DrawFn, kind: str, found: dict[str, Any], fields: list[Any], at: dict[str, Any]) -> None:
    if kind in ("remove", "reserve"):
        fields.remove(at)
        if kind == "reserve" and fields is found["fields"]:
            found["reserved"] = [*found["reserved"], at["number"]]
    elif kind == "type" and at["type"] != "message":
        at["type"] = draw(st.sampled_from(SCALARS))
        at.pop("default", None)
    elif kind == "label" and at["label"] != "map":
        at["label"] = draw(st.sampled_from(["plain", "optional", "list", "oneof"]))
        at.pop("default", None)
    elif kind == "default":
        at.pop("default", None)
    elif kind in ("name", "number"):
        values = NAMES if kind == "name" else NUMBERS
        free = [value for value in values if value not in {each[kind] for each in fields}]
        at[kind] = draw(st.sampled_from(free))


def descriptor_set(source: dict[str, Any]) -> bytes:
    """Return what protoc would make of it."""
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="p", syntax=source["syntax"])
    message = file.message_type.add(name="M")
    enum = message.enum_type.add(name="E")
    enum.options.allow_alias = len(set(source["values"].values())) < len(source["values"])
    for name, number in source["values"].items():
        enum.value.add(name=name, number=number)
    _fill(message.nested_type.add(name="N"), source["inner"], source["syntax"])
    _fill(message, source["fields"], source["syntax"])
    for number in source["reserved"]:
        if number not in {each["number"] for each in source["fields"]}:
            message.reserved_range.add(start=number, end=number + 1)
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def _fill(message: Any, fields: list[dict[str, Any]], syntax: str) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    if any(each["label"] == "oneof" for each in fields):
        message.oneof_decl.add(name="choice")
    for each in fields:
        label = {"list": 3, "map": 3, "required": 2}.get(each["label"], 1)
        field = message.field.add(name=each["name"], number=each["number"], label=label)
        _typed(field, each["type"])
        if each["label"] == "map":
            entry = message.nested_type.add(name=f"{each['name'].title()}Entry")
            entry.options.map_entry = True
            _typed(entry.field.add(name="key", number=1, label=1), each["key"])
            _typed(entry.field.add(name="value", number=2, label=1), each["type"])
            field.type, field.type_name = proto.TYPE_MESSAGE, f".p.M.{entry.name}"
        if each["label"] == "oneof":
            field.oneof_index = 0
        if "default" in each:
            field.default_value = each["default"]
        if "json" in each:
            field.json_name = f"{each['json']}{each['number']}"
    for each, field in zip(fields, message.field, strict=True):
        if each["label"] == "optional" and syntax == "proto3":
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{each['name']}")


def _typed(field: Any, kind: str) -> None:
    field.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}")
    if kind in ("enum", "message"):
        field.type_name = ".p.M.E" if kind == "enum" else ".p.M.N"


def class_of(source: dict[str, Any]) -> tuple[Any, Any]:
    """Return the class of messages, and the pool that it is of, which has to be held."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set(source)).file:
        pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("p.M")), pool


RANGES = {
    **dict.fromkeys(["int32", "sint32", "sfixed32"], (31, True)),
    **dict.fromkeys(["uint32", "fixed32"], (32, False)),
    **dict.fromkeys(["uint64", "fixed64"], (64, False)),
}


def _numbers(kind: str) -> st.SearchStrategy[int]:
    bits, signed = RANGES.get(kind, (63, True))
    edge = 1 << bits
    return st.sampled_from([0, 1, 2, edge - 1] + ([-1, -edge] if signed else []))


@st.composite
def filled(draw: st.DrawFn, made: Any, source: dict[str, Any], part: str = "fields") -> Any:
    """Give a message of a class."""
    message = made()
    for each in source[part]:
        if each["label"] == "required" or draw(st.booleans()):
            _put(draw, message, each, source)
    return message


def _put(draw: st.DrawFn, message: Any, each: dict[str, Any], source: dict[str, Any]) -> None:
    name, kind = each["name"], each["type"]
    if kind == "message":
        at = getattr(message, name)
        of = message.DESCRIPTOR.file.pool.FindMessageTypeByName("p.M.N")
        value = draw(filled(message_factory.GetMessageClass(of), source, "inner"))
        if each["label"] == "list":
            at.append(value)
        elif each["label"] == "map":
            at[draw(_scalar(each["key"], source))].CopyFrom(value)
        else:
            at.CopyFrom(value)
            at.SetInParent()
    elif each["label"] == "list":
        getattr(message, name).extend(draw(st.lists(_scalar(kind, source), max_size=2)))
    elif each["label"] == "map":
        getattr(message, name)[draw(_scalar(each["key"], source))] = draw(_scalar(kind, source))
    else:
        setattr(message, name, draw(_scalar(kind, source)))


def _scalar(kind: str, source: dict[str, Any]) -> st.SearchStrategy[Any]:
    if kind == "enum":
        unknown = [99] if source["syntax"] == "proto3" else []
        return st.sampled_from([*source["values"].values(), *unknown])
    if kind == "bool":
        return st.booleans()
    if kind == "string":
        return st.sampled_from(["", "a", "\u00e4"])
    if kind == "bytes":
        return st.sampled_from([b"", b"a", b"\xff"])
    if kind in ("float", "double"):
        return st.sampled_from([0.0, 1.5, -2.0])
    return _numbers(kind)
