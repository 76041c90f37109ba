"""Watching on AWS: CloudWatch alarms with the topology's thresholds, who hears of them, and a dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.clouds.aws.plan import composite
from polybus.clouds.aws.plan.rights import insecure
from polybus.plan.alarms import alarms_of, lowest
from polybus.plan.later import Text
from polybus.plan.names import Names
from polybus.plan.rules import consumed
from polybus.plan.values import Json, Ref, Resource, joined
from polybus.topology.model import Alarms, Queue, Subscription, Topology

__all__ = ["Scene", "resources", "watched"]

_PERIOD = 300  # seconds: SQS publishes its metrics every minute, and one late point must raise no alarm
_ENTRY = "$.alarms"
_WIDGETS = 498  # of one dashboard: CloudWatch allows 500 ("CloudWatch service quotas"), and a row has three


@dataclass(frozen=True, slots=True)
class Scene:
    """What the alarms of one stack are about, and where."""

    names: Names
    tags: Mapping[str, str]
    kms_key: Text | None
    region: str | Ref
    queue_name: Callable[..., str]
    composite: composite.By | None = None


def resources(topology: Topology, scene: Scene) -> Iterator[Resource]:
    """Plan what `[alarms]` asks for; nothing without it."""
    names, tags = scene.names, scene.tags
    alarms = topology.alarms
    if alarms is None:
        return
    actions: list[str | Ref] = []
    if alarms.notify.topic is not None:
        actions.append(alarms.notify.topic)
    if alarms.notify.email is not None:
        yield from _mail(names, tags, alarms.notify.email, scene.kms_key)
        actions.append(Ref("bus.alarms-topic", "arn"))
    common = {"alarm_actions": actions, "ok_actions": actions, "tags": dict(tags)}
    yield from _alarms(topology, scene, common)
    if consumed(topology):
        yield from _dashboards(topology, scene)


def _alarms(topology: Topology, scene: Scene, common: dict[str, Any]) -> Iterator[Resource]:
    """Plan the alarms, and those that page in the place of several."""
    found = {
        composite.Alarm(entry, what, _logical(entry, what), scene.names.of(entry, suffix=f"-{what}")): metric
        for entry, what, metric in watched(topology, scene.queue_name)
    }
    groups = composite.groups(topology, scene.composite, list(found))
    grouped = {alarm for group in groups for alarm in group.alarms}
    for alarm, metric in found.items():
        yield _alarm(alarm, metric, composite.silent(common) if alarm in grouped else common)
    for group in groups:
        yield from composite.resources(scene.names, group, common)


def watched(topology: Topology, queue_name: Callable[..., str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give every alarm: of which entry, what it is about, and its metric with the threshold."""
    for item in consumed(topology):
        alarms = alarms_of(topology, item)
        if alarms is None:
            continue
        if alarms.dead_letters:
            yield item.name, "letters", _letters(alarms, queue_name(item, letters=True))
        if isinstance(item, Subscription) and item.push is not None:
            continue  # it has no queue, in which anything could wait
        if alarms.oldest_age:
            yield item.name, "age", _age(alarms, queue_name(item))
        if alarms.backlog:
            yield item.name, "backlog", _backlog(alarms, queue_name(item))
    for name, subscriptions in _by_topic(topology).items():
        failed = lowest(topology, subscriptions, "failed_pushes")
        if failed:
            yield name, "undelivered", _undelivered(failed, topology, name)
        if any(alarms_of(topology, item) is not None for item in subscriptions):
            yield name, "lost", _lost(topology, name)


def _by_topic(topology: Topology) -> dict[str, list[Subscription]]:
    found: dict[str, list[Subscription]] = {}
    for item in topology.subscriptions.values():
        found.setdefault(item.topic, []).append(item)
    return found


def _mail(names: Names, tags: Mapping[str, str], email: str, kms_key: Text | None) -> Iterator[Resource]:
    """Plan a topic for alarms. CloudWatch may not use SNS's managed key, so it has your key or none.

    No entry's name begins with a hyphen or has a dot, so neither name can be an entry's.
    """
    properties = {"name": names.of("", suffix="--alarms"), "kms_master_key_id": kms_key, "tags": dict(tags)}
    yield Resource("aws:sns/topic:Topic", "bus.alarms-topic", properties, "alarm", _ENTRY)
    arn = Ref("bus.alarms-topic", "arn")
    allow = {
        "Sid": "AllowAlarms",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": arn,
        # The account's own alarms; their ARNs can't be named, since each names this topic.
        "Condition": {"StringEquals": {"aws:SourceAccount": Ref("bus.alarms-topic", "owner")}},
    }
    policy = {"Version": "2012-10-17", "Statement": [allow, insecure("sns:Publish", arn)]}
    access = {"arn": arn, "policy": Json(policy)}
    yield Resource("aws:sns/topicPolicy:TopicPolicy", "bus.alarms-access", access, "alarm", _ENTRY)
    subscription = {"topic": Ref("bus.alarms-topic", "arn"), "protocol": "email", "endpoint": email}
    type_ = "aws:sns/topicSubscription:TopicSubscription"
    yield Resource(type_, "bus.alarms-subscription", subscription, "alarm", _ENTRY)


def _logical(entry: str, what: str) -> str:
    return f"{entry}-{what}-alarm"


def _alarm(alarm: composite.Alarm, metric: dict[str, Any], common: dict[str, Any]) -> Resource:
    properties = {
        "name": alarm.physical,
        "comparison_operator": "GreaterThanOrEqualToThreshold",
        "evaluation_periods": 1,
        "period": _PERIOD,
        "treat_missing_data": "notBreaching",
        **metric,
        **common,
    }
    return Resource("aws:cloudwatch/metricAlarm:MetricAlarm", alarm.logical, properties, "alarm", _ENTRY)


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


def _topic_name(topology: Topology, topic: str) -> str | Ref:
    existing = topology.topics[topic].existing
    return existing.rsplit(":", 1)[-1] if existing else Ref(f"{topic}-topic", "name")


def _undelivered(threshold: float, topology: Topology, topic: str) -> dict[str, Any]:
    words = f"SNS can't deliver what is published to {topic}: see the dead letters of its subscriptions"
    return _of_topic("NumberOfNotificationsFailed", _topic_name(topology, topic), threshold, words)


def _lost(topology: Topology, topic: str) -> dict[str, Any]:
    """Watch what is in no queue at all: SNS could neither deliver it nor leave it with the dead letters."""
    words = (
        f"SNS lost what was published to {topic}: it may not send to a subscription's dead letters, or use their key"
    )
    return _of_topic("NumberOfNotificationsFailedToRedriveToDlq", _topic_name(topology, topic), 1, words)


def _of_topic(metric: str, topic: str | Ref, threshold: float, description: str) -> dict[str, Any]:
    return {
        "namespace": "AWS/SNS",
        "metric_name": metric,
        "dimensions": {"TopicName": topic},
        "statistic": "Sum",
        "threshold": threshold,
        "alarm_description": description,
    }


def _dashboards(topology: Topology, scene: Scene) -> Iterator[Resource]:
    """Plan one widget an entry: waiting messages, the age of the oldest, dead letters, what SNS delivered and didn't.

    CloudWatch refuses a widget that names no region. Dashboards are the account's, whatever the region is.
    """
    region = scene.region
    widgets: list[dict[str, Any]] = []
    for at, item in enumerate(consumed(topology)):
        shown = {"title": item.name, "metrics": _lines(topology, item, scene.queue_name), "region": region}
        look = {"stat": "Maximum", "period": _PERIOD, "view": "timeSeries"}
        place = {"x": at % 3 * 8, "y": at % _WIDGETS // 3 * 6, "width": 8, "height": 6}
        widgets.append({"type": "metric", **place, "properties": {**shown, **look}})
    for at in range(0, len(widgets), _WIDGETS):
        more = f"-{at // _WIDGETS + 1}" if at else ""
        body = Json({"widgets": widgets[at : at + _WIDGETS]})
        name = joined(scene.names.of("bus", suffix="-"), region, more)
        properties = {"dashboard_name": name, "dashboard_body": body}
        yield Resource("aws:cloudwatch/dashboard:Dashboard", f"dashboard{more}", properties, "dashboard", _ENTRY)


def _lines(topology: Topology, item: Subscription | Queue, queue_name: Callable[..., str]) -> list[list[Any]]:
    letters, waiting = queue_name(item, letters=True), "ApproximateNumberOfMessagesVisible"
    dead: list[Any] = ["AWS/SQS", waiting, "QueueName", letters, {"label": "dead letters"}]
    if isinstance(item, Subscription) and item.push is not None:
        topic = _topic_name(topology, item.topic)
        counts = (("NumberOfNotificationsDelivered", "delivered"), ("NumberOfNotificationsFailed", "failed"))
        of_topic = [
            ["AWS/SNS", metric, "TopicName", topic, {"label": f"{label}, whole topic", "stat": "Sum"}]
            for metric, label in counts
        ]
        return [*of_topic, dead]
    queue, right = queue_name(item), {"label": "oldest, s", "yAxis": "right"}
    lines: list[list[Any]] = [
        ["AWS/SQS", waiting, "QueueName", queue, {"label": "waiting"}],
        ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue, right],
        dead,
    ]
    if isinstance(item, Subscription):
        redriven = {"label": "to dead letters by SNS, whole topic", "stat": "Sum"}
        topic = _topic_name(topology, item.topic)
        lines.append(["AWS/SNS", "NumberOfNotificationsRedrivenToDlq", "TopicName", topic, redriven])
    return lines
