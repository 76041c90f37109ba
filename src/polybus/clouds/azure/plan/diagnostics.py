"""Where the namespace's logs go, where the stack's configuration says so: a workspace, a storage account, or both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polybus.clouds.azure.plan.namespace import Home
from polybus.plan.values import Ref, Resource

__all__ = ["LOGS", "resources"]

LOGS: Mapping[str, bool] = {
    "OperationalLogs": False,
    "DiagnosticErrorLogs": False,
    "VNetAndIPFilteringLogs": False,
    "RuntimeAuditLogs": True,
    "ApplicationMetricsLogs": True,
}
"""The categories that a namespace has, and whether it takes Premium ("Azure Service Bus monitoring data reference")."""


def resources(home: Home) -> Iterator[Resource]:
    """Plan the namespace's one diagnostic setting; nothing where none is asked for."""
    given = home.settings.diagnostics
    if given is None:
        return
    properties = {
        "name": "polybus",  # of the namespace's own, which may have five
        "resource_uri": Ref("namespace", "id"),
        "workspace_id": given.workspace,
        "storage_account_id": given.storage,
        # Tables of the logs' own, and not one that all of Azure's services share.
        "log_analytics_destination_type": "Dedicated" if given.workspace is not None else None,
        "logs": [{"category": category, "enabled": True} for category in given.logs],
    }
    yield Resource("azure-native:monitor:DiagnosticSetting", "namespace-logs", properties, "log", "$.bus")
