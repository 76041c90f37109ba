"""By which ids pulumi-azure-native imports entities, and what they are in: resource ids of Azure Resource Manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.clouds.azure.plan.namespace import AzurePlan
from polybus.errors import ConfigError
from polybus.plan.values import Ref, Resource

__all__ = ["HOMES", "import_id"]

HOMES = frozenset({"azure-native:resources:ResourceGroup", "azure-native:servicebus:Namespace"})

# The path of each type below its resource group, and the argument that is its own name.
_BELOW = {
    "azure-native:resources:ResourceGroup": ("", "resource_group_name"),
    "azure-native:servicebus:Namespace": ("/providers/Microsoft.ServiceBus/namespaces/{}", "namespace_name"),
    "azure-native:servicebus:Topic": ("/providers/Microsoft.ServiceBus/namespaces/{}/topics/{}", "topic_name"),
    "azure-native:servicebus:Queue": ("/providers/Microsoft.ServiceBus/namespaces/{}/queues/{}", "queue_name"),
    "azure-native:servicebus:Subscription": (
        "/providers/Microsoft.ServiceBus/namespaces/{}/topics/{}/subscriptions/{}",
        "subscription_name",
    ),
}
_WITHIN = ("namespace_name", "topic_name")


def import_id(resource: Resource, plan: AzurePlan, account: str | None) -> str | None:
    """Give the resource id of an entity, its namespace or the resource group that is there under its name."""
    if resource.type not in _BELOW:
        return None
    subscription = account or plan.settings.subscription_id
    if subscription is None:
        raise ConfigError("azure-native:subscriptionId: not set; resource ids have it in them: set it, or --account")
    path, own = _BELOW[resource.type]
    made = {one.name: one for one in plan.resources}
    names = [_text(resource.properties.get(key), made) for key in _WITHIN if key != own and key in resource.properties]
    group = _text(resource.properties["resource_group_name"], made)
    below = path.format(*names, _text(resource.properties[own], made))
    return f"/subscriptions/{subscription}/resourceGroups/{group}{below}"


def _text(value: Any, made: Mapping[str, Resource]) -> str:
    """Give a name, also where it is that of another resource of the plan."""
    if not isinstance(value, Ref):
        return str(value)
    resource = made[value.resource]
    return str(resource.properties[_BELOW[resource.type][1]])
