"""What pulumi-azure-native says of the types of resources that plans have, before Azure is asked.

Source: what is fixed is a parameter of the path, x-ms-mutability without "update" in Azure/azure-rest-api-specs, or in
forceNewMap of provider/pkg/gen/replacement.go; what is taken are the lengths, patterns and ranges of the specification
that `source` names, in the version that the provider takes by default. It checks no values of enumerations, and no
pattern that looks ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from polybus.plan.facts import Facts, Takes

__all__ = ["FACTS"]

_GROUP = Takes(length=(1, 90), pattern=r"[-\w._()]+")
_NAMESPACE = Takes(length=(6, 50))
_ACCOUNT = Takes(length=(3, 24))
_ENTITY = Takes(length=(1, 2**31))
_SUBSCRIPTION = Takes(length=(1, 50))
_IN_NAMESPACE = frozenset({"namespace_name", "resource_group_name"})


def _inside(**takes: Takes) -> dict[str, Takes]:
    return {"namespace_name": _NAMESPACE, "resource_group_name": _GROUP, **takes}


FACTS: Final[Mapping[str, Facts]] = {
    "azure-native:resources:ResourceGroup": Facts(
        source="resources 2024-03-01",
        immutable=frozenset({"resource_group_name", "location"}),
        takes={"resource_group_name": _GROUP},
    ),
    "azure-native:servicebus:Namespace": Facts(
        source="servicebus 2026-01-01", immutable=_IN_NAMESPACE | {"location"}, takes=_inside()
    ),
    "azure-native:servicebus:Topic": Facts(
        source="servicebus 2026-01-01",
        immutable=_IN_NAMESPACE | {"topic_name", "requires_duplicate_detection", "enable_partitioning"},
        takes=_inside(topic_name=_ENTITY),
    ),
    "azure-native:servicebus:Queue": Facts(
        source="servicebus 2026-01-01",
        immutable=_IN_NAMESPACE
        | {"queue_name", "requires_session", "requires_duplicate_detection", "enable_partitioning"},
        takes=_inside(queue_name=_ENTITY),
    ),
    "azure-native:servicebus:Subscription": Facts(
        source="servicebus 2026-01-01",
        immutable=_IN_NAMESPACE | {"subscription_name", "topic_name", "requires_session"},
        takes=_inside(topic_name=_ENTITY, subscription_name=_SUBSCRIPTION),
    ),
    "azure-native:servicebus:DefaultRule": Facts(
        source="servicebus 2026-01-01",
        immutable=_IN_NAMESPACE | {"subscription_name", "topic_name"},
        takes=_inside(topic_name=_ENTITY, subscription_name=_SUBSCRIPTION),
    ),
    "azure-native:network:PrivateEndpoint": Facts(
        source="network 2024-05-01",
        immutable=frozenset({"private_endpoint_name", "resource_group_name", "location", "subnet"}),
    ),
    "azure-native:network:PrivateDnsZoneGroup": Facts(
        source="network 2024-05-01",
        immutable=frozenset({"private_dns_zone_group_name", "private_endpoint_name", "resource_group_name"}),
    ),
    "azure-native:authorization:RoleAssignment": Facts(
        source="authorization 2022-04-01",
        immutable=frozenset({"role_assignment_name", "scope", "principal_id"}),
    ),
    "azure-native:monitor:ActionGroup": Facts(
        source="monitor 2024-10-01-preview",
        immutable=frozenset({"action_group_name", "resource_group_name", "location"}),
        takes={"group_short_name": Takes(length=(0, 12)), "resource_group_name": Takes(length=(1, 90))},
    ),
    "azure-native:monitor:MetricAlert": Facts(
        source="monitor 2018-03-01", immutable=frozenset({"rule_name", "resource_group_name", "location"})
    ),
    "azure-native:monitor:DiagnosticSetting": Facts(
        source="monitor 2021-05-01-preview",
        immutable=frozenset({"name", "resource_uri"}),
        takes={
            "logs.retention_policy.days": Takes(least=0),
            "metrics.retention_policy.days": Takes(least=0),
        },
    ),
    "azure-native:keyvault:Secret": Facts(
        source="keyvault 2024-11-01",
        immutable=frozenset({"secret_name", "vault_name", "resource_group_name"}),
        takes={
            "secret_name": Takes(pattern=r"[a-zA-Z0-9-]{1,127}"),
            "vault_name": Takes(pattern=r"[a-zA-Z0-9-]{3,24}"),
        },
    ),
    "azure-native:appconfiguration:KeyValue": Facts(
        source="appconfiguration 2024-05-01",
        immutable=frozenset({"key_value_name", "config_store_name", "resource_group_name"}),
        takes={"config_store_name": Takes(length=(5, 50), pattern=r"[a-zA-Z0-9_-]*")},
    ),
    "azure-native:storage:StorageAccount": Facts(
        source="storage 2024-01-01",
        immutable=frozenset({"account_name", "immutable_storage_with_versioning", "location", "resource_group_name"}),
        takes={"account_name": _ACCOUNT, "resource_group_name": _GROUP},
    ),
    "azure-native:storage:BlobContainer": Facts(
        source="storage 2024-01-01",
        immutable=frozenset(
            {"account_name", "container_name", "immutable_storage_with_versioning", "resource_group_name"}
        ),
        takes={"account_name": _ACCOUNT, "container_name": Takes(length=(3, 63)), "resource_group_name": _GROUP},
    ),
    "azure-native:storage:BlobServiceProperties": Facts(
        source="storage 2024-01-01",
        immutable=frozenset({"account_name", "blob_services_name", "resource_group_name"}),
        takes={
            "account_name": _ACCOUNT,
            "container_delete_retention_policy.days": Takes(least=1, most=365),
            "resource_group_name": _GROUP,
        },
    ),
    "azure-native:storage:ManagementPolicy": Facts(
        source="storage 2024-01-01",
        immutable=frozenset({"account_name", "management_policy_name", "resource_group_name"}),
        takes={"account_name": _ACCOUNT, "resource_group_name": _GROUP},
    ),
    "azure-native:portal:Dashboard": Facts(
        source="portal 2022-12-01-preview",
        immutable=frozenset({"dashboard_name", "resource_group_name", "location"}),
        takes={"dashboard_name": Takes(length=(3, 64)), "resource_group_name": Takes(length=(1, 90))},
    ),
}
