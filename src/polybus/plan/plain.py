"""A plan as plain data, whole: what `polybus plan --json` prints, for scripts and for those who review rights.

`FORMAT` is raised by what a reader could trip over: a key that goes, or means something else. New keys don't raise it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polybus.plan.entitled import Right
from polybus.plan.later import Later
from polybus.plan.table import physical_of
from polybus.plan.values import Join, Json, Ref, Resource, refs

__all__ = ["FORMAT", "plain", "resource_of", "right_of"]

FORMAT = 1


def resource_of(resource: Resource) -> dict[str, Any]:
    """Give one resource with everything that is planned of it, and what it refers to."""
    return {
        "type": resource.type,
        "name": resource.name,
        "kind": resource.kind,
        "entry": resource.entry,
        "physical": physical_of(resource),
        "properties": plain(resource.properties),
        "references": _references(resource),
        "after": list(resource.after),
        "keeps_messages": resource.keeps_messages,
        "stays": resource.stays,
    }


def right_of(right: Right) -> dict[str, Any]:
    """Give one right of a service."""
    return {"may": list(right.may), "on": plain(right.on), "only_if": plain(right.only_if)}


def plain(value: Any) -> Any:
    """Give a value of a plan as what JSON has: numbers and booleans as they are, the rest of it as tables of one key.

    `{"$ref": {"resource": ..., "output": ...}}` is what another resource gives once it is there, `{"$join": [...]}` one
    text of several parts, `{"$json": ...}` a value that the provider takes as JSON text, and `{"$later": ...}` a
    setting that is known later, by its name.
    """
    if isinstance(value, Ref):
        return {"$ref": {"resource": value.resource, "output": value.output}}
    if isinstance(value, Join):
        return {"$join": [plain(part) for part in value.parts]}
    if isinstance(value, Json):
        return {"$json": plain(value.value)}
    if isinstance(value, Later):
        return {"$later": value.name}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value  # which may be of a class that JSON's writers don't know


def _references(resource: Resource) -> list[dict[str, str]]:
    """List what a resource refers to, once for each of its properties."""
    found = {
        (name, ref.resource, ref.output): None for name, value in resource.properties.items() for ref in refs(value)
    }
    return [{"property": name, "resource": other, "output": output} for name, other, output in found]
