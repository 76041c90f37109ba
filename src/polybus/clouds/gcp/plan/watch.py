"""Watching on Google Cloud: alert policies of Cloud Monitoring, who hears of them, and a dashboard.

Source of the metrics: "Google Cloud metrics: pubsub" in the Cloud Monitoring documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.clouds.gcp.plan.rights import PUBLISHER, Grant, topic_member
from polybus.plan.alarms import alarms_of
from polybus.plan.names import Names
from polybus.plan.rules import consumed
from polybus.plan.values import Join, Json, Ref, Resource
from polybus.topology.model import Alarms, Queue, Subscription, Topology

__all__ = ["Scene", "resources"]

_ENTRY = "$.alarms"
_WIDGETS = 100  # of one dashboard at most ("Quotas and limits", Cloud Monitoring)
_WAITING = "subscription/num_undelivered_messages"
_AGE = "subscription/oldest_unacked_message_age"
_PUSHES = "subscription/push_request_count"
_FAILED = ' AND metric.labels.response_class != "ack"'


@dataclass(frozen=True, slots=True)
class Scene:
    """What the alarms of one stack are about; `agent` is Cloud Monitoring's own service account in the project."""

    names: Names
    inside: Mapping[str, Any]
    labels: Mapping[str, str]
    agent: Join | Ref


def resources(topology: Topology, scene: Scene) -> Iterator[Resource]:
    """Plan what `[alarms]` asks for; nothing without it."""
    names = scene.names
    alarms = topology.alarms
    if alarms is None:
        return
    channels: list[str | Ref] = []
    if alarms.notify.topic is not None:
        yield _channel("topic", "pubsub", {"topic": alarms.notify.topic}, scene)
        yield _consent(alarms.notify.topic, scene)
        channels.append(Ref("bus.alarms-topic", "id"))
    if alarms.notify.email is not None:
        yield _channel("email", "email", {"email_address": alarms.notify.email}, scene)
        channels.append(Ref("bus.alarms-email", "id"))
    common = {
        **scene.inside,
        "combiner": "OR",
        "notification_channels": channels,
        "user_labels": dict(scene.labels),
    }
    for item in consumed(topology):
        own = alarms_of(topology, item)
        for what, words, condition in _conditions(item, own, names) if own is not None else ():
            yield _policy(names, f"{item.name}-{what}", words, condition, common)
    yield from _dashboards(topology, scene)


def _conditions(item: Subscription | Queue, alarms: Alarms, names: Names) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give what an entry's alarms are about, in a word and in a sentence, and when they are raised."""
    name, source = item.name, _source(item, names)
    if alarms.dead_letters:
        words = f"{name} has dead letters: look with `polybus dead-letter list`"
        yield "letters", words, _over(_WAITING, names.dead_letters(name), alarms.dead_letters)
    if alarms.oldest_age:
        words = f"the oldest message of {name} waits too long: its consumers are down or too slow"
        yield "age", words, _over(_AGE, source, alarms.oldest_age)
    if alarms.backlog:
        words = f"{name} has a backlog: its consumers are too slow"
        yield "backlog", words, _over(_WAITING, source, alarms.backlog)
    if alarms.failed_pushes and isinstance(item, Subscription) and item.push is not None:
        words = f"Pub/Sub can't deliver {name} to its endpoint"
        yield "pushes", words, _over(_PUSHES, source, alarms.failed_pushes, more=_FAILED)


def _channel(what: str, type_: str, labels: dict[str, str], scene: Scene) -> Resource:
    properties = {
        **scene.inside,
        "type": type_,
        "display_name": f"{scene.names.of('alarms')} by {what}",
        "labels": labels,
        "user_labels": dict(scene.labels),
    }
    token = "gcp:monitoring/notificationChannel:NotificationChannel"  # noqa: S105 - a resource type, no secret
    return Resource(token, f"bus.alarms-{what}", properties, "alarm", _ENTRY)


def _consent(topic: str, scene: Scene) -> Resource:
    """Let Cloud Monitoring publish to the topic for alarms; its account is there once a channel of the kind is."""
    grant = Grant(PUBLISHER, scene.agent, "alarm", _ENTRY, after=("bus.alarms-topic",))
    return topic_member("bus.alarms-topic-agent", topic, scene.inside, grant)


def _series(metric: str, subscription: str, more: str = "") -> str:
    return (
        f'resource.type = "pubsub_subscription" AND resource.labels.subscription_id = "{subscription}" '
        f'AND metric.type = "pubsub.googleapis.com/{metric}"{more}'
    )


def _over(metric: str, subscription: str, threshold: float, *, more: str = "") -> dict[str, Any]:
    """Give a condition that holds at the threshold: Cloud Monitoring compares with greater than alone."""
    summed = metric == _PUSHES
    aligner, reducer = ("ALIGN_DELTA", "REDUCE_SUM") if summed else ("ALIGN_MAX", "REDUCE_MAX")
    return {
        "filter": _series(metric, subscription, more),
        "comparison": "COMPARISON_GT",
        "threshold_value": threshold - 1,
        "duration": "0s",
        "aggregations": [{"alignment_period": "300s", "per_series_aligner": aligner, "cross_series_reducer": reducer}],
    }


def _policy(names: Names, name: str, words: str, condition: dict[str, Any], common: Mapping[str, Any]) -> Resource:
    entry, _, what = name.rpartition("-")
    properties = {
        **common,
        "display_name": names.of(entry, suffix=f"-{what}"),
        "conditions": [{"display_name": words, "condition_threshold": condition}],
        "documentation": {"content": words, "mime_type": "text/markdown"},
    }
    token = "gcp:monitoring/alertPolicy:AlertPolicy"  # noqa: S105 - a resource type, no secret
    return Resource(token, f"{name}-alarm", properties, "alarm", _ENTRY)


def _dashboards(topology: Topology, scene: Scene) -> Iterator[Resource]:
    """Plan one chart an entry, on as many dashboards as that takes."""
    names, type_ = scene.names, "gcp:monitoring/dashboard:Dashboard"
    widgets = [{"title": item.name, "xyChart": _chart(item, names)} for item in consumed(topology)]
    for at in range(0, max(1, len(widgets)), _WIDGETS):
        more = f"-{at // _WIDGETS + 1}" if at else ""
        shown = {"columns": "3", "widgets": widgets[at : at + _WIDGETS]}
        body = {"displayName": names.of("bus", suffix=more), "gridLayout": shown}
        properties = {**scene.inside, "dashboard_json": Json(body)}
        yield Resource(type_, f"dashboard{more}", properties, "dashboard", _ENTRY)


def _source(item: Subscription | Queue, names: Names) -> str:
    """Give the subscription's name on the cloud, which may be passed on."""
    own: str | None = item.options.get("gcp", {}).get("name")
    return own or names.of(item.name)


def _chart(item: Subscription | Queue, names: Names) -> dict[str, Any]:
    """Show waiting messages, the age of the oldest, dead letters, failed pushes."""
    source, letters = _source(item, names), names.dead_letters(item.name)
    lines = [
        _data_set(_series(_WAITING, source), "waiting"),
        _data_set(_series(_WAITING, letters), "dead letters"),
        {**_data_set(_series(_AGE, source), "oldest, s"), "targetAxis": "Y2"},
    ]
    if isinstance(item, Subscription) and item.push is not None:
        lines.append(_data_set(_series(_PUSHES, source, _FAILED), "failed pushes", aligner="ALIGN_DELTA"))
    return {"dataSets": lines, "y2Axis": {"label": "oldest, s", "scale": "LINEAR"}}


def _data_set(series: str, legend: str, *, aligner: str = "ALIGN_MAX") -> dict[str, Any]:
    aggregation = {"alignmentPeriod": "60s", "perSeriesAligner": aligner}
    query = {"timeSeriesFilter": {"filter": series, "aggregation": aggregation}}
    return {"timeSeriesQuery": query, "plotType": "LINE", "legendTemplate": legend}
