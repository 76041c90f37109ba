"""What each cloud allows of a resource, written anew from its documentation: the plans' own numbers aren't used here.

`aws_limits.py`, `azure_limits.py` and `gcp_limits.py` have them, each with its sources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.plan.values import Join, Ref, Resource

Properties = Mapping[str, Any]
Plan = Mapping[str, Resource]


@dataclass(frozen=True)
class Limit:
    """A limit of one resource: `breaks` are properties that exceed it, so that what holds it can be seen to fail."""

    name: str
    types: tuple[str, ...]
    holds: Callable[[Properties], bool]
    breaks: Properties
    where: Callable[[Properties], bool] = lambda properties: True


@dataclass(frozen=True)
class Count:
    """A limit of all resources together: `of` counts what there is of each, by where it is."""

    name: str
    most: int
    of: Callable[[Plan], Mapping[Any, int]]


def has(key: str) -> Callable[[Properties], bool]:
    return lambda properties: properties.get(key) is not None


def of(plan: Plan, *types: str) -> Iterable[Properties]:
    """Give the properties of every resource of some types."""
    return (resource.properties for resource in plan.values() if resource.type in types)


def plan_of(plan: Plan, ref: str | Ref) -> Properties:
    """Give the properties of what is referred to; what is adopted has none here."""
    return plan[ref.resource].properties if isinstance(ref, Ref) else {}


def within(key: str, least: float, most: float) -> Callable[[Properties], bool]:
    return lambda properties: type(properties[key]) is int and least <= properties[key] <= most


def spelled(key: str, pattern: str) -> Callable[[Properties], bool]:
    return lambda properties: re.fullmatch(pattern, _known(properties[key])) is not None


def _known(name: str | Join) -> str:
    """Write a name as it will be: what it refers to is a region, and none is longer."""
    if isinstance(name, str):
        return name
    return "".join("x" * 27 if isinstance(part, Ref) else part for part in name.parts)


def text(value: Any) -> str:
    """Write JSON as it will be, every reference as long as an ARN gets (80 characters of a name, 48 before it)."""
    return json.dumps(value, default=lambda ref: "x" * 128, separators=(",", ":"), ensure_ascii=False)


def duration(value: str) -> float:
    """Read an ISO duration or one of Google's in seconds."""
    if value.endswith("s"):
        assert re.fullmatch(r"[0-9]+(\.[0-9]{1,9})?s", value), value
        return float(value[:-1])
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", value)
    assert found, value
    days, hours, minutes, left = (int(part or 0) for part in found.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + left


def tagged(key: str, most: int, key_pattern: str, value_pattern: str) -> Callable[[Properties], bool]:
    return lambda properties: (
        len(properties[key]) <= most
        and all(
            re.fullmatch(key_pattern, name) and re.fullmatch(value_pattern, value)
            for name, value in properties[key].items()
        )
    )


def fifo(properties: Properties) -> bool:
    return bool(properties.get("fifo_queue") or properties.get("fifo_topic"))


def ranged(key: str, least: float, most: float) -> Callable[[Properties], bool]:
    return lambda properties: least <= duration(properties[key]) <= most
