"""A parsed filter, and its evaluation in Python: the definition that the clouds' compilers are measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from polybus.topology.filters.ast import And, Compare, Exists, In, Node, Not, Or, Prefix, attributes_of

__all__ = ["Filter"]

_Test: TypeAlias = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter, parsed once; two are equal when they say the same in the same words, whatever the spacing.

    `text` is what was written, `str` the same in canonical spacing.
    """

    root: Node
    text: str = field(compare=False)
    attributes: frozenset[str] = field(init=False, compare=False, repr=False)
    _test: _Test = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", attributes_of(self.root))
        object.__setattr__(self, "_test", _compile(self.root))

    def matches(self, attributes: Mapping[str, str]) -> bool:
        """Tell whether a message with these attributes passes."""
        return self._test(attributes)

    def __str__(self) -> str:
        return str(self.root)

    def __reduce__(self) -> tuple[object, ...]:
        return Filter, (self.root, self.text)  # the compiled test is a closure, which can't be pickled


def _compile(node: Node) -> _Test:
    match node:
        case Compare(name, value, True):
            return lambda attributes: attributes.get(name) == value
        case Compare(name, value):
            return _excluding(name, frozenset((value,)))
        case In(name, values, True):
            return _including(name, frozenset(values))
        case In(name, values):
            return _excluding(name, frozenset(values))
        case Prefix(name, prefix):
            return _starting(name, prefix)
        case Exists(name):
            return lambda attributes: name in attributes
        case Not(item):
            inner = _compile(item)
            return lambda attributes: not inner(attributes)
        case And(items):
            all_tests = tuple(_compile(item) for item in items)
            return lambda attributes: all(test(attributes) for test in all_tests)
        case Or(items):
            any_tests = tuple(_compile(item) for item in items)
            return lambda attributes: any(test(attributes) for test in any_tests)


def _including(name: str, values: frozenset[str]) -> _Test:
    return lambda attributes: attributes.get(name) in values


def _excluding(name: str, values: frozenset[str]) -> _Test:
    return lambda attributes: name in attributes and attributes[name] not in values


def _starting(name: str, prefix: str) -> _Test:
    return lambda attributes: name in attributes and attributes[name].startswith(prefix)
