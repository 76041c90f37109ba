"""What is published and delivered."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import msgspec

__all__ = ["JSON", "OCTETS", "PROTOBUF", "TEXT", "Message", "Sent", "encode_body"]

JSON = "application/json"
TEXT = "text/plain"
OCTETS = "application/octet-stream"
PROTOBUF = "application/protobuf"

_NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


# msgspec's structs here and in driver.py, where other values are dataclasses: these are made for each message, and a
# frozen dataclass of this size takes 1.1 us to make where a struct takes 0.2 (timeit, CPython 3.11). gc=False: nothing
# that they hold leads back to them, and without it the collector's walks over what is outstanding are a quarter of the
# CPU of a publish (10.8 us a message against 8.1, 15,000 at once to a driver that sends nothing).
class Message(msgspec.Struct, frozen=True, kw_only=False, gc=False):
    """A body with its attributes.

    `attributes` are the user's own; their names are 1 to 128 of A-Z a-z 0-9 _ . -, a letter or _ first.
    `ordering_key` is 1 to 128 printable ASCII characters without spaces. `id` is a UUID that polybus gives at the first
    attempt to publish, and that stays the same through retries, redelivery, dead-lettering and redrive; for what a
    foreign producer published it is the cloud's. `published_at` is in seconds since the epoch, by the backend's clock.
    `content_type` is None where the producer said nothing.
    """

    body: bytes
    attributes: Mapping[str, str] = _NO_ATTRIBUTES
    ordering_key: str | None = None
    id: str = ""
    published_at: float | None = None
    content_type: str | None = None

    def __repr__(self) -> str:
        """Describe the message without its content, which may be private."""
        key = f", ordering_key={self.ordering_key!r}" if self.ordering_key is not None else ""
        return f"Message(id={self.id!r}, {len(self.body)} bytes, attributes={sorted(self.attributes)}{key})"


class Sent(msgspec.Struct, frozen=True, gc=False):
    """The backend has durably accepted the message with this `id`."""

    id: str


@runtime_checkable
class _PydanticModel(Protocol):
    def model_dump_json(self) -> str: ...


@runtime_checkable
class _ProtobufMessage(Protocol):
    def SerializeToString(self, *, deterministic: bool) -> bytes: ...


def encode_body(value: Any) -> tuple[bytes, str]:
    """Return the bytes that carry `value`, and their content type.

    bytes are taken as they are, str as UTF-8; a pydantic model by its own `model_dump_json`; a Protobuf message as its
    bytes; all else (dict, list, dataclass, attrs class, msgspec.Struct, numbers, dates, ...) as JSON by msgspec. Raises
    TypeError for what has no JSON form, ValueError for values that JSON or UTF-8 can't carry (NaN, infinity, lone
    surrogates); both name the place.
    """
    if isinstance(value, bytes):
        return value, OCTETS
    if isinstance(value, str):
        return _text(value), TEXT
    if isinstance(value, bytearray | memoryview):
        return bytes(value), OCTETS
    if isinstance(value, _PydanticModel) and not isinstance(value, type):
        body = value.model_dump_json().encode()
        plain: Callable[[], Any] = getattr(value, "model_dump", lambda: None)
    else:
        try:
            body = msgspec.json.encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            if isinstance(value, _ProtobufMessage) and not isinstance(value, type):
                return value.SerializeToString(deterministic=True), PROTOBUF
            raise _unencodable(value, error) from error
        plain = partial(msgspec.to_builtins, value)
    if b"null" in body:  # which is what a float becomes that JSON has no word for, as well as None
        place = _not_finite(plain())
        if place is not None:
            raise ValueError(f"JSON has no NaN and no infinity, and a null would say something else: at {place}")
    return body, JSON


def _text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text has a lone surrogate at {error.start}, which UTF-8 can't carry") from error


def _unencodable(value: Any, error: Exception) -> Exception:
    """Return the error that names what can't be encoded, and where in the value it is."""
    if isinstance(error, RecursionError):
        return ValueError("it is nested too deeply for JSON, or within itself")
    where = []
    for _ in range(_DEEPEST):
        for part, child in _children(value):
            if not _is_encodable(child):
                where.append(part)
                value = child
                break
        else:
            break
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"{error}: at ${''.join(where)}")


# No place of a fault is named more precisely than this.
_DEEPEST = 20


def _is_encodable(value: Any) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _children(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(_part(key), child) for key, child in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{index}]", child) for index, child in enumerate(value)]
    if isinstance(value, msgspec.Struct):
        return [(_part(name), getattr(value, name)) for name in value.__struct_fields__]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(_part(field.name), getattr(value, field.name, None)) for field in dataclasses.fields(value)]
    return ()


def _part(key: object) -> str:
    # Keys that are no names may be content, which belongs in no log.
    return f".{key}" if isinstance(key, str) and key.isidentifier() else "[...]"


def _not_finite(value: Any) -> str | None:
    """Return the place of the first float in plain values that is no number, or None where all are."""
    waiting = [("$", value)]
    while waiting:
        place, each = waiting.pop()
        if isinstance(each, float) and not math.isfinite(each):
            return place
        waiting.extend((place + part, child) for part, child in _children(each))
    return None
