"""Watching on AWS: CloudWatch alarms with the topology's thresholds, who hears of them, and a dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from polybus.plan.names import Names
from polybus.plan.rules import consumed
from polybus.plan.values import Json, Ref, Resource
from polybus.topology.model import Alarms, Subscription, Topology

__all__ = ["resources"]

_PERIOD = 300  # seconds: SQS publishes its metrics every minute, and one late point must raise no alarm
_ENTRY = "$.alarms"


def resources(
    topology: Topology, names: Names, tags: Mapping[str, str], kms_key: str | None, queue_name: Callable[..., str]
) -> Iterator[Resource]:
    """Plan what `[alarms]` asks for; nothing without it."""
    alarms = topology.alarms
    if alarms is None:
        return
    actions: list[str | Ref] = []
    if alarms.notify.topic is not None:
        actions.append(alarms.notify.topic)
    if alarms.notify.email is not None:
        yield from _mail(names, tags, alarms.notify.email, kms_key)
        actions.append(Ref("bus.alarms-topic", "arn"))
    common = {"alarm_actions": actions, "ok_actions": actions, "tags": dict(tags)}
    for item in consumed(topology):
        push = isinstance(item, Subscription) and item.push is not None
        yield _alarm(names, item.name, "letters", _letters(alarms, queue_name(item, letters=True)), common)
        if not push:
            yield _alarm(names, item.name, "age", _age(alarms, queue_name(item)), common)
            yield _alarm(names, item.name, "backlog", _backlog(alarms, queue_name(item)), common)
    for name in {item.topic: None for item in topology.subscriptions.values() if item.push is not None}:
        yield _alarm(names, name, "pushes", _pushes(alarms, topology, name), common)
    yield _dashboard(topology, names, queue_name)


def _mail(names: Names, tags: Mapping[str, str], email: str, kms_key: str | None) -> Iterator[Resource]:
    """Plan a topic for alarms. CloudWatch may not use SNS's managed key, so it has your key or none.

    No entry's name begins with a hyphen or has a dot, so neither name can be an entry's.
    """
    properties = {"name": names.of("-alarms"), "kms_master_key_id": kms_key, "tags": dict(tags)}
    yield Resource("aws:sns/topic:Topic", "bus.alarms-topic", properties, "alarm", _ENTRY)
    subscription = {"topic": Ref("bus.alarms-topic", "arn"), "protocol": "email", "endpoint": email}
    type_ = "aws:sns/topicSubscription:TopicSubscription"
    yield Resource(type_, "bus.alarms-subscription", subscription, "alarm", _ENTRY)


def _alarm(names: Names, entry: str, what: str, metric: dict[str, Any], common: dict[str, Any]) -> Resource:
    properties = {
        "name": names.of(f"{entry}-{what}"),
        "comparison_operator": "GreaterThanOrEqualToThreshold",
        "evaluation_periods": 1,
        "period": _PERIOD,
        "treat_missing_data": "notBreaching",
        **metric,
        **common,
    }
    return Resource("aws:cloudwatch/metricAlarm:MetricAlarm", f"{entry}-{what}-alarm", properties, "alarm", _ENTRY)


def _of_queue(metric: str, queue: str, threshold: float, description: str) -> dict[str, Any]:
    return {
        "namespace": "AWS/SQS",
        "metric_name": metric,
        "dimensions": {"QueueName": queue},
        "statistic": "Maximum",
        "threshold": threshold,
        "alarm_description": description,
    }


def _letters(alarms: Alarms, queue: str) -> dict[str, Any]:
    words = f"{queue} has dead letters: look with `polybus dead-letter list`"
    return _of_queue("ApproximateNumberOfMessagesVisible", queue, alarms.dead_letters, words)


def _age(alarms: Alarms, queue: str) -> dict[str, Any]:
    words = f"the oldest message of {queue} waits too long: its consumers are down or too slow"
    return _of_queue("ApproximateAgeOfOldestMessage", queue, alarms.oldest_age, words)


def _backlog(alarms: Alarms, queue: str) -> dict[str, Any]:
    words = f"{queue} has a backlog: its consumers are too slow"
    return _of_queue("ApproximateNumberOfMessagesVisible", queue, alarms.backlog, words)


def _pushes(alarms: Alarms, topology: Topology, topic: str) -> dict[str, Any]:
    existing = topology.topics[topic].existing
    return {
        "namespace": "AWS/SNS",
        "metric_name": "NumberOfNotificationsFailed",
        "dimensions": {"TopicName": existing.rsplit(":", 1)[-1] if existing else Ref(f"{topic}-topic", "name")},
        "statistic": "Sum",
        "threshold": alarms.failed_pushes,
        "alarm_description": f"SNS can't deliver what is published to {topic}: see the dead letters of its pushes",
    }


def _dashboard(topology: Topology, names: Names, queue_name: Callable[..., str]) -> Resource:
    """Plan one widget an entry: waiting messages, the age of the oldest, dead letters."""
    widgets: list[dict[str, Any]] = []
    for at, item in enumerate(consumed(topology)):
        letters = queue_name(item, letters=True)
        waiting = "ApproximateNumberOfMessagesVisible"
        metrics: list[list[Any]] = [["AWS/SQS", waiting, "QueueName", letters, {"label": "dead letters"}]]
        if not (isinstance(item, Subscription) and item.push is not None):
            queue, right = queue_name(item), {"label": "oldest, s", "yAxis": "right"}
            metrics.insert(0, ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue, right])
            metrics.insert(0, ["AWS/SQS", waiting, "QueueName", queue, {"label": "waiting"}])
        shown = {"title": item.name, "metrics": metrics, "stat": "Maximum", "period": _PERIOD, "view": "timeSeries"}
        place = {"x": at % 3 * 8, "y": at // 3 * 6, "width": 8, "height": 6}
        widgets.append({"type": "metric", **place, "properties": shown})
    properties = {"dashboard_name": names.of("bus"), "dashboard_body": Json({"widgets": widgets})}
    return Resource("aws:cloudwatch/dashboard:Dashboard", "dashboard", properties, "dashboard", _ENTRY)
