"""The normal form: `not` pushed to the leaves, with what absence means made explicit.

It is where the clouds' compilers start: each leaf is one test of one attribute, and a negated leaf holds for a
message without the attribute too, which is what a cloud's own `not` often doesn't say.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from polybus.topology.filters.ast import And, Compare, Exists, In, Node, Not, Or, Prefix
from polybus.topology.filters.evaluate import Filter

__all__ = ["All", "Any", "Literal", "Normal", "OneOf", "Present", "StartsWith", "Test", "dnf", "normal_form"]


@dataclass(frozen=True, slots=True)
class OneOf:
    """The attribute is there, with one of these values; sorted, without repeats, never empty."""

    values: tuple[str, ...]

    def holds(self, value: str) -> bool:
        """Say whether the attribute's value passes."""
        return value in self.values


@dataclass(frozen=True, slots=True)
class StartsWith:
    """The attribute is there, and its value begins so; never with the empty prefix, which is Present."""

    prefix: str

    def holds(self, value: str) -> bool:
        """Say whether the attribute's value passes."""
        return value.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Present:
    """The attribute is there."""

    def holds(self, value: str) -> bool:
        """Say whether the attribute's value passes."""
        return True


Test: TypeAlias = OneOf | StartsWith | Present


@dataclass(frozen=True, slots=True)
class Literal:
    """One test of one attribute. Negated, it holds where the test fails and where the attribute is absent."""

    attribute: str
    test: Test
    negated: bool = False

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Say whether a message with these attributes passes."""
        value = attributes.get(self.attribute)
        return (value is not None and self.test.holds(value)) is not self.negated


@dataclass(frozen=True, slots=True)
class All:
    """Every item holds; without items, it always does."""

    items: tuple[Normal, ...]

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Say whether a message with these attributes passes."""
        return all(item.matches(attributes) for item in self.items)


@dataclass(frozen=True, slots=True)
class Any:
    """At least one item holds; without items, it never does."""

    items: tuple[Normal, ...]

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Say whether a message with these attributes passes."""
        return any(item.matches(attributes) for item in self.items)


Normal: TypeAlias = Literal | All | Any


def normal_form(filter_: Filter) -> Normal:
    """Push every `not` to the leaves; the result passes exactly what the filter does.

    It nests no All in an All and no Any in an Any.
    """
    return _normal(filter_.root, negated=False)


def dnf(form: Normal, limit: int) -> tuple[tuple[Literal, ...], ...] | None:
    """Give the same as alternatives of conjunctions, or None when there would be more than `limit` alternatives."""
    if isinstance(form, Literal):
        return ((form,),)
    parts = [dnf(item, limit) for item in form.items]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    clauses: Iterable[tuple[Literal, ...]]
    if isinstance(form, Any):
        clauses = itertools.chain.from_iterable(known)
    else:
        count = 1
        for part in known:
            count *= len(part)
            if count > limit:
                return None
        clauses = (tuple(itertools.chain.from_iterable(chosen)) for chosen in itertools.product(*known))
    unique = tuple(dict.fromkeys(tuple(dict.fromkeys(clause)) for clause in clauses))
    return unique if len(unique) <= limit else None


def _normal(node: Node, *, negated: bool) -> Normal:
    match node:
        case Not(item):
            return _normal(item, negated=not negated)
        case And(items):
            return _joined([_normal(item, negated=negated) for item in items], conjunction=not negated)
        case Or(items):
            return _joined([_normal(item, negated=negated) for item in items], conjunction=negated)
        case Exists(name):
            return Literal(name, Present(), negated)
        case Prefix(name, prefix):
            return Literal(name, StartsWith(prefix) if prefix else Present(), negated)
        case Compare(name, value, equal):
            return _membership(name, (value,), inside=equal, negated=negated)
        case In(name, values, inside):
            return _membership(name, values, inside=inside, negated=negated)


def _membership(name: str, values: tuple[str, ...], *, inside: bool, negated: bool) -> Normal:
    test = OneOf(tuple(sorted(set(values))))
    if inside:
        return Literal(name, test, negated)
    # `a != "x"` is false without `a`, so it is two tests; negated, either is enough.
    there, other = Literal(name, Present(), negated), Literal(name, test, not negated)
    return _joined([there, other], conjunction=not negated)


def _joined(items: list[Normal], *, conjunction: bool) -> Normal:
    kind = All if conjunction else Any
    flat: list[Normal] = []
    for item in items:
        flat.extend(item.items if isinstance(item, kind) else (item,))
    unique = tuple(dict.fromkeys(flat))
    return unique[0] if len(unique) == 1 else kind(unique)
