"""What a message is held to at publish."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from polybus.body import decoder
from polybus.contracts.json_check import Problem, problem
from polybus.contracts.json_shape import read
from polybus.contracts.load import Contract
from polybus.errors import DecodeError
from polybus.message import Message, encode_body

__all__ = ["Checker", "checker"]


class Checker(Protocol):
    """Holds messages to a contract; made once, asked for each message.

    `content_types` are those that a message may say, the first where it says none; without them, it may say any.
    """

    @property
    def content_types(self) -> tuple[str, ...]: ...

    def encoded(self, value: object) -> tuple[bytes, str]:
        """Return the body of a value, and its content type.

        Raises NotOfContract for what isn't of the contract, TypeError or ValueError for what can't be a body at all.
        """

    def __call__(self, body: bytes, value: object) -> Problem | None:
        """Say what is wrong with a body, None where nothing is; `value` is what it was made of."""


def checker(contract: Contract) -> Checker:
    """Return what holds messages to a contract."""
    if contract.kind == "avro":
        from polybus.contracts.avro_publishing import OfAvro

        return OfAvro(contract.schema)
    if contract.kind == "protobuf":
        from polybus.contracts.proto_publishing import OfProtobuf

        return OfProtobuf(contract.schema)
    return _OfJson(contract)


class _OfJson:
    content_types = ()
    encoded = staticmethod(encode_body)

    def __init__(self, contract: Contract) -> None:
        self._node = read(contract.schema, writes=True)
        self._type = contract.annotation
        self._decode = None if contract.annotation is None else decoder(contract.annotation)

    def __call__(self, body: bytes, value: object) -> Problem | None:
        if self._decode is not None:
            # What the type itself takes: it may say more than a schema can.
            try:
                self._decode(Message(body))
            except DecodeError as error:
                return "$", str(error)
            if type(value) is self._type:
                return None  # it has the fields that it declares, and no others
        return self._of_body(body)

    def _of_body(self, body: bytes) -> Problem | None:
        try:
            found: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "$", "not JSON"
        return problem(self._node, found)
