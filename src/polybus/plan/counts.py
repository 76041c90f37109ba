"""How many entities a cloud takes: of an account, a namespace, a project, or one topic."""

from __future__ import annotations

from polybus.plan import rules as common
from polybus.plan.findings import Report
from polybus.topology.limits import AWS, AZURE, GCP, Count
from polybus.topology.model import Topology

__all__ = ["aws", "azure", "azure_most", "gcp"]


def aws(report: Report, topology: Topology) -> None:
    """Tell where AWS has to raise a quota first."""
    for topic in topology.topics:
        filters = sum(item.filter is not None for item in topology.subscriptions_of(topic))
        _quota(report, f"$.topics.{topic}", filters, "filters of one topic", AWS.filters_per_topic)
    ordered = sum(topic.ordered for topic in topology.topics.values())
    _quota(report, "$.topics", ordered, "ordered topics", AWS.fifo_topics)


def _quota(report: Report, path: str, number: int, what: str, most: Count) -> None:
    if number > most.most:
        limit = f"an account's quota is {most.most}, unless it was raised"
        instead = "a quota increase, asked for beforehand"
        report.note(path, f"{number} {what}", limit, source=most.source, instead=instead)


def azure(report: Report, topology: Topology) -> None:
    """Refuse more topics and queues than any namespace holds."""
    number, most = len(common.published(topology)), azure_most(AZURE.units[-1])
    if number > most:
        limit = f"a Premium namespace of {AZURE.units[-1]} messaging units holds {most}, a Standard one fewer"
        report.error("$", f"{number} topics and queues", limit, source=AZURE.entities.source, instead="two buses")


def azure_most(units: int | None) -> int:
    """Give how many topics and queues a namespace holds: Standard, or Premium with so many messaging units."""
    return AZURE.entities.most if units is None else AZURE.entities_per_unit.most * units


def gcp(report: Report, topology: Topology) -> None:
    """Refuse more than a project holds; dead letters have a topic and a subscription of their own."""
    consumed = len(common.consumed(topology))
    for kind, number, most in (
        ("topics", len(common.published(topology)) + consumed, GCP.topics),
        ("subscriptions", 2 * consumed, GCP.subscriptions),
    ):
        if number > most.most:
            found, limit = f"{number} {kind}, dead letters counted", f"a project holds {most.most}"
            report.error("$", found, limit, source=most.source, instead="two buses in two projects")
