"""Filter policies: whether a subscription gets a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from polybus.localcloud.aws.attributes import Attributes

__all__ = ["FilterPolicy", "Rules", "Tree", "same"]

Test = Callable[[Any], bool]


def same(value: Any, wanted: Any) -> bool:
    """Compare as JSON does: true is not 1, "1" is not 1."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return float(value) == float(wanted)
    return type(value) is type(wanted) and bool(value == wanted)


@dataclass(frozen=True, slots=True)
class Rules:
    """The alternatives for one key: tests for its values, and what `exists` asks."""

    tests: tuple[Test, ...]
    present: bool  # {"exists": true} is among them
    absent: bool  # {"exists": false} is among them

    def match(self, values: list[Any] | None) -> bool:
        """Return whether any value passes any test; None stands for a key that isn't there."""
        if values is None:
            return self.absent
        return self.present or any(test(value) for value in values for test in self.tests)


@dataclass(frozen=True, slots=True)
class Tree:
    """One level of a policy: all its keys, and of each `$or` one branch, must match."""

    rules: tuple[tuple[str, Rules], ...]
    nested: tuple[tuple[str, Tree], ...]
    choices: tuple[tuple[Tree, ...], ...]

    def match(self, levels: list[Mapping[str, Any]]) -> bool:
        """Match the objects of one level; there are several where the path to them leads through an array."""
        return (
            all(rules.match(_values(levels, key)) for key, rules in self.rules)
            and all(tree.match(_objects(levels, key)) for key, tree in self.nested)
            and all(any(tree.match(levels) for tree in trees) for trees in self.choices)
        )


def _flat(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _values(levels: list[Mapping[str, Any]], key: str) -> list[Any] | None:
    """Return the plain values under `key`, arrays opened; None where there is none (`exists` is for leaves only)."""
    found = _found(levels, key)
    values = [value for item in found for value in _flat(item) if not isinstance(value, Mapping)]
    empty = any(item == [] for item in found)
    return values if values or empty else None


def _objects(levels: list[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
    return [value for item in _found(levels, key) for value in _flat(item) if isinstance(value, Mapping)]


def _found(levels: list[Mapping[str, Any]], key: str) -> list[Any]:
    """Return what stands under `key`, and where it has dots under the path that they make (recorded)."""
    found = [level[key] for level in levels if key in level]
    for place, character in enumerate(key):
        if character == ".":
            inner = [
                value
                for level in levels
                if key[:place] in level
                for value in _flat(level[key[:place]])
                if isinstance(value, Mapping)
            ]
            if inner:
                found += _found(inner, key[place + 1 :])
    return found


@dataclass(frozen=True, slots=True)
class FilterPolicy:
    """A checked policy; `scope` is MessageAttributes or MessageBody."""

    tree: Tree
    scope: str

    def match(self, attributes: Attributes, body: str) -> bool:
        """Return whether a message passes."""
        if self.scope == "MessageAttributes":
            return self.tree.match([_plain(attributes)])
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return False
        return isinstance(document, Mapping) and self.tree.match([document])


def _plain(attributes: Attributes) -> dict[str, Any]:
    """Return attributes as values; Binary ones are not there for filters (SNS Developer Guide, constraints)."""
    plain: dict[str, Any] = {}
    for name, value in attributes.items():
        kind, text = value["DataType"], value.get("StringValue")
        if text is None:
            continue
        if kind == "String.Array":
            plain[name] = msgspec.json.decode(text)
        else:
            plain[name] = float(text) if kind.startswith("Number") else text
    return plain
