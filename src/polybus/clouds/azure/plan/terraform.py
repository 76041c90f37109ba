"""Service Bus and what is beside it for Terraform's provider azure/azapi, which takes what Azure's own API takes.

pulumi-azure-native takes the same, in other clothes: its arguments are the API's, in Python's spelling, what is inside
of `properties` beside what isn't. A resource's id there is its parent's and its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from polybus.clouds.azure.plan.immutable import IMMUTABLE, UNANNOUNCED
from polybus.clouds.azure.plan.namespace import AzureSettings
from polybus.clouds.azure.plan.terraform_names import TABLES
from polybus.errors import UnsupportedFeature
from polybus.plan.terraform.model import Block, Terraform, Version, as_written
from polybus.plan.values import Join, Ref, Resource

__all__ = ["TERRAFORM", "TYPES", "Arm", "camel"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SUBSCRIPTION = as_written("data.azapi_client_config.current.subscription_id")
_LOCATION = as_written("var.location")

_GROUP = (("resource_group_name", "resourceGroups"),)
_NAMESPACE = (*_GROUP, ("namespace_name", "providers/Microsoft.ServiceBus/namespaces"))
_TOPIC = (*_NAMESPACE, ("topic_name", "topics"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One type of resource as Azure Resource Manager has it: `type` with its API version.

    `name` is the argument that names it, or `fixed` its name. `inside` leads from a subscription to its parent: the
    argument that names each, and what stands before the name in an id; with `scope` the argument is the parent's id.
    `beside` are the arguments that the API has beside `properties`, `inner` those whose items have `properties` of
    their own, all but a name in there. `there` is one that is made with its parent, and only changed.
    `below` is what stands between its parent's id and its own, and isn't planned.
    """

    type: str
    name: str = ""
    fixed: str = ""
    inside: tuple[tuple[str, str], ...] = ()
    scope: str = ""
    located: bool = False
    beside: frozenset[str] = frozenset()
    inner: frozenset[str] = frozenset()
    there: bool = False
    rooted: frozenset[str] = frozenset()
    caseless: bool = False
    replacing: tuple[str, ...] = ()
    spelt: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    below: str = ""


# The newest stable versions of each API by the middle of 2025: an azapi knows those that were there before it.
_SERVICE_BUS, _NETWORK, _STORAGE = "2024-01-01", "2024-05-01", "2024-01-01"
_ACCOUNT = (*_GROUP, ("account_name", "providers/Microsoft.Storage/storageAccounts"))

TYPES: Mapping[str, Arm] = {
    "azure-native:resources:ResourceGroup": Arm(
        type="Microsoft.Resources/resourceGroups@2024-03-01", name="resource_group_name", located=True
    ),
    "azure-native:servicebus:Namespace": Arm(
        type=f"Microsoft.ServiceBus/namespaces@{_SERVICE_BUS}",
        name="namespace_name",
        inside=_GROUP,
        located=True,
        beside=frozenset({"sku"}),
        replacing=("sku.tier",),
    ),
    "azure-native:servicebus:Topic": Arm(
        type=f"Microsoft.ServiceBus/namespaces/topics@{_SERVICE_BUS}", name="topic_name", inside=_NAMESPACE
    ),
    "azure-native:servicebus:Queue": Arm(
        type=f"Microsoft.ServiceBus/namespaces/queues@{_SERVICE_BUS}", name="queue_name", inside=_NAMESPACE
    ),
    "azure-native:servicebus:Subscription": Arm(
        type=f"Microsoft.ServiceBus/namespaces/topics/subscriptions@{_SERVICE_BUS}",
        name="subscription_name",
        inside=_TOPIC,
    ),
    "azure-native:servicebus:DefaultRule": Arm(
        type=f"Microsoft.ServiceBus/namespaces/topics/subscriptions/rules@{_SERVICE_BUS}",
        fixed="$Default",
        inside=(*_TOPIC, ("subscription_name", "subscriptions")),
        there=True,
    ),
    "azure-native:authorization:RoleAssignment": Arm(
        type="Microsoft.Authorization/roleAssignments@2022-04-01",
        name="role_assignment_name",
        scope="scope",
        rooted=frozenset({"role_definition_id"}),
    ),
    "azure-native:network:PrivateEndpoint": Arm(
        type=f"Microsoft.Network/privateEndpoints@{_NETWORK}",
        name="private_endpoint_name",
        inside=_GROUP,
        located=True,
        inner=frozenset({"private_link_service_connections"}),
    ),
    "azure-native:network:PrivateDnsZoneGroup": Arm(
        type=f"Microsoft.Network/privateEndpoints/privateDnsZoneGroups@{_NETWORK}",
        name="private_dns_zone_group_name",
        inside=(*_GROUP, ("private_endpoint_name", "providers/Microsoft.Network/privateEndpoints")),
        inner=frozenset({"private_dns_zone_configs"}),
    ),
    "azure-native:monitor:ActionGroup": Arm(
        type="Microsoft.Insights/actionGroups@2023-01-01", name="action_group_name", inside=_GROUP, located=True
    ),
    "azure-native:monitor:MetricAlert": Arm(
        type="Microsoft.Insights/metricAlerts@2018-03-01",
        name="rule_name",
        inside=_GROUP,
        located=True,
        caseless=True,
        spelt={"odataType": "odata.type"},
    ),
    "azure-native:monitor:DiagnosticSetting": Arm(
        type="Microsoft.Insights/diagnosticSettings@2021-05-01-preview", name="name", scope="resource_uri"
    ),
    "azure-native:keyvault:Secret": Arm(
        type="Microsoft.KeyVault/vaults/secrets@2023-07-01",
        name="secret_name",
        inside=(*_GROUP, ("vault_name", "providers/Microsoft.KeyVault/vaults")),
        beside=frozenset({"properties"}),
    ),
    "azure-native:appconfiguration:KeyValue": Arm(
        type="Microsoft.AppConfiguration/configurationStores/keyValues@2024-05-01",
        name="key_value_name",
        inside=(*_GROUP, ("config_store_name", "providers/Microsoft.AppConfiguration/configurationStores")),
    ),
    "azure-native:storage:StorageAccount": Arm(
        type=f"Microsoft.Storage/storageAccounts@{_STORAGE}",
        name="account_name",
        inside=_GROUP,
        located=True,
        beside=frozenset({"kind", "sku"}),
        spelt={
            "enable_https_traffic_only": "supportsHttpsTrafficOnly",
            "encryption_identity": "identity",
            "encryption_user_assigned_identity": "userAssignedIdentity",
            "key_name": "keyname",
            "key_vault_properties": "keyvaultproperties",
            "key_vault_uri": "keyvaulturi",
        },
    ),
    "azure-native:storage:BlobContainer": Arm(
        type=f"Microsoft.Storage/storageAccounts/blobServices/containers@{_STORAGE}",
        name="container_name",
        inside=_ACCOUNT,
        below="blobServices/default",
    ),
    "azure-native:storage:BlobServiceProperties": Arm(
        type=f"Microsoft.Storage/storageAccounts/blobServices@{_STORAGE}",
        name="blob_services_name",
        inside=_ACCOUNT,
        there=True,
    ),
    "azure-native:storage:ManagementPolicy": Arm(
        type=f"Microsoft.Storage/storageAccounts/managementPolicies@{_STORAGE}",
        name="management_policy_name",
        inside=_ACCOUNT,
    ),
    "azure-native:portal:Dashboard": Arm(
        type="Microsoft.Portal/dashboards@2020-09-01-preview",
        name="dashboard_name",
        inside=_GROUP,
        located=True,
        beside=frozenset({"properties"}),
    ),
}


def _translate(resource: Resource, version: Version) -> Block:
    """Give the block for a resource; raises UnsupportedFeature for a type without one."""
    if resource.type not in TYPES:
        raise UnsupportedFeature(f"{resource.name}: {resource.type} has no translation for Terraform yet")
    arm, given = TYPES[resource.type], resource.properties
    arguments: dict[str, Any] = {
        "type": arm.type,
        "name": arm.fixed or given[arm.name],
        "parent_id": given[arm.scope] if arm.scope else _below(arm.below, _id(arm.inside, given)),
        **({"location": given.get("location", _LOCATION)} if arm.located else {}),
        **_identity(given.get("identity")),
        **({"tags": given["tags"]} if given.get("tags") else {}),
        "body": _body(arm, given),
    }
    if triggers := [*arm.replacing, *_replacing(resource.type, arm, given)]:
        arguments["replace_triggers_refs"] = triggers
    if arm.caseless:
        arguments["ignore_casing"] = True
    return Block("azapi_update_resource" if arm.there else "azapi_resource", arguments)


def _id(inside: tuple[tuple[str, str], ...], given: Mapping[str, Any]) -> Ref | Join:
    """Give the id of a parent: of one that the plan makes what it gives, of another what its name makes of it."""
    if not inside:
        return Join(("/subscriptions/", _SUBSCRIPTION))
    *above, (argument, before) = inside
    name = given[argument]
    if isinstance(name, Ref):
        return Ref(name.resource, "id")
    parent = _id(tuple(above), given)
    return Join((*(parent.parts if isinstance(parent, Join) else (parent,)), f"/{before}/{name}"))


def _below(between: str, parent: Ref | Join) -> Ref | Join:
    if not between:
        return parent
    return Join((*(parent.parts if isinstance(parent, Join) else (parent,)), f"/{between}"))


def _placed(arm: Arm) -> frozenset[str]:
    """List the arguments that are no part of what is sent: where a resource is, and what azapi has arguments for."""
    return frozenset((arm.name, arm.scope, *(name for name, _ in arm.inside), "location", "tags", "identity"))


def _body(arm: Arm, given: Mapping[str, Any]) -> dict[str, Any]:
    placed = _placed(arm)
    inside = {name: value for name, value in given.items() if name not in placed | arm.beside}
    body = {camel(name): _spelt(arm, given[name]) for name in sorted(arm.beside) if name in given}
    properties = {arm.spelt.get(name, camel(name)): _inner(arm, name, value) for name, value in inside.items()}
    return {**body, **({"properties": properties} if properties else {})}


def _inner(arm: Arm, name: str, value: Any) -> Any:
    if name in arm.rooted and isinstance(value, str) and value.startswith("/providers/"):
        return Join(("/subscriptions/", _SUBSCRIPTION, value))
    if name not in arm.inner:
        return _spelt(arm, value)
    items = [_spelt(arm, item) for item in value]
    return [{"name": item.pop("name"), "properties": item} for item in items]


def _spelt(arm: Arm, value: Any) -> Any:
    """Spell the keys of tables, at any depth, as the API does."""
    if isinstance(value, Mapping):
        return {arm.spelt.get(key, camel(key)): _spelt(arm, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelt(arm, item) for item in value]
    return value


def _identity(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        return {}
    return {"identity": {"type": given["type"], "identity_ids": list(given["user_assigned_identities"])}}


def _replacing(type_: str, arm: Arm, given: Mapping[str, Any]) -> list[str]:
    """List what Azure doesn't change, by its place in the body: azapi would try."""
    fixed = (IMMUTABLE[type_] | UNANNOUNCED.get(type_, frozenset())) - _placed(arm)
    return [f"properties.{camel(name)}" for name in sorted(fixed) if name in given]


def camel(name: str) -> str:
    """Spell an argument as the API does: `lock_duration` is lockDuration."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def _configured(settings: AzureSettings) -> Mapping[str, Any]:
    found = {"subscription_id": settings.subscription_id, "environment": settings.environment}
    return {name: value for name, value in found.items() if value}


def _beside(settings: AzureSettings) -> Mapping[str, Any]:
    """Ask who and where Terraform runs as, and for a location where the stack's configuration has none."""
    asked = {"type": "string", "description": "Where in Azure everything is, such as westeurope."}
    location = {} if settings.location else {"variable": {"location": asked}}
    return {"data": {"azapi_client_config": {"current": {}}}, **location}


(_VERSION,) = TABLES  # a 2.0 has other names for some, and 1 takes bodies as JSON text
_GIVEN = {type_: {"id": "{}.id", "name": "{}.name"} for type_ in TYPES}

TERRAFORM = Terraform(
    provider="azapi",
    source="azure/azapi",
    newest=_VERSION,
    oldest=_VERSION,
    translate=_translate,
    outputs=_GIVEN,
    configured=_configured,
    beside=_beside,
)
