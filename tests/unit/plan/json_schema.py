"""What a JSON Schema refuses, for the words that ours uses; a word that isn't known here is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}
_SAYS_NOTHING = frozenset({"$schema", "title", "description", "default"})


def refusals(schema: Any, value: Any, path: str = "$") -> Iterator[str]:
    """Yield the place and the word of each rule that a value breaks."""
    if isinstance(schema, bool):
        if not schema:
            yield f"{path}: not allowed"
        return
    for word, rule in schema.items():
        if word not in _SAYS_NOTHING:
            yield from _WORDS[word](rule, value, path, schema)


def _type(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if not _TYPES[rule](value):
        yield f"{path}: type {rule}"


def _properties(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in rule.items():
            if name in value:
                yield from refusals(inner, value[name], f"{path}.{name}")


def _additional(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value.keys() - schema.get("properties", {}).keys():
            yield from refusals(rule, value[name], f"{path}.{name}")


def _names(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value:
            yield from refusals(rule, name, f"{path}.{name}")


def _required(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{path}.{name}: required" for name in rule if name not in value)


def _items(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from refusals(rule, item, f"{path}[{number}]")


def _pattern(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if isinstance(value, str) and not re.search(rule, value):
        yield f"{path}: pattern"


def _enum(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if not any(value == one and type(value) is type(one) for one in rule):
        yield f"{path}: enum"


def _not(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if not list(refusals(rule, value)):
        yield f"{path}: not"


def _least(measure: Callable[[Any], Any], kind: type, word: str) -> Callable[..., Iterator[str]]:
    def check(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
        if isinstance(value, kind) and measure(value) < rule:
            yield f"{path}: {word}"

    return check


def _maximum(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
    if isinstance(value, int) and value > rule:
        yield f"{path}: maximum"


def _passing(good: Callable[[int], bool], word: str) -> Callable[..., Iterator[str]]:
    def check(rule: Any, value: Any, path: str, schema: Any) -> Iterator[str]:
        if not good(sum(not list(refusals(each, value)) for each in rule)):
            yield f"{path}: {word}"

    return check


_WORDS: Mapping[str, Callable[..., Iterator[str]]] = {
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "required": _required,
    "items": _items,
    "pattern": _pattern,
    "enum": _enum,
    "not": _not,
    "minimum": _least(lambda value: value, int, "minimum"),
    "maximum": _maximum,
    "minLength": _least(len, str, "minLength"),
    "minItems": _least(len, list, "minItems"),
    "anyOf": _passing(lambda count: count >= 1, "anyOf"),
    "oneOf": _passing(lambda count: count == 1, "oneOf"),
}
