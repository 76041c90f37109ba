"""Watching on Azure: metric alerts on the namespace, one for each topic or queue, and who hears of them.

Azure Monitor counts dead letters and waiting messages by topic or queue; it has no age of the oldest message and no
count of failed pushes for Service Bus ("Supported metrics for Microsoft.ServiceBus/Namespaces").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polybus.plan.azure_namespace import Home
from polybus.plan.values import Ref, Resource
from polybus.topology.model import Notify

__all__ = ["resources"]

_ENTRY = "$.alarms"


def resources(home: Home) -> Iterator[Resource]:
    """Plan what `[alarms]` asks for; nothing without it."""
    alarms = home.topology.alarms
    if alarms is None:
        return
    actions: list[dict[str, Any]] = []
    if alarms.notify.topic is not None:
        actions.append({"action_group_id": alarms.notify.topic})
    if alarms.notify.email is not None:
        yield _group(home, alarms.notify)
        actions.append({"action_group_id": Ref("bus.alarms-group", "id")})
    sources = {name: home.topic(name) for name in home.topology.topics if home.topology.subscriptions_of(name)}
    sources |= {name: home.queue(name) for name in home.topology.queues}
    for name, entity in sources.items():
        letters = f"{name} has dead letters: look with `polybus dead-letter list`"
        criterion = _criterion("letters", "DeadletteredMessages", alarms.dead_letters, entity)
        yield _alert(home, f"{name}-letters", letters, criterion, actions)
        backlog = f"{name} has a backlog: its consumers are down or too slow"
        criterion = _criterion("backlog", "ActiveMessages", alarms.backlog, entity)
        yield _alert(home, f"{name}-backlog", backlog, criterion, actions)


def _group(home: Home, notify: Notify) -> Resource:
    receiver = {"name": "polybus", "email_address": notify.email, "use_common_alert_schema": True}
    properties = {
        "action_group_name": f"{home.namespace_name}-alarms",
        "resource_group_name": home.resource_group,
        "location": "Global",
        "group_short_name": home.topology.name[:12],
        "enabled": True,
        "email_receivers": [receiver],
        "tags": home.tags,
    }
    return Resource("azure-native:monitor:ActionGroup", "bus.alarms-group", properties, "alarm", _ENTRY)


def _criterion(name: str, metric: str, threshold: int, entity: str | Ref) -> dict[str, Any]:
    """Give one criterion, by the API's own names: of several forms the SDK can't tell which it is, and renames none."""
    return {
        "name": name,
        "criterionType": "StaticThresholdCriterion",
        "metricNamespace": "Microsoft.ServiceBus/namespaces",
        "metricName": metric,
        "operator": "GreaterThanOrEqual",
        "threshold": threshold,
        "timeAggregation": "Maximum",
        "dimensions": [{"name": "EntityName", "operator": "Include", "values": [entity]}],
    }


def _alert(
    home: Home, name: str, description: str, criterion: dict[str, Any], actions: list[dict[str, Any]]
) -> Resource:
    criteria = {"odataType": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria", "allOf": [criterion]}
    properties = {
        "rule_name": f"{home.namespace_name}-{name}",
        "resource_group_name": home.resource_group,
        "location": "global",
        "description": description,
        "enabled": True,
        "severity": 2,
        "scopes": [Ref("namespace", "id")],
        "evaluation_frequency": "PT5M",
        "window_size": "PT5M",
        "criteria": criteria,
        "actions": actions,
        "tags": home.tags,
    }
    return Resource("azure-native:monitor:MetricAlert", f"{name}-alarm", properties, "alarm", _ENTRY)
