"""Any plan as rows for people: what there will be, what it is called there, and how it is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polybus.plan.opened import shown, standing_in
from polybus.plan.planning import CloudPlan, planning_of
from polybus.plan.same import ANY
from polybus.plan.values import Join, Json, Ref, Resource
from polybus.topology.model import Topology
from polybus.topology.open import Open

__all__ = ["Row", "Sample", "anyone", "cut", "describe", "physical_of", "plan_for", "sample", "stand_ins", "text_of"]

_NAMES = (
    "name",
    "topic_name",
    "subscription_name",
    "queue_name",
    "namespace_name",
    "rule_name",
    "alarm_name",
    "secret_name",
    "key_value_name",
    "dashboard_name",
    "display_name",
    "bucket",
    "container_name",
    "blob_services_name",
    "management_policy_name",
    "account_name",
    "private_endpoint_name",
    "action_group_name",
    "resource_group_name",  # last: others are in one
)
_LEFT_OUT = frozenset((*_NAMES, "tags", "labels", "project"))
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Row:
    """One resource: its kind in our words, the entry it comes from, its name on the cloud ("" where it has none)."""

    kind: str
    logical: str
    physical: str
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """A plan without a stack's configuration; `named` is what to show in place of texts that stand in for it."""

    plan: CloudPlan
    named: Mapping[str, str]

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Give the resources as they may be shown."""
        return shown(self.plan.resources, self.named)


def sample(topology: Topology, cloud: str, *, stack: str = "") -> Sample:
    """Plan a topology for a cloud with the settings that need no stack config.

    What only a stack config says is shown as `<function NAME>`, `<config NAME>`.
    """
    planning = planning_of(cloud)
    standing, named = standing_in(topology, planning, None)
    if planning.sample is None:
        return Sample(planning.plan(standing, planning.settings(stack=stack)), named)
    return Sample(planning.sample(standing, stack), named)


def plan_for(topology: Topology, cloud: str, *, stack: str = "") -> CloudPlan:
    """Plan as `sample` does; raises UnsupportedFeature with everything that the cloud can't do."""
    return sample(topology, cloud, stack=stack).plan


def stand_ins(topology: Topology) -> dict[str, str]:
    """Give what is shown for each function that a push names, which only a stack's configuration knows."""
    pushes = (item.push for item in topology.subscriptions.values() if item.push is not None)
    functions = [push.function for push in pushes if push.function is not None]
    return {name: str(name) if isinstance(name, Open) else f"<function {name}>" for name in functions}


def anyone(topology: Topology) -> dict[str, str]:
    """Give for each function that a push names what is like anything, since only the stack's configuration knows it."""
    return dict.fromkeys(stand_ins(topology), ANY)


def describe(plan: CloudPlan | Sample, *, whole: bool = False) -> list[Row]:
    """Give one row a resource, in the plan's order; long settings are cut, unless the `whole` is asked for."""
    return [_row(resource, whole=whole) for resource in plan.resources]


def physical_of(resource: Resource) -> str:
    """Give a resource's name on the cloud, "" where it has none."""
    found = next((resource.properties[key] for key in _own_name(resource) if key in resource.properties), "")
    if isinstance(found, Join):
        return _text(found)
    return found if isinstance(found, str) else ""


def _row(resource: Resource, *, whole: bool) -> Row:
    settings = {key: text_of(value, whole=whole) for key, value in resource.properties.items() if key not in _LEFT_OUT}
    if resource.stays:
        settings["when deleted"] = "stays"
    return Row(resource.kind, resource.entry.removeprefix("$."), physical_of(resource), settings)


def _own_name(resource: Resource) -> tuple[str, ...]:
    """Put the argument that names this type first: a subscription's arguments have the name of its topic too."""
    type_ = resource.type.rpartition(":")[2].lower()
    return tuple(sorted(_NAMES, key=lambda name: name.replace("_", "").removesuffix("name") != type_))


def text_of(value: Any, *, whole: bool = False) -> str:
    """Write a property for people, references as `${resource.output}`, cut where it is long."""
    text = _text(value)
    return text if whole else cut(text)


def cut(text: str) -> str:
    """Shorten a text for a table."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Join):
        return "".join(_text(part) for part in value.parts)
    if isinstance(value, Json):
        return _text(value.value)
    if isinstance(value, Ref):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return str(value)
