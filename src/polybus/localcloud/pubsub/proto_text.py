"""Protocol Buffer schemas: a .proto text with one message at its top, as Pub/Sub takes it, made into a message class.

What Pub/Sub refuses is refused: imports, and more than one message at the top. Services, extensions, groups and custom
options have no place in such a schema and are refused too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

__all__ = ["ProtoProblem", "message_class"]

_TOKEN = re.compile(
    r"""\s+ | //[^\n]* | /\*.*?\*/
    | (?P<text>"(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*')
    | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+ | [0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)? | \.[0-9]+))
    | (?P<word>\.?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
    | (?P<sign>[{}\[\]()<>=;,:-])""",
    re.VERBOSE | re.DOTALL,
)
_SCALARS = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in (
        "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "bytes", "uint32",
        "sfixed32", "sfixed64", "sint32", "sint64",
    )
}  # fmt: skip
_LABELS = {
    "optional": FieldDescriptorProto.LABEL_OPTIONAL,
    "required": FieldDescriptorProto.LABEL_REQUIRED,
    "repeated": FieldDescriptorProto.LABEL_REPEATED,
}
_DEEPEST = 64


class ProtoProblem(Exception):
    """What is wrong with a definition."""


def message_class(text: str) -> Any:
    """Return the class of a definition's message; raise ProtoProblem for what is no definition."""
    file = _Parser(text).file()
    pool = descriptor_pool.DescriptorPool()
    try:
        pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
        name = f"{file.package}.{file.message_type[0].name}" if file.package else file.message_type[0].name
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except (TypeError, ValueError, KeyError) as error:
        raise ProtoProblem(str(error).strip() or "the definition doesn't hold together") from None


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ProtoProblem(f"{text[at : at + 20]!r} is not understood")
        if found.lastgroup is not None:
            yield found[0]
        at = found.end()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._proto3 = False

    # -- tokens

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise ProtoProblem("the definition ends too early")
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        found = self._next()
        if found != wanted:
            raise ProtoProblem(f"{wanted!r} is missing before {found!r}")

    def _accept(self, wanted: str) -> bool:
        if self._peek() == wanted:
            self._at += 1
            return True
        return False

    def _name(self) -> str:
        name = self._next()
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ProtoProblem(f"{name!r} is no name")
        return name

    def _number(self) -> int:
        text = self._next()
        if text == "-":
            return -self._number()
        try:
            return int(text, 0)
        except ValueError:
            raise ProtoProblem(f"{text!r} is no whole number") from None

    # -- the grammar

    def file(self) -> FileDescriptorProto:
        file = FileDescriptorProto(name="schema.proto")
        while self._peek():
            word = self._next()
            if word in ("syntax", "edition"):
                self._expect("=")
                file.syntax = self._next().strip("\"'")
                if file.syntax not in ("proto2", "proto3"):
                    raise ProtoProblem(f"{word} is proto2 or proto3, not {file.syntax!r}")
                self._proto3 = file.syntax == "proto3"
                self._expect(";")
            elif word == "package":
                file.package = self._next()
                self._expect(";")
            elif word == "option":
                self._skip_option()
            elif word == "message":
                self._message(file.message_type.add(), 0)
            elif word == "enum":
                self._enum(file.enum_type.add())
            elif word != ";":
                raise ProtoProblem(f"{word!r} is not allowed in a schema")
        if len(file.message_type) != 1:
            raise ProtoProblem(f"there must be one message at the top, not {len(file.message_type)}")
        return file

    def _skip_option(self) -> None:
        while self._next() != ";":
            pass

    def _message(self, message: DescriptorProto, depth: int) -> None:
        if depth > _DEEPEST:
            raise ProtoProblem("messages are in messages too deep")
        message.name = self._name()
        self._expect("{")
        while not self._accept("}"):
            word = self._next()
            if word == "message" and self._peek() != "=":
                self._message(message.nested_type.add(), depth + 1)
            elif word == "enum":
                self._enum(message.enum_type.add())
            elif word == "oneof":
                self._oneof(message)
            elif word in ("reserved", "option"):
                self._skip_option()
            elif word in ("extensions", "extend", "group"):
                raise ProtoProblem(f"{word!r} is not allowed in a schema")
            elif word == "map" and self._peek() == "<":
                self._map(message)
            elif word != ";":
                self._field(message, word, None)
        self._number_optionals(message)

    def _oneof(self, message: DescriptorProto) -> None:
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=self._name())
        self._expect("{")
        while not self._accept("}"):
            word = self._next()
            if word == "option":
                self._skip_option()
            elif word != ";":
                self._field(message, word, index)

    def _field(self, message: DescriptorProto, word: str, oneof: int | None) -> None:
        field = message.field.add(label=FieldDescriptorProto.LABEL_OPTIONAL)
        if word in _LABELS and oneof is None:
            if word == "required" and self._proto3:
                raise ProtoProblem("proto3 has no required fields")
            field.label = _LABELS[word]
            field.proto3_optional = self._proto3 and word == "optional"
            word = self._next()
        if oneof is not None:
            field.oneof_index = oneof
        self._typed(field, word)
        field.name = self._name()
        self._numbered(field)

    def _typed(self, field: FieldDescriptorProto, word: str) -> None:
        if not re.fullmatch(r"\.?[A-Za-z_][A-Za-z0-9_.]*", word):
            raise ProtoProblem(f"{word!r} is no type")
        if word in _SCALARS:
            field.type = _SCALARS[word]
        else:
            field.type_name = word

    def _numbered(self, field: FieldDescriptorProto) -> None:
        self._expect("=")
        number = self._number()
        if not 1 <= number < 1 << 29 or 19_000 <= number < 20_000:
            raise ProtoProblem(f"{number} is no number for a field")
        field.number = number
        if self._accept("["):
            while self._next() != "]":
                pass
        self._expect(";")

    def _map(self, message: DescriptorProto) -> None:
        self._expect("<")
        key = self._next()
        self._expect(",")
        value = self._next()
        self._expect(">")
        name = self._name()
        entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for number, (part, word) in enumerate((("key", key), ("value", value)), 1):
            field = entry.field.add(name=part, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
            self._typed(field, word)
        field = message.field.add(name=name, label=FieldDescriptorProto.LABEL_REPEATED, type_name=entry.name)
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        self._numbered(field)

    def _number_optionals(self, message: DescriptorProto) -> None:
        """Give each optional field of proto3 the oneof of its own that descriptors have for it."""
        for field in message.field:
            if field.proto3_optional:
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")

    def _enum(self, enum: EnumDescriptorProto) -> None:
        enum.name = self._name()
        self._expect("{")
        while not self._accept("}"):
            word = self._next()
            if (word in ("option", "reserved") and self._peek() != "=") or word == "option":
                self._skip_option()
            elif word != ";":
                value = enum.value.add(name=word)
                self._expect("=")
                value.number = self._enum_number()
                if self._accept("["):
                    while self._next() != "]":
                        pass
                self._expect(";")

    def _enum_number(self) -> int:
        number = self._number()
        if not -(1 << 31) <= number < 1 << 31:
            raise ProtoProblem(f"{number} is no number for an enum's value")
        return number
