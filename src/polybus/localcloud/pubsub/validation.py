"""Definitions of schemas, checked, and messages checked by them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError

from polybus.localcloud.pubsub.avro import avro_problem
from polybus.localcloud.pubsub.avro_data import AvroType
from polybus.localcloud.pubsub.proto_text import ProtoProblem, message_class

__all__ = ["AVRO", "BINARY", "JSON", "PROTOCOL_BUFFER", "definition_problem", "message_problem"]

PROTOCOL_BUFFER, AVRO = 1, 2  # Schema.Type
JSON, BINARY = 1, 2  # Encoding
MOST_BYTES = 300 * 1024
"""Of a definition (https://cloud.google.com/pubsub/quotas, "Schema definition size")."""

Check = Callable[[bytes], str | None]


def definition_problem(kind: int, definition: str) -> str | None:
    """Return what is wrong with a definition, or None."""
    if len(definition.encode()) > MOST_BYTES:
        return f"it has more than {MOST_BYTES} bytes"
    if kind == AVRO:
        return avro_problem(definition)
    try:
        message_class(definition)
    except ProtoProblem as problem:
        return str(problem)
    return None


def message_problem(kind: int, definition: str, encoding: int, data: bytes) -> str | None:
    """Return what keeps data from being a value of a definition that was checked, in an encoding; None where it is."""
    return _check(kind, definition, encoding)(data)


@lru_cache(maxsize=64)
def _check(kind: int, definition: str, encoding: int) -> Check:
    if kind == AVRO:
        avro = AvroType(definition)
        return avro.json if encoding == JSON else avro.binary
    made = message_class(definition)

    def binary(data: bytes) -> str | None:
        try:
            made.FromString(data)
        except DecodeError as error:
            return str(error)
        return None

    def json(data: bytes) -> str | None:
        try:
            Parse(data, made())
        except (ParseError, ValueError, RecursionError) as error:
            return str(error)
        return None

    return json if encoding == JSON else binary
