"""What a cloud's plan is made of: resources with plain properties, and references between them.

A property is a string, number, boolean, None, list or mapping of these, or one of the four below, at any depth. What
realises a plan (Pulumi, or a local server) replaces them: `Ref` by what another resource gives once it exists, `Join`
by its parts in one string, `Json` by the JSON text of its value, `Later` (polybus.plan.later) by what a setting turns
out to be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from polybus.topology.open import Open

__all__ = [
    "Join",
    "Json",
    "Ref",
    "Resource",
    "found_in",
    "is_mark",
    "joined",
    "marked",
    "refs",
    "resolve",
    "rewritten",
    "unknown",
    "unmarked",
]


# A large plan has hundreds of thousands of these two: the garbage collector needn't look at what leads nowhere back.
class Ref(msgspec.Struct, frozen=True, gc=False):
    """An output of another resource of the plan, by that one's logical name."""

    resource: str
    output: str

    def __str__(self) -> str:
        return f"${{{self.resource}.{self.output}}}"


@dataclass(frozen=True, slots=True)
class Join:
    """One string of several parts, some of them references."""

    parts: tuple[str | Ref, ...]


class Json(msgspec.Struct, frozen=True, gc=False):
    """A value that the provider wants as JSON text; it may hold references."""

    value: Any


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource that a provider creates.

    `type` is the provider's token, such as `aws:sqs/queue:Queue`; `name` the logical name, unique in the plan;
    `properties` the arguments by the provider SDK's own Python names; `kind` says in our words what it is, `entry`
    where in the topology it comes from. `after` names resources that must be there first, though nothing refers to
    them.
    `keeps_messages` marks what would lose messages if it were deleted or replaced. `stays` marks a right on what isn't
    the stack's own: others may live by it, so it is left there when the stack or the entry goes.
    """

    type: str
    name: str
    properties: Mapping[str, Any]
    kind: str
    entry: str
    after: tuple[str, ...] = field(default=())
    keeps_messages: bool = False
    stays: bool = False

    def __post_init__(self) -> None:
        plain = {key: value for key, value in self.properties.items() if value is not None}
        object.__setattr__(self, "properties", MappingProxyType(plain))


def joined(*parts: str | Ref) -> str | Join:
    """Join texts and references; where all are known the whole is text."""
    known = [part for part in parts if isinstance(part, str)]
    return "".join(known) if len(known) == len(parts) else Join(parts)


def refs(value: object) -> Iterator[Ref]:
    """Find every reference inside a property, at any depth."""
    ahead: list[object] = [value]
    while ahead:
        found = ahead.pop()
        if isinstance(found, str):  # nearly always
            continue
        if isinstance(found, Ref):
            yield found
        elif isinstance(found, (list, tuple)):
            ahead.extend(reversed(found))
        elif isinstance(found, Mapping):
            ahead.extend(reversed([*found.values()]))
        elif isinstance(found, Join):
            ahead.extend(reversed(found.parts))
        elif isinstance(found, Json):
            ahead.append(found.value)


def resolve(value: Any, find: Callable[[Ref], Any]) -> Any:
    """Replace every reference by what `find` gives and join what is to be joined; `Json` stays, its value resolved."""
    if isinstance(value, Ref):
        return find(value)
    if isinstance(value, Join):
        return "".join(str(find(part)) if isinstance(part, Ref) else part for part in value.parts)
    if isinstance(value, Json):
        return Json(resolve(value.value, find))
    if isinstance(value, Mapping):
        return {key: resolve(item, find) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, find) for item in value]
    return value


def rewritten(value: Any, change: Callable[[str], str]) -> Any:
    """Replace every text by what `change` makes of it, at any depth; references stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Join):
        return Join(tuple(change(part) if isinstance(part, str) else part for part in value.parts))
    if isinstance(value, Json):
        return Json(rewritten(value.value, change))
    if isinstance(value, Mapping):
        return {key: rewritten(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(rewritten(item, change) for item in value)
    return value


def found_in(outputs: Mapping[str, Mapping[str, str]]) -> Callable[[str | Ref | Join], str]:
    """Give a function that turns references into text, by the outputs of each realised resource."""

    def find(value: str | Ref | Join) -> str:
        if isinstance(value, Join):
            return "".join(find(part) for part in value.parts)
        return outputs[value.resource][value.output] if isinstance(value, Ref) else value

    return find


# NUL can stand in no name, filter or address of a topology, so a mark is never mistaken for one of these.
_MARK = re.compile("\0([^\0]+)\0([^\0]+)\0")


def marked(value: str | Ref | Join) -> str:
    """Write a reference as text, so that it passes where only text may; `unmarked` reads it."""
    if isinstance(value, Join):
        return "".join(marked(part) for part in value.parts)
    return f"\0{value.resource}\0{value.output}\0" if isinstance(value, Ref) else value


def is_mark(value: object) -> bool:
    """Tell whether a text is a reference and nothing else: its form isn't known yet."""
    return isinstance(value, str) and _MARK.fullmatch(value) is not None


def unknown(text: object) -> bool:
    """Tell whether a text is filled in later, by a stack or by another tool's variable: it can be held to no form."""
    return isinstance(text, Open) or is_mark(text)


def unmarked(value: Any) -> Any:
    """Replace every marked text by its reference, at any depth."""
    if isinstance(value, Mapping):
        return {key: unmarked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unmarked(item) for item in value]
    if not isinstance(value, str) or "\0" not in value:
        return value
    whole = _MARK.fullmatch(value)
    if whole:
        return Ref(whole[1], whole[2])
    parts: list[str | Ref] = []
    at = 0
    for found in _MARK.finditer(value):
        parts += [value[at : found.start()], Ref(found[1], found[2])]
        at = found.end()
    return Join(tuple(part for part in (*parts, value[at:]) if part))
