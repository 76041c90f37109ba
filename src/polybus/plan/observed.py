"""What a cloud has, as it was read, in the plan's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Observed", "Outside", "with_others"]


@dataclass(frozen=True, slots=True)
class Observed:
    """One resource as the cloud has it.

    `name` is its logical name in the plan, where the binding says which it is; None has it found by what it is.
    `properties` of None says that it was looked for and isn't there. `outputs` are what other resources refer to.
    `shared` marks what may well be another's, so that it is no surprise.
    """

    type: str
    name: str | None
    address: str
    properties: Mapping[str, Any] | None
    outputs: Mapping[str, str] = field(default_factory=dict)
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """Something that is not the stack's, and that it relies on: `kind` in our words, and where it is.

    `lacks` are what it has to be like and isn't: the property, what is needed and what was found. `unread` says why it
    couldn't be looked at, "" where it could.
    """

    kind: str
    address: str
    lacks: tuple[tuple[str, str, str], ...] = ()
    unread: str = ""


def with_others(parts: Iterable[Iterable[Observed]], others: Iterable[Observed]) -> list[Observed]:
    """Return what was read by the binding, in parts, and then what else is there: others of another address."""
    found = [item for part in parts for item in part]
    known = {item.address for item in found}
    return [*found, *(item for item in others if item.address not in known)]
