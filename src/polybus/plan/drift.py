"""Whether a cloud has what was planned: what is missing, what is set differently, what nobody planned.

Reading is the backends' (`Cloud.live`), comparing is here, on plain values: what was read is given in the
plan's words, by the same types and property names. What the stack's configuration alone decides (whose key encrypts,
further tags, which principal a service is) is not in a topology, so it isn't compared; `unread` tells what else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from polybus.plan.drift_rules import Rules
from polybus.plan.names import stack_in
from polybus.plan.observed import Observed, Outside
from polybus.plan.parts import differing
from polybus.plan.planning import planning_of_type
from polybus.plan.table import physical_of, text_of
from polybus.plan.values import Json, Ref, Resource, resolve

__all__ = ["Difference", "Drift", "DriftKind", "Result", "compare", "stack_of"]


class DriftKind(StrEnum):
    MISSING = "missing"
    CHANGED = "changed"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True)
class Difference:
    """One property: as planned and as found; "" stands for not set."""

    property: str
    planned: str
    found: str


@dataclass(frozen=True, slots=True)
class Drift:
    """One resource that is not as planned; `entry` is "" for what nobody planned."""

    kind: DriftKind
    resource: str
    entry: str
    address: str
    differences: tuple[Difference, ...] = ()

    @property
    def awaits_consent(self) -> bool:
        """Whether it is there, and its endpoint has not agreed yet."""
        return any(edit.property == "status" for edit in self.differences)


@dataclass(frozen=True, slots=True)
class Result:
    """What was found; `compared` counts planned resources, `unread` those that weren't asked for, by their kind.

    `waiting` is there as planned, and waits for the consent of whoever is told of alarms: no stack can give it. What
    else waits for consent carries no messages until then, and is among the drifts. `closed` are lines about what
    couldn't be read.
    """

    drifts: tuple[Drift, ...]
    compared: int
    unread: Mapping[str, int]
    waiting: tuple[Drift, ...] = ()
    closed: tuple[str, ...] = ()


def compare(
    resources: Sequence[Resource], observed: Iterable[Observed | Outside], adopted: Iterable[Resource] = ()
) -> Result:
    """Compare a plan's resources with what a cloud has; drifts in the plan's order, then what nobody planned.

    Of `adopted` ones only the properties that they have are compared.
    """
    seen = tuple(observed)
    outside = [item for item in seen if isinstance(item, Outside)]
    comparison = _Comparison([item for item in seen if isinstance(item, Observed)])
    unread: dict[str, int] = {}
    drifts: list[Drift] = []
    waiting: list[Drift] = []
    compared = 0
    for resource in adopted:
        compared += 1
        drifts.extend(comparison.of(resource, whole=False))
    for resource in resources:
        if _looked_at(resource):
            compared += 1
            for drift in comparison.of(resource):
                (waiting if resource.kind == "alarm" and drift.awaits_consent else drifts).append(drift)
        elif resource.kind != "lookup":
            unread[resource.kind] = unread.get(resource.kind, 0) + 1
    lacking = [_lacking(item) for item in outside if item.lacks]
    closed = tuple(f"{item.kind} {item.address}: {item.unread}" for item in outside if item.unread)
    return Result((*drifts, *comparison.extra(), *lacking), compared, unread, tuple(waiting), closed)


def _lacking(item: Outside) -> Drift:
    return Drift(DriftKind.CHANGED, item.kind, "", item.address, tuple(Difference(*found) for found in item.lacks))


def _looked_at(resource: Resource) -> bool:
    """Tell whether the cloud is asked for a resource: rights on a topic for alarms aren't, since it isn't the bus's."""
    rules = _rules_of(resource.type)
    return rules is not None and (resource.kind, rules.kind) != ("alarm", "rights")


def _rules_of(type_: str) -> Rules | None:
    """Give how a type of resource is compared, None where it isn't."""
    planning = planning_of_type(type_)
    return None if planning is None else planning.drift.get(type_)


def _rules(type_: str) -> Rules:
    rules = _rules_of(type_)
    if rules is None:
        raise KeyError(type_)
    return rules


def stack_of(bus: str, physical: Mapping[str, str]) -> str:
    """Find the stack in physical names, by the entry of each; "" where they have none, or are all cut."""
    found = (stack_in(name, bus, entry) for entry, name in physical.items())
    return next((stack for stack in found if stack is not None), "")


class _Comparison:
    """Finds for each planned resource what the cloud has of it."""

    def __init__(self, observed: Sequence[Observed]) -> None:
        self._named = {(item.type, item.name): item for item in observed if item.name is not None}
        self._unnamed = [item for item in observed if item.name is None]
        self._outputs: dict[str, dict[str, str]] = {}
        for (_, name), item in self._named.items():
            self._outputs.setdefault(str(name), {}).update(item.outputs)

    def of(self, resource: Resource, *, whole: bool = True) -> Iterator[Drift]:
        rules = _rules(resource.type)
        planned = resolve(resource.properties, self._find)
        found = self._take(resource, rules, planned)
        entry = resource.entry.removeprefix("$.")
        if found is None or found.properties is None:
            address = physical_of(resource) if found is None else found.address
            yield Drift(DriftKind.MISSING, resource.kind, entry, address)
            return
        differences = tuple(
            edit
            for edit in _differences(rules, planned, found.properties)
            if whole or edit.property in resource.properties
        )
        if differences:
            yield Drift(DriftKind.CHANGED, resource.kind, entry, found.address, differences)

    def extra(self) -> Iterator[Drift]:
        """List what was found and not taken by any planned resource."""
        for item in (*self._named.values(), *self._unnamed):
            if item.properties is not None and not item.shared:
                yield Drift(DriftKind.EXTRA, _rules(item.type).kind, "", item.address)

    def _find(self, ref: Ref) -> str:
        """Give an output; of what isn't there it stays the reference, which is like nothing that the cloud has."""
        return self._outputs.get(ref.resource, {}).get(ref.output, str(ref))

    def _take(self, resource: Resource, rules: Rules, planned: Mapping[str, Any]) -> Observed | None:
        named = self._named.pop((resource.type, resource.name), None)
        if named is not None or not rules.identity:
            return named
        for item in self._unnamed:
            if item.type == resource.type and rules.same(planned, item.properties or {}):
                self._unnamed.remove(item)
                return item
        return None


def _differences(rules: Rules, planned: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Difference]:
    # What isn't there yet as it will be tells only why.
    compared = {"status": rules.compared["status"]} if "status" in found else rules.compared
    for name, same in compared.items():
        wanted, there = rules.value(name, planned), rules.value(name, found)
        if not same(wanted, there):
            read = rules.shown.get(name) if isinstance(wanted, Json) else None
            parts = [] if read is None else list(differing(name, read(wanted), read(there)))
            for path, one, other in parts or [(name, wanted, there)]:
                yield Difference(path, _text(one), _text(other))


def _text(value: Any) -> str:
    return "" if value is None else text_of(value)
