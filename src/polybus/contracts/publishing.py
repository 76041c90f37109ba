"""What a message is held to at publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from polybus.body import decoder
from polybus.contracts.json_check import Problem, problem
from polybus.contracts.json_shape import read
from polybus.contracts.load import Contract
from polybus.errors import DecodeError
from polybus.message import Message

__all__ = ["checker"]

Checker = Callable[[bytes, object], Problem | None]
"""Given a body and the value that it was made of, returns what is wrong with it, None where nothing is."""


def checker(contract: Contract) -> Checker:
    """Return what checks the messages of a contract; made once, called for each message."""
    return _OfJson(contract)


class _OfJson:
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
