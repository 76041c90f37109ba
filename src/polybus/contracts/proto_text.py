"""A Protobuf message as the text of a .proto file, for people and documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polybus.contracts.proto_file import Message

__all__ = ["text_of"]

_LABELS = {2: "required ", 3: "repeated "}


def text_of(message: Message) -> str:
    """Return the file of a message, without the comments and options that a compiler leaves out."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto()
    message.descriptor.file.CopyToProto(file)
    return "\n".join(_file(file)) + "\n"


def _file(file: Any) -> Iterator[str]:
    yield f'syntax = "{file.syntax or "proto2"}";'
    if file.package:
        yield f"package {file.package};"
    yield from (f'import "{each}";' for each in file.dependency)
    for each in file.enum_type:
        yield from ("", *_enum(each, ""))
    for each in file.message_type:
        yield from ("", *_message(each, "", file.syntax == "proto3"))


def _message(message: Any, indent: str, proto3: bool) -> Iterator[str]:
    inner = f"{indent}  "
    yield f"{indent}message {message.name} {{"
    maps = {each.name: each for each in message.nested_type if each.options.map_entry}
    for each in message.enum_type:
        yield from _enum(each, inner)
    for each in message.nested_type:
        if each.name not in maps:
            yield from _message(each, inner, proto3)
    alone = [each for each in message.field if not each.HasField("oneof_index") or each.proto3_optional]
    yield from (f"{inner}{_field(each, maps, proto3)}" for each in alone)
    for number, oneof in enumerate(message.oneof_decl):
        within = [each for each in message.field if each.HasField("oneof_index") and each.oneof_index == number]
        if any(not each.proto3_optional for each in within):
            yield f"{inner}oneof {oneof.name} {{"
            yield from (f"{inner}  {_typed(each)} {each.name} = {each.number};" for each in within)
            yield f"{inner}}}"
    ranges = [_range(each.start, each.end - 1) for each in message.reserved_range]
    yield from _reserved(ranges, message.reserved_name, inner)
    yield f"{indent}}}"


def _field(field: Any, maps: dict[str, Any], proto3: bool) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2]) if field.label == 3 else None
    if entry is not None:
        return f"map<{_typed(entry.field[0])}, {_typed(entry.field[1])}> {field.name} = {field.number};"
    label = _LABELS.get(field.label, "optional " if field.proto3_optional or not proto3 else "")
    default = f" [default = {field.default_value}]" if field.HasField("default_value") else ""
    return f"{label}{_typed(field)} {field.name} = {field.number}{default};"


def _typed(field: Any) -> str:
    if field.type_name:
        return str(field.type_name).lstrip(".")
    return str(type(field).Type.Name(field.type)).removeprefix("TYPE_").lower()


def _enum(enum: Any, indent: str) -> Iterator[str]:
    yield f"{indent}enum {enum.name} {{"
    if enum.options.allow_alias:
        yield f"{indent}  option allow_alias = true;"
    yield from (f"{indent}  {each.name} = {each.number};" for each in enum.value)
    yield from _reserved(
        [_range(each.start, each.end) for each in enum.reserved_range], enum.reserved_name, f"{indent}  "
    )
    yield f"{indent}}}"


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _reserved(ranges: list[str], names: Any, indent: str) -> Iterator[str]:
    if ranges:
        yield f"{indent}reserved {', '.join(ranges)};"
    if names:
        quoted = ", ".join(f'"{each}"' for each in names)
        yield f"{indent}reserved {quoted};"
