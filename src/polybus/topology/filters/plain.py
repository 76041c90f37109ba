"""A filter as plain lists, for a system that decides it elsewhere, in whatever language."""

from __future__ import annotations

from typing import Any

from polybus.topology.filters.ast import And, Compare, Exists, In, Node, Not, Or, Prefix

__all__ = ["plain"]


def plain(node: Node) -> list[Any]:
    """Give a filter as lists and strings, fit for JSON, the kind of each node first.

    `["in", name, values]`, `["not in", name, values]`, `["prefix", name, prefix]`, `["exists", name]`, `["not", node]`,
    `["and", nodes]`, `["or", nodes]`. All but the last three are false of a message without the attribute.
    """
    match node:
        case Compare(name, value, equal):
            return ["in" if equal else "not in", name, [value]]
        case In(name, values, inside):
            return ["in" if inside else "not in", name, list(values)]
        case Prefix(name, prefix):
            return ["prefix", name, prefix]
        case Exists(name):
            return ["exists", name]
        case Not(item):
            return ["not", plain(item)]
        case And(items):
            return ["and", [plain(item) for item in items]]
        case Or(items):
            return ["or", [plain(item) for item in items]]
