"""How many entities a namespace takes."""

from __future__ import annotations

from polybus.clouds.azure.limits import AZURE
from polybus.plan import rules as common
from polybus.plan.findings import Report
from polybus.topology.model import Topology

__all__ = ["count", "most_of"]


def count(report: Report, topology: Topology) -> None:
    """Refuse more topics and queues than any namespace holds."""
    number, most = len(common.published(topology)), most_of(AZURE.units[-1])
    if number > most:
        limit = f"a Premium namespace of {AZURE.units[-1]} messaging units holds {most}, a Standard one fewer"
        report.error("$", f"{number} topics and queues", limit, source=AZURE.entities.source, instead="two buses")


def most_of(units: int | None) -> int:
    """Give how many topics and queues a namespace holds: Standard, or Premium with so many messaging units."""
    return AZURE.entities.most if units is None else AZURE.entities_per_unit.most * units
