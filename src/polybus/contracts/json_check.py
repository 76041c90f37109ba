"""Says whether a value is one that a schema allows, and where it isn't."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from polybus.contracts.json_shape import (
    Alternative,
    List,
    Node,
    Number,
    Object,
    Opaque,
    Text,
    Values,
    canonical,
)
from polybus.errors import MissingExtra

__all__ = ["NotOfContract", "Problem", "kind_of", "problem"]

Problem = tuple[str, str]
"""A place, and what is wrong there: of what is declared, never of the value's content."""


class NotOfContract(Exception):
    """A value isn't what the contract says; has the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"at {problem[0]}: {problem[1]}")
        self.problem = problem


# Of names that aren't declared, and may be content, none is shown.
_UNDECLARED = "[...]"


def problem(node: Node, value: Any, place: str = "$") -> Problem | None:
    """Return what keeps a value from being one of `node`, None where nothing does."""
    found: list[Problem] = []
    kind = kind_of(value)
    return None if _holds(node, value, place, found, set()) else _told(found, node, kind, place)


def _holds(node: Node, value: Any, place: str, found: list[Problem], seen: set[int]) -> bool:
    """Tell whether a value is one of `node`, and put into `found` what keeps it from being so."""
    if id(node) in seen:  # it is but itself, or was tried before
        return False
    seen.add(id(node))
    if node.exclusive and sum(_holds(one, value, place, [], {*seen}) for one in node.exclusive) > 1:
        found.append((place, "more than one of the forms that exclude each other"))
        return False
    for part in node.parts:
        if isinstance(part, Node):
            if _holds(part, value, place, found, seen):
                return True
        elif _is(part, value, place, found):
            return True
    return False


def _is(alternative: Alternative, value: Any, place: str, found: list[Problem]) -> bool:
    kind = kind_of(value)
    if isinstance(alternative, Values):
        if canonical(value) in alternative.values:
            return True
        found.append((place, _not_among(alternative, kind)))
    elif _takes(alternative, kind):
        wrong = _problem(alternative, value, place)
        if wrong is None:
            return True
        found.append(wrong)
    return False


def _told(found: list[Problem], node: Node, kind: str, place: str) -> Problem:
    telling = [each for each in found if each[1]]
    if len(telling) == 1:
        return telling[0]
    if telling:
        return place, f"none of the {len(telling)} forms of {kind} that are allowed"
    allowed = ", ".join(dict.fromkeys(name_of(each) for each in node.alternatives))
    return place, f"{kind}, where {allowed or 'nothing'} is allowed"


def _not_among(values: Values, kind: str) -> str:
    """Say that a value is none of those that are listed; "" where none of them is of its kind."""
    return (
        "none of the values that are allowed" if any(kind_of(each) == kind for each in values.values.values()) else ""
    )


def kind_of(value: Any) -> str:
    """Name the kind of a value, as JSON Schema does."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def name_of(alternative: Alternative) -> str:
    """Name an alternative in an error."""
    match alternative:
        case Values(values):
            return ", ".join(dict.fromkeys(kind_of(each) for each in values.values())) or "no value"
        case Number(integer=True):
            return "integer"
        case Number():
            return "number"
        case Text():
            return "string"
        case List():
            return "array"
        case Object():
            return "object"
        case _:
            return "something else"


def _takes(alternative: Alternative, kind: str) -> bool:
    match alternative:
        case Number():
            return kind == "number"
        case Text():
            return kind == "string"
        case List():
            return kind == "array"
        case Object():
            return kind == "object"
        case _:
            return True


def _problem(alternative: Alternative, value: Any, place: str) -> Problem | None:
    match alternative:
        case Number():
            wrong = _of_number(alternative, value)
        case Text():
            wrong = _of_text(alternative, value)
        case List():
            return _of_list(alternative, value, place)
        case Object():
            return _of_object(alternative, value, place)
        case Opaque():
            wrong = "" if _validator(alternative).is_valid(value) else "what the schema says of it does not hold"
        case _:
            wrong = ""
    return (place, wrong) if wrong else None


def _of_number(number: Number, value: int | float) -> str:
    if not math.isfinite(value):
        return "no finite number"
    exact = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    if number.integer and exact.denominator != 1:
        return "number, where integer is allowed"
    if number.low is not None and (exact < number.low or (number.open_low and exact == number.low)):
        return f"a number that is too small: {'over' if number.open_low else 'at least'} {shown(number.low)} is allowed"
    if number.high is not None and (exact > number.high or (number.open_high and exact == number.high)):
        return (
            f"a number that is too large: {'under' if number.open_high else 'at most'} {shown(number.high)} is allowed"
        )
    if number.multiple is not None and (exact / number.multiple).denominator != 1:
        return f"no multiple of {shown(number.multiple)}"
    return ""


def shown(bound: Fraction) -> str:
    """Write a bound as a schema does."""
    return str(bound.numerator) if bound.denominator == 1 else f"{float(bound):g}"


def _of_text(text: Text, value: str) -> str:
    if len(value) < text.least:
        return f"a text that is too short: {text.least} characters at least are allowed"
    if text.most is not None and len(value) > text.most:
        return f"a text that is too long: {text.most} characters at most are allowed"
    if text.pattern is not None and re.search(text.pattern, value) is None:
        return "a text that the pattern does not allow"
    known = None if text.format is None else _FORMATS.get(text.format)
    if known is not None and not known(value):
        return f"a text that is no {text.format}"
    return ""


def _of_list(expected: List, value: list[Any], place: str) -> Problem | None:
    if len(value) < expected.least:
        return place, f"a list that is too short: {expected.least} items at least are allowed"
    if expected.most is not None and len(value) > expected.most:
        return place, f"a list that is too long: {expected.most} items at most are allowed"
    for number, item in enumerate(value):
        inner = expected.prefix[number] if number < len(expected.prefix) else expected.items
        if (wrong := problem(inner, item, f"{place}[{number}]")) is not None:
            return wrong
    if expected.unique and len({canonical(item) for item in value}) < len(value):
        return place, "a list with an item that is there twice"
    return None


def _of_object(expected: Object, value: dict[str, Any], place: str) -> Problem | None:
    for name in expected.required:
        if name not in value:
            return f"{place}.{name}", "required, and not there"
    for name, item in value.items():
        declared = expected.properties.get(name)
        if declared is not None:
            wrong = problem(declared, item, f"{place}.{name}")
        elif not expected.others.alternatives:
            wrong = place, "a property that is not declared"
        else:
            wrong = problem(expected.others, item, f"{place}{_UNDECLARED}")
        if wrong is not None:
            return wrong
    if len(value) < expected.least or (expected.most is not None and len(value) > expected.most):
        return place, f"{len(value)} properties, where {expected.least} to {expected.most or 'any number'} are allowed"
    return None


def _validator(opaque: Opaque) -> Any:
    # jsonschema's own cache would be by content: the schema is read once for each message otherwise.
    return _made(opaque.text, _Identity(opaque))


class _Identity:
    """A key that is equal to all others, so that the text alone decides."""

    def __init__(self, opaque: Opaque) -> None:
        self.opaque = opaque

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity)


@functools.lru_cache(maxsize=256)
def _made(text: str, identity: _Identity) -> Any:
    try:
        import jsonschema  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        why = identity.opaque.why
        raise MissingExtra(f"jsonschema, which a schema with {why} takes,", "contracts") from None
    root = identity.opaque.root
    schema = identity.opaque.schema
    if isinstance(schema, dict) and isinstance(root, dict) and schema is not root:
        schema = {**{word: root[word] for word in ("$schema", "$defs", "definitions") if word in root}, **schema}
    return jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)(schema)


def _by_pattern(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda value: compiled.fullmatch(value) is not None


_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
_FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _by_pattern(_DATE),
    "date-time": _by_pattern(rf"{_DATE}[Tt ]{_TIME}([Zz]|[+-]\d\d:\d\d)?"),
    "date-time with a time zone": _by_pattern(rf"{_DATE}[Tt ]{_TIME}([Zz]|[+-]\d\d:\d\d)"),
    "date-time without a time zone": _by_pattern(rf"{_DATE}[Tt ]{_TIME}"),
    "time": _by_pattern(rf"{_TIME}([Zz]|[+-]\d\d:\d\d)?"),
    "time with a time zone": _by_pattern(rf"{_TIME}([Zz]|[+-]\d\d:\d\d)"),
    "time without a time zone": _by_pattern(_TIME),
    "uuid": _by_pattern(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"),
    "decimal": _by_pattern(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(NaN|Infinity)"),
    "duration": _by_pattern(r"[+-]?P.*"),
}
"""What is checked of formats; of others nothing is."""
