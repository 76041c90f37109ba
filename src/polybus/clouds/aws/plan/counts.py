"""How many entities an account, or one topic, takes."""

from __future__ import annotations

from polybus.clouds.aws.limits import AWS
from polybus.clouds.aws.plan.watch import watched
from polybus.plan.findings import Report
from polybus.topology.limits import Count
from polybus.topology.model import Topology

__all__ = ["count"]


def count(report: Report, topology: Topology) -> None:
    """Tell where AWS has to raise a quota first."""
    for topic in topology.topics:
        filters = sum(item.filter is not None for item in topology.subscriptions_of(topic))
        _quota(report, f"$.topics.{topic}", filters, "filters of one topic", AWS.filters_per_topic)
    filters = sum(item.filter is not None for item in topology.subscriptions.values())
    _quota(report, "$.subscriptions", filters, "filters", AWS.filters_per_account)
    _quota(report, "$.alarms", _alarms(topology), "alarms", AWS.alarms)
    ordered = sum(topic.ordered for topic in topology.topics.values())
    _quota(report, "$.topics", ordered, "ordered topics", AWS.fifo_topics)


def _alarms(topology: Topology) -> int:
    """Count alarms as they are planned."""
    return sum(1 for _ in watched(topology, lambda item, letters=False: item.name))


def _quota(report: Report, path: str, number: int, what: str, most: Count) -> None:
    if number > most.most:
        limit = f"an account's quota is {most.most}, unless it was raised"
        instead = "a quota increase, asked for beforehand"
        report.note(path, f"{number} {what}", limit, source=most.source, instead=instead)
