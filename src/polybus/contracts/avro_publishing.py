"""What a message of an Avro contract is held to at publish."""

from __future__ import annotations

from typing import Final

from polybus.contracts.avro_file import Versions
from polybus.contracts.avro_value import data_of
from polybus.contracts.avro_wire import Reader, Refused, encoded
from polybus.contracts.json_check import NotOfContract, Problem
from polybus.errors import DecodeError
from polybus.message import Message

__all__ = ["AVRO", "CONTENT_TYPES", "OfAvro"]

AVRO: Final = "avro/binary"
"""The content type that the Avro specification names."""
CONTENT_TYPES: Final = (AVRO, "application/avro")
"""What messages in Avro say: the specification's, and what CloudEvents' documents and others have."""


class OfAvro:
    """Writes values as single objects, and reads bodies that were made elsewhere."""

    content_types = CONTENT_TYPES

    def __init__(self, versions: Versions) -> None:
        self._own = versions.own
        # By this schema alone: what is published is of it, and not of one that is only read.
        self._read = Reader(versions.own)

    def encoded(self, value: object) -> tuple[bytes, str]:
        """Return the body of a value, and its content type; raise NotOfContract, TypeError, ValueError."""
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value), AVRO
        try:
            return encoded(self._own, data_of(value)), AVRO
        except Refused as refused:
            raise NotOfContract((refused.place, refused.what)) from None

    def __call__(self, body: bytes, value: object) -> Problem | None:
        """Say what is wrong with a body, None where nothing is; `value` is what it was made of."""
        if not isinstance(value, bytes | bytearray | memoryview | Message):
            return None  # it was made here
        try:
            self._read(body)
        except DecodeError as error:
            return "$", str(error)
        return None
