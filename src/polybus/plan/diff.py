"""What a changed topology would do to what is there, and which messages that would lose.

What Pulumi does with one resource is decided by what differs: some properties can't be changed on the cloud, so that
the resource is deleted and made again, and with it whatever refers to it by such a property. Names are explicit, so the
provider deletes first ("Explicit names" in Pulumi's notes on bridged providers): what waited there is gone. Where a
retention is shortened in place, some clouds delete what is older at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from polybus.plan.bodies import EXPIRY, KIND
from polybus.plan.parts import differing
from polybus.plan.planning import immutable, planning_of_type
from polybus.plan.table import physical_of, text_of
from polybus.plan.values import Resource, refs
from polybus.topology.quantities import format_duration

__all__ = ["Action", "Change", "Edit", "diff", "lossy"]


class Action(StrEnum):
    CREATE = "create"
    CHANGE = "change"
    REPLACE = "replace"
    DELETE = "delete"
    LEAVE = "leave"
    """Taken out of the stack, and left on the cloud: others may live by it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One property, or one part of it, as it was and as it will be; "" stands for not set.

    `property` is the name, with the path to the part; `forces` marks what makes it a replacement.
    """

    property: str
    old: str
    new: str
    forces: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one resource; `loses` says which messages go with it, "" for none.

    `kind` is the resource's in our words, `logical` the entry it comes from, `physical` its name on the cloud before
    the change (after it, for what is new).
    """

    action: Action
    kind: str
    logical: str
    physical: str
    edits: tuple[Edit, ...] = ()
    loses: str = ""


_LOSSES = {
    "namespace": "everything that waits in the namespace",
    "topic": "everything that waits in its subscriptions",
    "dead letters": "its dead letters",
    "bodies": "the bodies of messages that refer to it",
}


def diff(old: Iterable[Resource], new: Iterable[Resource], moved: Iterable[Edit] = ()) -> list[Change]:
    """Compare two plans for one cloud: what is made, changed and replaced, in the new plan's order; then deletions.

    `moved` says how the place of all of them changes, such as the region: then everything is another.
    """
    everywhere = tuple(moved)
    before = _real(old)
    after = _real(new)
    replaced: set[str] = set()
    changes: list[Change] = []
    for key, resource in after.items():
        known = before.get(key)
        if known is None:
            changes.append(_change(Action.CREATE, resource))
        elif edits := (*everywhere, *_edits(known, resource, replaced)):
            action = Action.REPLACE if any(edit.forces for edit in edits) else Action.CHANGE
            if action is Action.REPLACE:
                replaced.add(resource.name)
            changes.append(_change(action, known, edits))
    gone = [resource for key, resource in before.items() if key not in after]
    return [*changes, *(_change(Action.LEAVE if item.stays else Action.DELETE, item) for item in gone)]


def lossy(changes: Iterable[Change]) -> list[Change]:
    """List the changes that lose messages."""
    return [change for change in changes if change.loses]


def _real(resources: Iterable[Resource]) -> dict[tuple[str, str], Resource]:
    """Give the resources by what Pulumi knows them by; what is only looked up isn't one."""
    return {(item.type, item.name): item for item in resources if item.kind != "lookup"}


def _change(action: Action, resource: Resource, edits: tuple[Edit, ...] = ()) -> Change:
    gone = action in (Action.REPLACE, Action.DELETE) and resource.keeps_messages
    loses = _LOSSES.get(resource.kind, "what waits in it") if gone else _expired(resource, edits)
    planning = planning_of_type(resource.type)
    if gone and planning is not None and resource.type in planning.holds_letters:
        loses = "what waits in it, and its dead letters"
    entry = resource.entry.removeprefix("$.")
    return Change(action, resource.kind, entry, physical_of(resource), edits, loses)


def _expired(resource: Resource, edits: tuple[Edit, ...]) -> str:
    """Say what a shorter retention deletes; "" where it isn't shorter, or the cloud lets what is there live on."""
    planning = planning_of_type(resource.type)
    name = None if planning is None else planning.retention.get(resource.type)
    for edit in edits:
        was, will = _seconds(edit.old), _seconds(edit.new)
        if edit.property == name and was is not None and will is not None and will < was:
            if resource.kind in (EXPIRY, KIND):
                return f"large bodies older than {will:g} days, whose messages may be there still"
            what = "dead letters" if resource.kind == "dead letters" else "messages"
            return f"{what} older than {format_duration(will)}"
    return ""


def _seconds(text: str) -> float | None:
    """Read a retention as clouds write it, in seconds with or without their unit."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)s?", text)
    return None if found is None else float(found[1])


def _edits(old: Resource, new: Resource, replaced: set[str]) -> Iterator[Edit]:
    fixed = immutable(new.type)
    for name in dict.fromkeys((*old.properties, *new.properties)):
        was, will = old.properties.get(name), new.properties.get(name)
        if was != will:
            forces = _forces(new.type, name, was, will, fixed)
            for path, before, after in differing(name, was, will):
                yield Edit(path, _text(before), _text(after), forces)
        else:
            # What it refers to will be another one, though the plan says the same of it.
            again = [ref.resource for ref in refs(will) if ref.resource in replaced]
            if again:
                yield Edit(name, _text(was), f"that of the new {again[0]}", forces=name in fixed)


def _forces(type_: str, name: str, was: Any, will: Any, fixed: frozenset[str]) -> bool:
    planning = planning_of_type(type_)
    knows = None if planning is None else planning.replaces.get(type_)
    forces = None if knows is None else knows(name, was, will)
    return name in fixed if forces is None else forces


def _text(value: Any) -> str:
    return "" if value is None else text_of(value, whole=True)
