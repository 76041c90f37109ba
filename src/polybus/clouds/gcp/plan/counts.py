"""How many entities a project takes."""

from __future__ import annotations

from polybus.clouds.gcp.limits import GCP
from polybus.plan import rules as common
from polybus.plan.findings import Report
from polybus.topology.model import Topology

__all__ = ["count"]


def count(report: Report, topology: Topology) -> None:
    """Refuse more than a project holds; dead letters have a topic and a subscription of their own."""
    consumed = len(common.consumed(topology))
    for kind, number, most in (
        ("topics", len(common.published(topology)) + consumed, GCP.topics),
        ("subscriptions", 2 * consumed, GCP.subscriptions),
    ):
        if number > most.most:
            found, limit = f"{number} {kind}, dead letters counted", f"a project holds {most.most}"
            report.error("$", found, limit, source=most.source, instead="two buses in two projects")
