"""What a cloud says of the rules that every stack keeps: for each of them, what of its resources breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from polybus.plan.values import Join, Ref

__all__ = ["Access", "Check", "Item", "Policy", "Properties", "StackCheck", "text_of"]

Properties: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One resource; `refers` has the names of the resources that a property refers to."""

    type: str
    name: str
    properties: Properties
    refers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        """Give the name of the resource that a property refers to first."""
        return next(iter(self.refers.get(name, ())), None)


Check: TypeAlias = Callable[[str, Properties], Iterable[str]]
"""Gives what is wrong with one resource, by its type and properties; nothing where it isn't concerned."""

StackCheck: TypeAlias = Callable[[Sequence[Item]], Iterable[tuple[str, str]]]
"""Gives the names of resources with what is wrong with each, in what they are to each other."""

Access: TypeAlias = Callable[[str, Properties, bool | None], Iterable[str]]
"""As `Check`; the last is whether public access is declared, None where either is."""


def _none(type_: str, properties: Properties) -> Iterable[str]:
    return ()


def _none_of(items: Sequence[Item]) -> Iterable[tuple[str, str]]:
    return ()


def _open(type_: str, properties: Properties, declared: bool | None) -> Iterable[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One cloud's part of each rule of `polybus.plan.policy`, which says what the rules are for."""

    encryption: Check = _none
    tls_only: Check = _none
    no_wildcards: Check = _none
    no_local_auth: Check = _none
    public_access: Access = _open
    dead_letters: StackCheck = _none_of
    tls_everywhere: StackCheck = _none_of
    bodies: StackCheck = _none_of


def text_of(value: Any) -> str:
    """Write a value as text, to look for words in it; of what isn't known yet its reference."""
    if isinstance(value, Join):
        return "".join(text_of(part) for part in value.parts)
    if isinstance(value, (Ref, str)):
        return str(value)
    return json.dumps(value, default=str)
