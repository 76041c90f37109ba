"""Any plan as rows for people: what there will be, what it is called there, and how it is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.aws.plan.resources import AwsPlan, AwsSettings
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.resources import AzurePlan, AzureSettings
from polybus.clouds.gcp.plan import resources as gcp
from polybus.clouds.gcp.plan.resources import GcpPlan, GcpSettings
from polybus.embedded import plan as local
from polybus.embedded.plan import LocalPlan
from polybus.plan.values import Join, Json, Ref, Resource
from polybus.topology.model import Topology

__all__ = ["PLACES", "Plan", "Row", "describe", "physical_of", "plan_for", "text_of"]

PLACES = ("local", "aws", "azure", "gcp")

Plan: TypeAlias = AwsPlan | AzurePlan | GcpPlan | LocalPlan

_NAMES = (
    "name",
    "topic_name",
    "subscription_name",
    "queue_name",
    "namespace_name",
    "rule_name",
    "dashboard_name",
    "display_name",
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


def plan_for(topology: Topology, place: str, *, stack: str = "") -> Plan:
    """Plan a topology for one of PLACES with the settings that need no stack config.

    What only a stack config says, which function a push's name stands for, is shown as `<function NAME>`.
    """
    match place:
        case "aws":
            return aws.plan(topology, AwsSettings(stack=stack, functions=_functions(topology)))
        case "azure":
            identities = {name: azure.Principal(shown) for name, shown in _functions(topology).items()}
            return azure.plan(topology, AzureSettings(stack=stack, functions=identities))
        case "gcp":
            return gcp.plan(topology, GcpSettings(stack=stack, functions=_functions(topology)))
        case "local":
            return local.plan(topology)
    raise ValueError(f"no plan for {place!r}; there are: {', '.join(PLACES)}")


def _functions(topology: Topology) -> dict[str, str]:
    pushes = (item.push for item in topology.subscriptions.values() if item.push is not None)
    return {push.function: f"<function {push.function}>" for push in pushes if push.function is not None}


def describe(plan: Plan) -> list[Row]:
    """Give one row a resource, in the plan's order."""
    if isinstance(plan, LocalPlan):
        return [
            Row(item.kind, item.logical, item.address, {"of": item.of} if item.of else {}) for item in plan.resources
        ]
    return [_row(resource) for resource in plan.resources]


def physical_of(resource: Resource) -> str:
    """Give a resource's name on the cloud, "" where it has none."""
    found = next((resource.properties[key] for key in _own_name(resource) if key in resource.properties), "")
    return found if isinstance(found, str) else ""


def _row(resource: Resource) -> Row:
    settings = {key: text_of(value) for key, value in resource.properties.items() if key not in _LEFT_OUT}
    return Row(resource.kind, resource.entry.removeprefix("$."), physical_of(resource), settings)


def _own_name(resource: Resource) -> tuple[str, ...]:
    """Put the argument that names this type first: a subscription's arguments have the name of its topic too."""
    type_ = resource.type.rpartition(":")[2].lower()
    return tuple(sorted(_NAMES, key=lambda name: name.replace("_", "").removesuffix("name") != type_))


def text_of(value: Any) -> str:
    """Write a property for people, references as `${resource.output}`, cut where it is long."""
    text = _text(value)
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
