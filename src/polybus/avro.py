"""Bodies in Avro: single objects, each with the fingerprint of its schema, so that versions side by side are read.

Takes `pip install 'polybus[avro]'`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from polybus.body import converter
from polybus.contracts.avro_file import Versions, versions_of
from polybus.contracts.avro_publishing import AVRO
from polybus.contracts.avro_schema import IllFormed, read
from polybus.contracts.avro_value import data_of
from polybus.contracts.avro_wire import Reader, encoded
from polybus.errors import ConfigError

__all__ = ["Avro"]


class Avro:
    """Avro by one schema, a codec: what is written says by a fingerprint which schema it is of.

    `schema` and `known` are schemas as their JSON says them. What was written by a schema of `known` is read as
    `schema` says, by Avro's rules of resolution; what is of neither can't be decoded. `content_type` is what messages
    say.
    Raises ConfigError for a schema that isn't well formed, MissingExtra without fastavro.
    """

    def __init__(self, schema: Any, *, known: Iterable[Any] = (), content_type: str = AVRO) -> None:
        try:
            versions = Versions(read(schema), tuple(read(each) for each in known))
        except IllFormed as error:
            raise ConfigError(f"an Avro schema: {error}") from None
        self._set(versions, content_type)

    @classmethod
    def load(cls, path: str | Path, *, content_type: str = AVRO) -> Avro:
        """Return the codec of a file, such as messages/order.avsc; messages/order.*.avsc are known beside it.

        Raises ConfigError where one can't be read.
        """
        return cls.of(versions_of(Path(path)), content_type=content_type)

    @classmethod
    def of(cls, versions: Versions, *, content_type: str = AVRO) -> Avro:
        """Return the codec of schemas that were read."""
        codec = cls.__new__(cls)
        codec._set(versions, content_type)
        return codec

    def under(self, content_type: str) -> Avro:
        """Return the same codec for another content type."""
        codec = copy.copy(self)
        codec._content_type = content_type
        return codec

    def _set(self, versions: Versions, content_type: str) -> None:
        self._schema = versions.own
        self._read = Reader(versions.own, versions.known)
        self._content_type = content_type

    @property
    def content_type(self) -> str:
        """What messages say, "avro/binary" where nothing else was asked for."""
        return self._content_type

    @property
    def fingerprint(self) -> str:
        """The CRC-64 of the schema, in hexadecimal digits as they are on the wire."""
        return self._schema.fingerprint.hex()

    def encode(self, value: Any) -> bytes:
        """Return a value as a single object; raise ValueError that names the place where it isn't of the schema."""
        return encoded(self._schema, data_of(value))

    def decoder(self, annotation: Any) -> Callable[[bytes], Any]:
        """Return what reads single objects as that type; raise TypeError for a type that can't be read.

        It raises DecodeError for what isn't known or isn't well formed, and the type's own errors.
        """
        read, convert = self._read, converter(annotation)
        return lambda body: convert(read(body))
