"""Watching on Azure: metric alerts on the namespace, one for each topic or queue, who hears of them, and a dashboard.

Azure Monitor counts dead letters and waiting messages by topic or queue; it has no age of the oldest message and no
count of failed pushes for Service Bus ("Supported metrics for Microsoft.ServiceBus/Namespaces"): `check` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polybus.clouds.azure.plan.namespace import Home
from polybus.plan.alarms import Threshold, alarms_of, lowest
from polybus.plan.values import Ref, Resource
from polybus.topology.model import Notify, Topology

__all__ = ["resources"]

_ENTRY = "$.alarms"
_METRICS = "Microsoft.ServiceBus/namespaces"
_LETTERS, _WAITING = "DeadletteredMessages", "ActiveMessages"
_MAXIMUM = 3  # the portal's number of an aggregation ("The structure of Azure dashboards")
_LINES = 2  # and of a kind of chart
_ACROSS, _WIDE, _HIGH = 3, 6, 4  # charts in a row, and the tiles of one: the portal's own size of a metrics chart


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
        threshold = _threshold(home.topology, name, "dead_letters")
        if threshold:
            letters = f"{name} has dead letters: look with `polybus dead-letter list`"
            yield _alert(home, f"{name}-letters", letters, _criterion("letters", _LETTERS, threshold, entity), actions)
        threshold = _threshold(home.topology, name, "backlog")
        if threshold:
            backlog = f"{name} has a backlog: its consumers are down or too slow"
            yield _alert(home, f"{name}-backlog", backlog, _criterion("backlog", _WAITING, threshold, entity), actions)
    if sources:
        yield _dashboard(home, sources)


def _threshold(topology: Topology, name: str, what: Threshold) -> float:
    """Give the threshold of a queue, or of all that subscribes to a topic; 0 for none."""
    if name in topology.topics:
        return lowest(topology, topology.subscriptions_of(name), what)
    alarms = alarms_of(topology, topology.queues[name])
    return getattr(alarms, what) if alarms is not None else 0


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


def _criterion(name: str, metric: str, threshold: float, entity: str | Ref) -> dict[str, Any]:
    """Give one criterion, by the API's own names: of several forms the SDK can't tell which it is, and renames none."""
    return {
        "name": name,
        "criterionType": "StaticThresholdCriterion",
        "metricNamespace": _METRICS,
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


def _dashboard(home: Home, sources: Mapping[str, str | Ref]) -> Resource:
    """Plan one chart a topic or queue: waiting messages and dead letters."""
    parts = [_chart(at, name, entity) for at, (name, entity) in enumerate(sources.items())]
    properties = {
        "dashboard_name": f"{home.namespace_name}-bus",
        **home.located,
        "tags": {**home.tags, "hidden-title": f"{home.namespace_name}: bus"},
        "properties": {"lenses": [{"order": 0, "parts": parts}]},
    }
    return Resource("azure-native:portal:Dashboard", "dashboard", properties, "dashboard", _ENTRY)


def _chart(at: int, name: str, entity: str | Ref) -> dict[str, Any]:
    """Give one part: what is in `settings` has the portal's own names, which the SDK passes on as they are."""
    chart = {
        "title": name,
        "titleKind": 2,  # the title above, and not one that the portal makes of the metrics
        "metrics": [_metric(_WAITING, "waiting"), _metric(_LETTERS, "dead letters")],
        "filterCollection": {"filters": [{"key": "EntityName", "operator": 0, "values": [entity]}]},
        "visualization": {"chartType": _LINES},
    }
    optional = [{"name": "options", "isOptional": True}, {"name": "sharedTimeRange", "isOptional": True}]
    return {
        "position": {"x": at % _ACROSS * _WIDE, "y": at // _ACROSS * _HIGH, "col_span": _WIDE, "row_span": _HIGH},
        "metadata": {
            "type": "Extension/HubsExtension/PartType/MonitorChartPart",
            "inputs": optional,
            "settings": {"content": {"options": {"chart": chart}}},
        },
    }


def _metric(name: str, legend: str) -> dict[str, Any]:
    return {
        "resourceMetadata": {"id": Ref("namespace", "id")},
        "name": name,
        "namespace": _METRICS.lower(),
        "aggregationType": _MAXIMUM,
        "metricVisualization": {"displayName": legend},
    }
