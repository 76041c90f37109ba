"""What a filter says, as a tree of values; `str` of a node is the expression again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["And", "Compare", "Exists", "In", "Node", "Not", "Or", "Prefix", "attributes_of"]


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`attribute == "value"`, or `!=` where `equal` is false; false on an absent attribute either way."""

    attribute: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        return f"{self.attribute} {'==' if self.equal else '!='} {_quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class In:
    """`attribute in ("a", "b")`, or `not in` where `inside` is false; false on an absent attribute either way."""

    attribute: str
    values: tuple[str, ...]
    inside: bool = True

    def __str__(self) -> str:
        values = ", ".join(_quoted(value) for value in self.values)
        return f"{self.attribute} {'in' if self.inside else 'not in'} ({values})"


@dataclass(frozen=True, slots=True)
class Prefix:
    """`prefix(attribute, "p")`: the attribute is there and its value begins so."""

    attribute: str
    prefix: str

    def __str__(self) -> str:
        return f"prefix({self.attribute}, {_quoted(self.prefix)})"


@dataclass(frozen=True, slots=True)
class Exists:
    """`exists(attribute)`: the attribute is there, whatever its value."""

    attribute: str

    def __str__(self) -> str:
        return f"exists({self.attribute})"


@dataclass(frozen=True, slots=True)
class Not:
    """`not item`: true exactly where the item is false."""

    item: Node

    def __str__(self) -> str:
        return f"not {_inner(self.item)}"


@dataclass(frozen=True, slots=True)
class And:
    """Every item holds; at least two."""

    items: tuple[Node, ...]

    def __str__(self) -> str:
        return " and ".join(_inner(item) for item in self.items)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one item holds; at least two."""

    items: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join(_inner(item) for item in self.items)


Node: TypeAlias = Compare | In | Prefix | Exists | Not | And | Or


def _inner(node: Node) -> str:
    return f"({node})" if isinstance(node, (And, Or)) else str(node)


def attributes_of(node: Node) -> frozenset[str]:
    """Collect the attributes that an expression names."""
    if isinstance(node, Not):
        return attributes_of(node.item)
    if isinstance(node, (And, Or)):
        return frozenset().union(*(attributes_of(item) for item in node.items))
    return frozenset((node.attribute,))
