"""The JSON Schema of polybus.toml, for editors that complete and check; made from what the reader asks for.

It has what a schema can say: keys, types, patterns, bounds of whole numbers. `polybus check` knows the rest: lengths
of time, names that have to exist, the limits of the clouds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polybus.topology.file import DEAD_LETTER_SUFFIX, NAME_ALLOWED, NAME_PATTERN, push_forms
from polybus.topology.meanings import meaning
from polybus.topology.model import PUSH_KINDS
from polybus.topology.open import SOURCES
from polybus.topology.quantities import SIZE_PATTERN, format_duration, format_size
from polybus.topology.shape import ANY_NAME, Form, Key, keys

__all__ = ["Arguments", "bounds_of", "default_of", "schema"]

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
"""What Taplo, and with it Even Better TOML, reads; later drafts' words are not needed."""

# As `polybus.durations` reads them, in what JSON Schema and ECMA-262 share of regular expressions.
_DURATION: Final = r"^(?=.)(\d+d)?(\d+h)?(\d+m(?!s))?(\d+(\.\d+)?s)?(\d+ms)?$"

Arguments = Mapping[str, Mapping[str, frozenset[str]]]
"""By the kind of an entry ("topics") and a cloud, what a table of the provider's arguments may have, dotted inside."""


def schema(arguments: Arguments) -> dict[str, Any]:
    """Return the schema, whose text is the same for the same keys, clouds and arguments."""
    found = keys()
    return {
        "$schema": DRAFT,
        "title": "polybus.toml",
        "description": "What one bus declares: topics, subscriptions, queues, services and alarms.",
        **_table((), found, arguments),
    }


def default_of(key: Key) -> str | int | bool | None:
    """Return a key's default as it is written in the file; None where it has none."""
    if key.form is Form.DURATION and isinstance(key.default, float):
        return format_duration(key.default)
    return key.default if isinstance(key.default, str | int | bool) else None


def bounds_of(key: Key) -> str:
    """Return a key's bounds in words; "" where it has none."""
    if key.least is None or key.most is None:
        return ""
    if key.form is Form.DURATION:
        return f"{format_duration(key.least)} to {format_duration(key.most)}"
    if key.form is Form.SIZE:
        return f"{format_size(round(key.least))} to {format_size(round(key.most))}"
    return f"{key.least:,.0f} to {key.most:,.0f}"


def _table(path: tuple[str, ...], found: tuple[Key, ...], arguments: Arguments) -> dict[str, Any]:
    inner = [key for key in found if key.path[:-1] == path]
    named = {key.name: _key(key, found, arguments) for key in inner if key.name != ANY_NAME}
    needed = [key.name for key in inner if key.required or _has_to_be_there(key, found)]
    every = next((key for key in inner if key.name == ANY_NAME), None)
    others: Any = False if every is None else _key(every, found, arguments)
    return {
        "type": "object",
        **({"properties": named} if named else {}),
        **({"required": needed} if needed else {}),
        **(
            {"propertyNames": {"description": NAME_ALLOWED, **_NAME}}
            if every is not None and every.form is Form.TABLE
            else {}
        ),
        "additionalProperties": others,
        **_one_address(path, named),
    }


def _has_to_be_there(key: Key, found: tuple[Key, ...]) -> bool:
    """Say whether a table has to be written because something in it has to be."""
    fixed = key.form is Form.TABLE and key.name != ANY_NAME
    return fixed and any(other.required for other in found if other.path[:-1] == key.path)


def _one_address(path: tuple[str, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    if path[-1:] != ("push",):
        return {}
    return {"oneOf": [{"required": [kind]} for kind in PUSH_KINDS if kind in named]}


def _key(key: Key, found: tuple[Key, ...], arguments: Arguments) -> dict[str, Any]:
    bounds = bounds_of(key) if key.form in (Form.DURATION, Form.SIZE) else ""
    text = " ".join(filter(None, [meaning(key), f"From {bounds}." if bounds else ""]))
    default = default_of(key)
    value = _value(key, found, arguments)
    return {
        **({"description": text} if text else {}),
        **({"anyOf": [{"enum": [False]}, value]} if key.off else value),
        **({"default": default} if default is not None else {}),
    }


def _value(key: Key, found: tuple[Key, ...], arguments: Arguments) -> dict[str, Any]:
    match key.form:
        case Form.TEXT:
            return _text(key)
        case Form.OPEN:
            return {"anyOf": [_text(key), *_OPEN]}
        case Form.FLAG:
            return {"type": "boolean"}
        case Form.INTEGER:
            return {"type": "integer", "minimum": key.least, "maximum": key.most}
        case Form.DURATION:
            return {"type": "string", "pattern": _DURATION}
        case Form.SIZE:
            return {"type": "string", "pattern": _whole(SIZE_PATTERN)}
        case Form.NAMES:
            items = {"enum": list(key.choices)} if key.choices else {"type": "string"}
            return {"type": "array", "items": items, **({"minItems": 1} if key.required or key.choices else {})}
        case Form.TEXTS:
            text = {"type": "string", "minLength": 1}
            return {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]}
        case Form.TABLE:
            return _table(key.path, found, arguments)
        case Form.TABLES:
            return {"type": "array", "items": _table(key.path, found, arguments)}
        case Form.FREE:
            return _free(arguments.get(key.path[0], {}).get(key.name))
        case Form.OTHER:
            return {}


def _text(key: Key) -> dict[str, Any]:
    if key.choices:
        return {"enum": list(key.choices)}
    if key.path == ("bus", "name"):
        return {"type": "string", **_NAME}
    if key.path[-2:-1] == ("push",) and key.name in push_forms():
        return {"type": "string", "pattern": _whole(push_forms()[key.name][0])}
    return {"type": "string", "minLength": 1}


def _free(arguments: frozenset[str] | None) -> dict[str, Any]:
    """Return the schema of what is passed through: its names are known, what they take is the provider's to say."""
    if arguments is None:
        return {"type": "object"}
    names = sorted({argument.partition(".")[0] for argument in arguments})
    return {"type": "object", "properties": {name: {} for name in names}, "additionalProperties": False}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _either_case(word: str) -> str:
    """Return a pattern for a word in any case: ECMA-262 writes no flag for that into a pattern."""
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in word)


_OPEN: Final[tuple[Mapping[str, Any], ...]] = tuple(
    {
        "type": "object",
        "properties": {source: {"type": "string", "pattern": _whole(pattern)}},
        "required": [source],
        "additionalProperties": False,
    }
    for source, pattern in SOURCES.items()
)

_NAME: Final[Mapping[str, Any]] = {
    "pattern": _whole(NAME_PATTERN),
    "not": {"pattern": f"{_either_case(DEAD_LETTER_SUFFIX)}$|^{_either_case('polybus')}$"},
}
