"""Makes messages that an Avro schema allows, as small as they go, with a given value at one place."""

from __future__ import annotations

from typing import Any, Final

from polybus.contracts.avro_schema import Branch, Node
from polybus.contracts.breaks import NONE

__all__ = ["smallest", "with_item", "with_value"]

_SMALLEST: Final[dict[str, Any]] = {
    "null": None,
    "boolean": False,
    "int": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "bytes": b"",
    "string": "",
    "array": [],
    "map": {},
}
_UUID = "0b6f2a4e-8d65-4c1b-9f0e-6f3f3c9d1a77"
# A record that holds itself always has no message; one that is nested deeper than this isn't tried further.
_DEEPEST = 12


def smallest(node: Node, deep: int = 0) -> Any:
    """Return a value of a type, as small as it goes; NONE where none is found."""
    if deep > _DEEPEST:
        return NONE
    if node.kind == "union":
        return _of_union(node, deep)
    if node.kind == "record":
        return _of_record(node, {}, deep)
    if node.kind == "enum":
        return node.symbols[0]
    if node.kind == "fixed":
        return b"\x00" * node.size
    if node.logical is not None and node.kind in ("bytes", "string"):
        return b"\x00" if node.kind == "bytes" else _UUID
    return _SMALLEST[node.kind]


def with_value(node: Node, name: str, value: Any) -> Any:
    """Return a record with that value of one field, and small ones of the others; NONE where none is found."""
    return _of_record(node, {name: value}, 0)


def with_item(node: Node, value: Any) -> Any:
    """Return an array or map that holds one value."""
    return [value] if node.kind == "array" else {"a": value}


def _of_union(node: Node, deep: int) -> Any:
    for index, item in enumerate(node.items):
        value = smallest(item, deep + 1)
        if value is not NONE:
            return Branch(index, value)
    return NONE


def _of_record(node: Node, given: dict[str, Any], deep: int) -> Any:
    found = {}
    for each in node.fields:
        value = given[each.name] if each.name in given else smallest(each.node, deep + 1)
        if value is NONE:
            return NONE
        found[each.name] = value
    return found
