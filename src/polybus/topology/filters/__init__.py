"""The filter language: what a subscription passes, decided by message attributes.

    region in ("eu", "uk") and not exists(test)

`==`, `!=`, `in`, `not in`, `prefix(attribute, "p")` and `exists(attribute)`, joined by `and`, `or`, `not` and
parentheses; `not` binds closest, then `and`. Strings stand in single or double quotes. Every comparison on an absent
attribute is false and the logic is two-valued, so `not (a == "x")` passes a message without `a`, and `a != "x"`
doesn't.
"""

from __future__ import annotations

from polybus.topology.filters.ast import And, Compare, Exists, In, Node, Not, Or, Prefix
from polybus.topology.filters.evaluate import Filter
from polybus.topology.filters.example import example
from polybus.topology.filters.normal import All, Any, Literal, Normal, OneOf, Present, StartsWith, dnf, normal_form
from polybus.topology.filters.parser import parse
from polybus.topology.filters.plain import plain

__all__ = [
    "All",
    "And",
    "Any",
    "Compare",
    "Exists",
    "Filter",
    "In",
    "Literal",
    "Node",
    "Normal",
    "Not",
    "OneOf",
    "Or",
    "Prefix",
    "Present",
    "StartsWith",
    "dnf",
    "example",
    "normal_form",
    "parse",
    "plain",
]
