"""Where the logs of a Service Bus namespace go, and which."""

from __future__ import annotations

from typing import Any

import pytest

from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.namespace import Diagnostics
from polybus.errors import ConfigError
from polybus.plan.values import Ref, Resource

from .shop import by_name, topology

GROUP = "/subscriptions/s/resourceGroups/ops/providers"
WORKSPACE = f"{GROUP}/Microsoft.OperationalInsights/workspaces/logs"
ACCOUNT = f"{GROUP}/Microsoft.Storage/storageAccounts/logs"


def planned(given: Diagnostics | None, **more: Any) -> dict[str, Resource]:
    return by_name(azure.plan(topology(), azure.AzureSettings(location="westeurope", diagnostics=given, **more)))


def test_nothing_is_sent_unasked() -> None:
    assert "namespace-logs" not in planned(None)


def test_the_namespace_has_one_setting_with_what_was_managed_and_what_was_refused() -> None:
    setting = planned(Diagnostics(workspace=WORKSPACE))["namespace-logs"]
    assert setting.properties == {
        "name": "polybus",
        "resource_uri": Ref("namespace", "id"),
        "workspace_id": WORKSPACE,
        "log_analytics_destination_type": "Dedicated",
        "logs": [
            {"category": "OperationalLogs", "enabled": True},
            {"category": "DiagnosticErrorLogs", "enabled": True},
        ],
    }
    stored = planned(Diagnostics(storage=ACCOUNT))["namespace-logs"].properties
    assert stored["storage_account_id"] == ACCOUNT
    assert {"workspace_id", "log_analytics_destination_type"}.isdisjoint(stored)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Diagnostics(), "diagnostics: found None; allowed: workspace or storage"),
        (Diagnostics(workspace="logs"), "diagnostics.workspace: found 'logs'; allowed: a resource id"),
        (Diagnostics(storage=WORKSPACE), "diagnostics.storage: found .*; allowed: a resource id, .../storageAccounts/"),
        (Diagnostics(WORKSPACE, logs=("AllLogs",)), "diagnostics.logs: found 'AllLogs'; allowed: OperationalLogs, "),
        (Diagnostics(WORKSPACE, logs=("RuntimeAuditLogs",)), "allowed: RuntimeAuditLogs where sku is Premium alone"),
    ],
)
def test_what_azure_would_refuse_is_refused_first(given: Diagnostics, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        planned(given)


def test_premium_has_more() -> None:
    more = planned(Diagnostics(WORKSPACE, logs=("RuntimeAuditLogs",)), sku="Premium")["namespace-logs"]
    assert more.properties["logs"] == [{"category": "RuntimeAuditLogs", "enabled": True}]
