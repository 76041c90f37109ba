"""Attributes that a filter passes, for examples that can be followed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from polybus.topology.filters.normal import Literal, OneOf, StartsWith, dnf, normal_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from polybus.topology.filters.evaluate import Filter

__all__ = ["example"]

# A filter of more alternatives is no first one: whoever wrote it needs no example.
_ALTERNATIVES = 1_000


def example(filter_: Filter) -> dict[str, str] | None:
    """Give attributes that pass a filter, with no more of them than it takes; None where none were found."""
    for clause in dnf(normal_form(filter_), _ALTERNATIVES) or ():
        found = _satisfied(clause)
        if found is not None and filter_.matches(found):
            return found
    return None


def _satisfied(clause: tuple[Literal, ...]) -> dict[str, str] | None:
    """Give each attribute that has to be there a value that passes all its tests; None where one has none."""
    found = {}
    for name in dict.fromkeys(literal.attribute for literal in clause if not literal.negated):
        tests = [literal for literal in clause if literal.attribute == name]
        value = next((value for value in _values(tests) if _passes(tests, name, value)), None)
        if value is None:
            return None
        found[name] = value
    return found


def _passes(tests: list[Literal], name: str, value: str) -> bool:
    return all(test.matches({name: value}) for test in tests)


def _values(tests: Iterable[Literal]) -> Iterator[str]:
    """Yield what may do: the values that are named, else the longest prefix and a letter that no test names."""
    longest, named = "", ""
    for literal in tests:
        match literal.test:
            case OneOf(values):
                named += "".join(values)
                yield from () if literal.negated else values
            case StartsWith(prefix):
                named += prefix
                if not literal.negated:
                    longest = max(longest, prefix, key=len)
    yield longest + next(letter for letter in map(chr, range(ord("a"), sys.maxunicode)) if letter not in named)
