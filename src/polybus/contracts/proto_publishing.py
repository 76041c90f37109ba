"""What a message of a Protobuf contract is held to at publish."""

from __future__ import annotations

from typing import Any, Final

from polybus.contracts.avro_value import data_of
from polybus.contracts.json_check import NotOfContract, Problem
from polybus.contracts.proto_file import Message as Declared
from polybus.contracts.proto_judge import is_map, is_repeated
from polybus.message import PROTOBUF, Message

__all__ = ["CONTENT_TYPES", "OfProtobuf"]

CONTENT_TYPES: Final = (PROTOBUF, "application/x-protobuf", "application/vnd.google.protobuf")
"""What messages in Protobuf say: the first is what polybus always wrote, the others are met as well."""


class OfProtobuf:
    """Writes messages of the declared type, and reads bodies that were made elsewhere."""

    content_types = CONTENT_TYPES

    def __init__(self, declared: Declared) -> None:
        self._name = declared.name
        self._declared = declared
        self._made = declared.made

    def encoded(self, value: object) -> tuple[bytes, str]:
        """Return the body of a value, and its content type; raise NotOfContract, TypeError, ValueError."""
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value), PROTOBUF
        message: Any = value if hasattr(value, "SerializeToString") else self._from_data(data_of(value))
        if message.DESCRIPTOR.full_name != self._name:
            raise NotOfContract(("$", f"a {message.DESCRIPTOR.full_name}, and {self._name} is declared"))
        if not message.IsInitialized():
            raise NotOfContract(("$", "a required field is not there"))
        return message.SerializeToString(deterministic=True), PROTOBUF

    def _from_data(self, data: Any) -> Any:
        from google.protobuf.json_format import ParseDict, ParseError

        try:
            return ParseDict(data, self._made())
        except (ParseError, TypeError, AttributeError):  # its text may be content
            raise NotOfContract(("$", f"no {self._name}, by Protobuf's JSON form")) from None

    def __call__(self, body: bytes, value: object) -> Problem | None:
        """Say what is wrong with a body, None where nothing is; `value` is what it was made of."""
        from google.protobuf.message import DecodeError

        if not isinstance(value, bytes | bytearray | memoryview | Message):
            return None if not hasattr(value, "SerializeToString") else self._undeclared(value, "$")
        try:
            found = self._made.FromString(body)
        except DecodeError:
            return "$", f"not the bytes of a {self._name}"
        if not found.IsInitialized():
            return "$", "a required field is not there"
        return self._undeclared(found, "$")

    def _undeclared(self, message: Any, place: str) -> Problem | None:
        """Say where a message has fields that aren't declared: of another type, or of another version."""
        from google.protobuf.unknown_fields import UnknownFieldSet

        if len(UnknownFieldSet(message)):
            return place, "a field with a number that is not declared"
        for field, value in message.ListFields():
            for each in _within(field, value):
                problem = self._undeclared(each, f"{place}.{field.name}")
                if problem is not None:
                    return problem
        return None


def _within(field: Any, value: Any) -> list[Any]:
    """Return the messages that a field holds."""
    if is_map(field):
        of_messages = field.message_type.fields_by_name["value"].message_type is not None
        return list(value.values()) if of_messages else []
    if field.message_type is None:
        return []
    return list(value) if is_repeated(field) else [value]
