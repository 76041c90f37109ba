"""Typed bodies: from an annotation, what turns a message into that type.

A decoder is made once, when a handler is declared. What it raises names the place of a fault and what was expected
there, never the content: the text ends up in logs and among the dead letters.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from polybus.errors import DecodeError
from polybus.message import JSON, Message

__all__ = ["ALLOWED", "Decoder", "converter", "decoder", "is_read", "named"]

Decoder = Callable[[Message], Any]

ALLOWED = (
    "polybus.Message, bytes, str, dict, list, Any, a dataclass, a msgspec.Struct, a TypedDict, a pydantic model, "
    "an attrs class, a union or generic of these, a Protobuf message, or another type that JSON can carry"
)


def decoder(annotation: Any) -> Decoder:
    """Return what decodes a message's body to `annotation`.

    `polybus.Message` is the whole message, bytes its body as it is, str its body as UTF-8; a class that protoc made is
    read from its bytes; a pydantic model (or whatever has `model_validate_json`) reads the body itself; all else is
    JSON, read by msgspec. Raises TypeError for a
    type that can't be decoded, naming it. The decoder raises DecodeError.
    """
    plain = _plain(annotation)
    if plain in _AS_THEY_ARE:
        return _AS_THEY_ARE[plain]
    own = getattr(typing.get_origin(plain) or plain, "__polybus_decoder__", None)
    if own is not None:  # it reads more of a message than its body
        found: Decoder = own(plain)
        return found
    if isinstance(plain, type) and hasattr(plain, "DESCRIPTOR") and callable(getattr(plain, "FromString", None)):
        return _ProtobufDecoder(plain)
    if _validates_json(plain):
        return _ValidatingDecoder(plain, plain.model_validate_json)
    if hasattr(plain, "__pydantic_validator__"):  # a pydantic dataclass: msgspec would skip its validators
        from pydantic import TypeAdapter

        return _ValidatingDecoder(plain, TypeAdapter(plain).validate_json)
    return _JsonDecoder(annotation)


def converter(annotation: Any) -> Callable[[Any], Any]:
    """Return what makes a type of plain values that another form than JSON carries, dates and bytes among them.

    Raises TypeError for a type that can't be made of them. What the converter raises may have content in its text.
    """
    plain = _plain(annotation)
    if plain in (Any, object, dict):
        return lambda value: value
    decoder(annotation)  # refuses what no body can become
    if _validates_json(plain) and callable(getattr(plain, "model_validate", None)):
        made: Callable[[Any], Any] = plain.model_validate
        return made
    if hasattr(plain, "__pydantic_validator__"):
        from pydantic import TypeAdapter

        return TypeAdapter(plain).validate_python
    if isinstance(plain, type) and hasattr(plain, "DESCRIPTOR"):
        raise TypeError(f"{named(plain)} is made by Protobuf, and of no other form")
    return partial(msgspec.convert, type=annotation, dec_hook=_validate)


def _plain(annotation: Any) -> Any:
    """Strip Annotated and NewType."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = annotation.__origin__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation if _is_hashable(annotation) else object


def _is_hashable(annotation: Any) -> bool:
    # Literal and unions of unhashable values: never one of ours.
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _validates_json(annotation: Any) -> bool:
    return isinstance(annotation, type) and callable(getattr(annotation, "model_validate_json", None))


def _text(message: Message) -> str:
    try:
        return message.body.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"the body is not UTF-8 text: invalid byte at {error.start}") from None


_AS_THEY_ARE: dict[Any, Decoder] = {
    Message: lambda message: message,
    bytes: lambda message: message.body,
    bytearray: lambda message: bytearray(message.body),
    memoryview: lambda message: memoryview(message.body),
    str: _text,
}


class _JsonDecoder:
    """Reads JSON by msgspec."""

    def __init__(self, annotation: Any) -> None:
        # msgspec takes `object` for a class of its own, and knows Any.
        annotation = Any if annotation is object else annotation
        for cls in _custom_types(msgspec.inspect.type_info(annotation)):
            if not callable(getattr(cls, "model_validate", None)):
                raise TypeError(f"{named(cls)} has no JSON form")
        self._expected = named(annotation)
        self._decode = msgspec.json.Decoder(annotation, dec_hook=_validate).decode

    def __call__(self, message: Message) -> Any:
        try:
            return self._decode(message.body)
        except msgspec.ValidationError as error:
            raise DecodeError(f"the body is not a valid {self._expected}: {_without_content(str(error))}") from None
        except msgspec.DecodeError as error:
            raise DecodeError(f"the body is not JSON: {error}") from None
        except UnicodeDecodeError as error:
            raise DecodeError(f"the body is not JSON: invalid UTF-8 in a string at byte {error.start}") from None
        except RecursionError:
            raise DecodeError("the body is not JSON that can be read: it is nested too deeply") from None


def _validate(cls: Any, value: Any) -> Any:
    """Make a pydantic model that is a part of something else; ValueError becomes msgspec's ValidationError."""
    return cls.model_validate(value)


def _custom_types(info: Any) -> Iterator[Any]:
    """Yield the types that msgspec leaves to its caller, anywhere within a type."""
    seen: set[int] = set()
    waiting = [info]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend(node)
        elif isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field) and id(node) not in seen:
            seen.add(id(node))
            if isinstance(node, msgspec.inspect.CustomType | msgspec.inspect.ExtType | msgspec.inspect.RawType):
                yield getattr(node, "cls", node)
            waiting.extend(getattr(node, field) for field in node.__struct_fields__)


def is_read(annotation: Any) -> bool:
    """Say whether a body is read to become of a type, and isn't that as it is."""
    return _plain(annotation) not in _AS_THEY_ARE


def named(annotation: Any) -> str:
    """Name a type, for an error."""
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


# What msgspec says of types, constraints and declared fields: nothing in these is the producer's. Its other texts
# quote the value (of an enum), the key (an unknown field), or what a __post_init__ said.
_DECLARED = re.compile(r"Expected `[^`]*`[^`]*(`[^`]*`)?|Object missing required field `[^`]*`")
_PLACED = re.compile(r"(?P<problem>.*?)(?: - at (?P<place>(?:`key` in )?`?\$[^ ]*))?", re.DOTALL)


def _without_content(text: str) -> str:
    match = _PLACED.fullmatch(text)
    problem, place = (match["problem"], match["place"]) if match else ("", None)
    kept = problem if _DECLARED.fullmatch(problem) else "a value that is not allowed"
    return f"{kept} at {place.replace('`', '')}" if place else kept


class _ProtobufDecoder:
    """Reads the bytes of a class that protoc made."""

    def __init__(self, annotation: Any) -> None:
        self._expected = named(annotation)
        self._parse: Callable[[bytes], Any] = annotation.FromString

    def __call__(self, message: Message) -> Any:
        if message.content_type == JSON:  # as bytes it might be read, and say something else
            raise DecodeError(f"the body is JSON, not the bytes of a {self._expected}")
        try:
            return self._parse(message.body)
        except Exception:  # noqa: BLE001 - Protobuf's own error, which is of none of Python's kinds
            raise DecodeError(f"the body is not the bytes of a {self._expected}") from None


class _ValidatingDecoder:
    """Leaves the reading to the type itself, pydantic's way."""

    def __init__(self, annotation: Any, validate: Callable[[bytes], Any]) -> None:
        self._expected = named(annotation)
        self._validate = validate

    def __call__(self, message: Message) -> Any:
        try:
            return self._validate(message.body)
        except ValueError as error:  # pydantic's ValidationError is one
            raise DecodeError(f"the body is not a valid {self._expected}{_places(error)}") from None


def _places(error: ValueError) -> str:
    """Name up to three places of a pydantic ValidationError by their error codes, which hold no content."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return ""
    found = errors(include_url=False, include_context=False, include_input=False)
    shown = "; ".join(f"{one['type']} at {_path(one['loc'], one['type'])}" for one in found[:3])
    return f": {shown}" + (f"; and {len(found) - 3} more" if len(found) > 3 else "")


def _path(location: tuple[int | str, ...], code: str) -> str:
    # An extra field's name, and keys that are no identifiers (of a dict), are the producer's.
    declared = location[:-1] if code == "extra_forbidden" else location
    parts = ("[...]" if isinstance(part, int) or not part.isidentifier() else f".{part}" for part in declared)
    return "$" + "".join(parts)
