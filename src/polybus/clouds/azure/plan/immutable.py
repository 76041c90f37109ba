"""Which properties of a resource Azure doesn't change: another value means another resource.

Source: path parameters, `location`, and what provider/pkg/gen/replacement.go of pulumi-azure-native 3 lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["IMMUTABLE", "UNANNOUNCED", "replaces"]

_INSIDE = ("namespace_name", "resource_group_name")

IMMUTABLE: Mapping[str, frozenset[str]] = {
    type_: frozenset(names)
    for type_, names in {
        "azure-native:resources:ResourceGroup": ("resource_group_name", "location"),
        "azure-native:servicebus:Namespace": (*_INSIDE, "location"),
        "azure-native:servicebus:Topic": (
            "topic_name",
            *_INSIDE,
            "requires_duplicate_detection",
            "enable_partitioning",
        ),
        "azure-native:servicebus:Queue": (
            "queue_name",
            *_INSIDE,
            "requires_session",
            "requires_duplicate_detection",
            "enable_partitioning",
        ),
        "azure-native:servicebus:Subscription": ("subscription_name", "topic_name", *_INSIDE, "requires_session"),
        "azure-native:servicebus:DefaultRule": ("subscription_name", "topic_name", *_INSIDE),
        "azure-native:network:PrivateEndpoint": ("private_endpoint_name", "resource_group_name", "location", "subnet"),
        "azure-native:network:PrivateDnsZoneGroup": (
            "private_dns_zone_group_name",
            "private_endpoint_name",
            "resource_group_name",
        ),
        "azure-native:authorization:RoleAssignment": (
            "role_assignment_name",
            "scope",
            "principal_id",
            "role_definition_id",
        ),
        "azure-native:monitor:ActionGroup": ("action_group_name", "resource_group_name", "location"),
        "azure-native:monitor:MetricAlert": ("rule_name", "resource_group_name", "location"),
        "azure-native:monitor:DiagnosticSetting": ("name", "resource_uri"),
        "azure-native:keyvault:Secret": ("secret_name", "vault_name", "resource_group_name"),
        "azure-native:appconfiguration:KeyValue": ("key_value_name", "config_store_name", "resource_group_name"),
        "azure-native:portal:Dashboard": ("dashboard_name", "resource_group_name", "location"),
    }.items()
}

# Service Bus refuses it ("can only be set at the time of creating", learn.microsoft.com "enable-message-sessions"), and
# forceNewMap has it for queues and topics alone.
UNANNOUNCED: Mapping[str, frozenset[str]] = {"azure-native:servicebus:Subscription": frozenset({"requires_session"})}


def replaces(property_: str, old: Any, new: Any) -> bool | None:
    """Say whether a namespace is replaced: it can't move between Premium and the other SKUs."""
    return _is_premium(old) != _is_premium(new) if property_ == "sku" else None


def _is_premium(sku: Mapping[str, Any]) -> bool:
    return bool(sku.get("name") == "Premium")
