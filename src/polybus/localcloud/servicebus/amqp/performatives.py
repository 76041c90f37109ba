"""Performatives and frames: what is written, and what is checked of what was read."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from . import encode as e
from .decode import DecodeError, Described, decode, fields, skip

__all__ = [
    "ACCEPTED",
    "AMQP_HEADER",
    "ATTACH",
    "BEGIN",
    "CLOSE",
    "DETACH",
    "DISPOSITION",
    "END",
    "FLOW",
    "OPEN",
    "SASL_HEADER",
    "SASL_INIT",
    "SASL_MECHANISMS",
    "SASL_OUTCOME",
    "TRANSFER",
    "code_of",
    "error",
    "frame",
    "performative",
    "raw",
    "read",
    "rejected",
    "transactional",
]

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44

SOURCE, TARGET, COORDINATOR = 0x28, 0x29, 0x30
STATE_ACCEPTED, STATE_REJECTED, STATE_RELEASED, STATE_MODIFIED = 0x24, 0x25, 0x26, 0x27
DECLARE, DISCHARGE, STATE_DECLARED, STATE_TRANSACTIONAL = 0x31, 0x32, 0x33, 0x34
# AMQP 1.0 gives every type two descriptors, a number and a name; either may be sent.
_NAMES = {
    f"amqp:{name}:list": code
    for name, code in {
        "open": OPEN,
        "begin": BEGIN,
        "attach": ATTACH,
        "flow": FLOW,
        "transfer": TRANSFER,
        "disposition": DISPOSITION,
        "detach": DETACH,
        "end": END,
        "close": CLOSE,
        "sasl-init": SASL_INIT,
        "source": SOURCE,
        "target": TARGET,
        "coordinator": COORDINATOR,
        "accepted": STATE_ACCEPTED,
        "rejected": STATE_REJECTED,
        "released": STATE_RELEASED,
        "modified": STATE_MODIFIED,
        "declare": DECLARE,
        "discharge": DISCHARGE,
        "declared": STATE_DECLARED,
        "transactional-state": STATE_TRANSACTIONAL,
    }.items()
}


def code_of(descriptor: Any) -> Any:
    """Return the number of a descriptor that is a name; any other as it is."""
    return _NAMES.get(descriptor, descriptor) if isinstance(descriptor, str) else descriptor


ACCEPTED = e.described(STATE_ACCEPTED, e.EMPTY_LIST)

# Fields of each performative that is written: azure-servicebus before 7.15 indexes them all, so none is left out.
_WIDTH = {
    OPEN: 10, BEGIN: 8, ATTACH: 14, FLOW: 11, TRANSFER: 11, DISPOSITION: 6, DETACH: 3, END: 1, CLOSE: 1,
    SASL_MECHANISMS: 1, SASL_OUTCOME: 2,
}  # fmt: skip

# Types of each field that is read. Upper case: mandatory. s text, u 32-bit unsigned, l any unsigned, b boolean,
# y binary, m map, * anything.
_TYPES = {
    OPEN: "Ssuuu*****",
    BEGIN: "uUUUu***",
    ATTACH: "SUBuu***bul**m",
    FLOW: "uUUUuuuubbm",
    TRANSFER: "Uuyubbu*bbb",
    DISPOSITION: "BUub*b",
    DETACH: "Ub*",
    END: "*",
    CLOSE: "*",
    SASL_INIT: "Sys",
}
_CLASSES: dict[str, type | None] = {"s": str, "u": int, "l": int, "b": bool, "y": bytes, "m": dict, "*": None}
_RULES = {
    code: tuple((_CLASSES[kind.lower()], kind.isupper(), kind.lower() == "u") for kind in kinds)
    for code, kinds in _TYPES.items()
}
_HEAD = struct.Struct(">IBBH").pack


def read(body: bytes) -> tuple[int, list[Any], int]:
    """Return (code, all its fields, position of the payload) of a frame's body; raise DecodeError."""
    value, end = decode(body)
    if not isinstance(value, Described) or not isinstance(value.value, list):
        raise DecodeError("a frame's body is no performative")
    code, given = code_of(value.descriptor), value.value
    rules = _RULES.get(code) if isinstance(code, int) else None
    if rules is None or len(given) > len(rules):
        raise DecodeError(f"unknown performative {code!r}")
    for found, (kind, mandatory, bounded) in zip(given, rules, strict=False):
        if found is None:
            if mandatory:
                raise DecodeError(f"performative {code:#x} lacks a mandatory field")
        elif kind is not None and not _fits(found, kind, bounded):
            raise DecodeError(f"performative {code:#x} has a field of a wrong type")
    missing = rules[len(given) :]
    if any(mandatory for _, mandatory, _ in missing):
        raise DecodeError(f"performative {code:#x} lacks a mandatory field")
    given.extend([None] * len(missing))
    return code, given, end


def raw(body: bytes) -> list[bytes]:
    """Return the encoded fields of a described list, as many as were sent; raise DecodeError."""
    return fields(body, skip(body, 1))


def _fits(found: Any, kind: type, bounded: bool) -> bool:
    if found.__class__ is not kind:  # a bool is an int to isinstance
        return False
    number: Any = found
    return kind is not int or (number >= 0 and not (bounded and number > 0xFFFFFFFF))


def performative(code: int, fields: Sequence[bytes]) -> bytes:
    """Encode a performative from its leading encoded fields; the others are null."""
    return e.described(code, e.items([*fields, *[e.NULL] * (_WIDTH[code] - len(fields))]))


def frame(channel: int, body: bytes, kind: int = 0) -> bytes:
    """Return a frame; `kind` is 0 for AMQP, 1 for SASL."""
    return _HEAD(len(body) + 8, 2, kind, channel) + body


def error(condition: str, description: str) -> bytes:
    """Encode an error with all three fields: without the third, azure-servicebus waits for ever."""
    return e.described(0x1D, e.items([e.symbol(condition), e.string(description), e.NULL]))


def transactional(transaction: bytes, outcome: bytes) -> bytes:
    """Encode what becomes of a delivery once its transaction is discharged."""
    return e.described(STATE_TRANSACTIONAL, e.items([e.binary(transaction), outcome]))


def rejected(condition: str, description: str) -> bytes:
    return e.described(STATE_REJECTED, e.items([error(condition, description)]))
