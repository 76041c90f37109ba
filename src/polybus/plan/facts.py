"""What a provider says of its types of resources before it asks the cloud: what it takes, and what it never changes.

The facts themselves are each cloud's, in its `provider_facts.py`. Properties have the names that plans have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Facts", "Takes", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """What a provider takes as the value of one property; what isn't said isn't limited.

    `least` and `most` are for numbers, `length` for the bytes of a text, `pattern` for the whole of one, whose classes
    are ASCII's. `among` are the values that are taken, in any case where `caseless`; with `step` its multiples are as
    well. `json` asks for a JSON text, and `items` is how many entries a list has at most. What else holds for a list
    holds for each of its entries.
    """

    least: float | None = None
    most: float | None = None
    length: tuple[int, int] | None = None
    pattern: str = ""
    among: tuple[str | float, ...] = ()
    caseless: bool = False
    step: int = 0
    json: bool = False
    items: int | None = None

    def problem(self, value: Any) -> str:
        """Say what is wrong with a value, "" for one that is taken or isn't known yet."""
        if isinstance(value, list | tuple):
            return (
                "" if self.items is None or len(value) <= self.items else f"found {len(value)}; allowed: {self.items}"
            )
        if isinstance(value, str):
            return self._of_text(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return self._of_number(value) if number else ""

    def _of_text(self, value: str) -> str:
        size = len(value.encode())
        if self.length is not None and not self.length[0] <= size <= self.length[1]:
            return f"found {size} bytes; allowed: {self.length[0]} to {self.length[1]}"
        if self.pattern and re.fullmatch(self.pattern, value, re.ASCII | re.DOTALL) is None:
            return f"found {value!r}; allowed: {self.pattern}"
        if self.among and not self._is_among(value):
            return f"found {value!r}; allowed: {', '.join(map(str, self.among))}"
        return "found what isn't JSON" if self.json and not _is_json(value) else ""

    def _of_number(self, value: float) -> str:
        if (self.least is not None and value < self.least) or (self.most is not None and value > self.most):
            ends = "" if self.least is None else f" from {self.least}", "" if self.most is None else f" to {self.most}"
            return f"found {value:g}; allowed:{''.join(ends)}"
        if self.among and value not in self.among and (not self.step or value % self.step):
            multiples = f", multiples of {self.step}" if self.step else ""
            return f"found {value:g}; allowed: {', '.join(map(str, self.among))}{multiples}"
        return ""

    def _is_among(self, value: str) -> bool:
        return value in self.among or (self.caseless and value.lower() in {str(one).lower() for one in self.among})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a provider says of one type of resource; `source` is where.

    `immutable` are the properties of which another value takes another resource. `takes` has what it takes, by
    property, dotted where that is inside of another: lists on the way are looked through. `conflicts` are sets of
    properties of which one at most is set, and `needs` those that are only taken where another one is true.
    """

    source: str
    immutable: frozenset[str]
    takes: Mapping[str, Takes] = field(default_factory=dict)
    conflicts: tuple[frozenset[str], ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)


def refused(facts: Facts, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give each property that the provider refuses, by its path, and what is wrong with it.

    What is neither text, number, boolean, list nor mapping isn't known yet, and so is not looked at.
    """
    for path, takes in facts.takes.items():
        for at, value in _values(given, path.split("."), ""):
            if problem := takes.problem(value):
                yield at, problem
    for conflict in facts.conflicts:
        together = sorted(name for name in conflict if given.get(name) is not None)
        if len(together) > 1:
            yield together[0], f"conflicts with {', '.join(together[1:])}"
    for name, other in facts.needs.items():
        if _is_known(given.get(name)) and given.get(name) and given.get(other) in (None, False):
            yield name, f"needs {other} = true"


def _values(value: Any, path: Sequence[str], at: str) -> Iterator[tuple[str, Any]]:
    """Give what is at a path with where it was found: a list, and then each of its entries."""
    if isinstance(value, list | tuple):
        if not path:
            yield at, value
        for index, item in enumerate(value):
            yield from _values(item, path, f"{at}[{index}]")
    elif not path:
        yield at, value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _values(value[path[0]], path[1:], f"{at}.{path[0]}" if at else path[0])


def _is_known(value: Any) -> bool:
    return isinstance(value, str | int | float | list | tuple | Mapping)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
