"""Makes values that a schema allows: small ones, and ones at its edges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from polybus.contracts.breaks import NONE
from polybus.contracts.json_check import problem
from polybus.contracts.json_shape import Alternative, Anything, List, Node, Number, Object, Text, Values

__all__ = ["candidates", "smallest"]

# A schema that needs itself for every value has none; one that is nested deeper than this isn't tried further.
_DEEPEST = 12
_FORMATTED = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:00:00Z",
    "date-time with a time zone": "2024-02-29T12:00:00Z",
    "date-time without a time zone": "2024-02-29T12:00:00",
    "time": "12:00:00Z",
    "time with a time zone": "12:00:00Z",
    "time without a time zone": "12:00:00",
    "uuid": "0b6f2a4e-8d65-4c1b-9f0e-6f3f3c9d1a77",
    "decimal": "1.5",
    "duration": "P1D",
    "email": "a@example.com",
    "uri": "https://example.com/",
}
_TRIED = ("", "a", "0", "A", "aa", "a0", "a-b", "A1", "ab-12", "0000", "a@example.com", "eu", "EUR", " ", "é")


def smallest(node: Node, deep: int = 0) -> Any:
    """Return a value of a node, as small as it goes; NONE where none is found."""
    if deep > _DEEPEST:
        return NONE
    for alternative in node.alternatives:
        found = of_alternative(alternative, deep)
        if found is not NONE and problem(node, found) is None:
            return found
    return NONE


def of_alternative(alternative: Alternative, deep: int = 0) -> Any:
    """Return a small value of one alternative; NONE where none is found."""
    return next((value for value in candidates(alternative, deep) if value is not NONE), NONE)


def candidates(alternative: Alternative, deep: int = 0, beside: Alternative | None = None) -> Iterator[Any]:
    """Give values of an alternative, and such as lie at the edges of another that is compared with it."""
    match alternative:
        case Anything():
            yield from ({}, "a", 0, None, [], True, 0.5, "")
        case Values(values):
            yield from values.values()
        case Number():
            yield from _numbers(alternative, beside if isinstance(beside, Number) else None)
        case Text():
            yield from _texts(alternative, beside if isinstance(beside, Text) else None)
        case List():
            yield from _lists(alternative, beside if isinstance(beside, List) else None, deep)
        case Object():
            yield object_with(alternative, {}, deep)


def _numbers(number: Number, beside: Number | None) -> Iterator[Any]:
    edges = [
        edge for each in (number, beside) if each is not None for edge in (each.low, each.high) if edge is not None
    ]
    steps = [each.multiple for each in (number, beside) if each is not None and each.multiple is not None]
    near = [edge + step for edge in (Fraction(0), *edges) for step in _steps(steps)]
    if number.multiple is not None:
        # Of each, the multiples beside it.
        near += [number.multiple * (edge // number.multiple + more) for edge in near for more in (-1, 0, 1, 2)]
    for found in near:
        value = _written(found)
        if not number.integer or found.denominator == 1:
            node = Node()
            node.parts.append(number)
            if Fraction(str(value)) == found and problem(node, value) is None:
                yield value


def _steps(multiples: list[Fraction]) -> list[Fraction]:
    plain = [Fraction(text) for text in ("0", "1", "-1", "0.5", "-0.5", "0.25", "2", "10", "1000", "-1000")]
    return plain + [sign * multiple for multiple in multiples for sign in (1, -1)]


def _written(found: Fraction) -> int | float:
    return found.numerator if found.denominator == 1 else float(found)


def _texts(text: Text, beside: Text | None) -> Iterator[str]:
    lengths = {text.least, text.most}
    if beside is not None:
        lengths |= {beside.least - 1, (beside.most or 0) + 1}
    tried = [
        *_TRIED,
        *(letter * length for length in lengths if length is not None and 0 <= length <= 4096 for letter in "a0"),
    ]
    if text.format is not None:
        tried = [_FORMATTED.get(text.format, ""), *tried]
    elif beside is not None and beside.format is not None:
        tried.append("no such thing")
    if text.pattern is not None:
        tried += [re.sub(r"[\\^$]", "", text.pattern)]
    node = Node()
    node.parts.append(text)
    yield from (value for value in tried if problem(node, value) is None)


def _lists(found: List, beside: List | None, deep: int) -> Iterator[Any]:
    lengths = [found.least]
    if beside is not None:
        lengths += [max(beside.least - 1, found.least), (beside.most or 0) + 1, len(found.prefix), 2]
    for length in lengths:
        if length <= 64 and (found.most is None or length <= found.most):
            yield list_with(found, length, {}, deep)


def list_with(found: List, length: int, given: dict[int, Any], deep: int = 0) -> Any:
    """Return a list of that length with the given items at their places; NONE where there is none."""
    items: list[Any] = []
    for number in range(length):
        inner = found.prefix[number] if number < len(found.prefix) else found.items
        item = given[number] if number in given else smallest(inner, deep + 1)
        if found.unique and any(item == other and type(item) is type(other) for other in items):
            item = next((each for each in _values(inner, deep + 1) if each not in items), NONE)
        if item is NONE:
            return NONE
        items.append(item)
    return items


def _values(node: Node, deep: int) -> Iterator[Any]:
    for alternative in node.alternatives:
        yield from candidates(alternative, deep)


def object_with(found: Object, given: dict[str, Any], deep: int = 0, without: str | None = None) -> Any:
    """Return an object with the given properties, and otherwise those it has to have; NONE where there is none."""
    value = dict(given)
    for name in sorted(found.required):
        if name not in value and name != without:
            value[name] = smallest(found.properties.get(name, found.others), deep + 1)
    spare = (name for name in (*found.properties, *(f"x{number}" for number in range(found.least))) if name != without)
    for name in spare:
        if len(value) >= found.least:
            break
        if name not in value:
            value[name] = smallest(found.properties.get(name, found.others), deep + 1)
            if value[name] is NONE:
                del value[name]
    return NONE if any(item is NONE for item in value.values()) or len(value) < found.least else value
