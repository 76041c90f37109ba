"""Who may come in beside the services of a bus: what of it is meant for a cloud."""

from __future__ import annotations

from collections.abc import Iterator

from polybus.plan.findings import Report
from polybus.plan.rules import path_of, published
from polybus.topology.model import Allow, Queue, Topic, Topology

__all__ = ["allowed_on", "no_conditions", "outsiders"]


def allowed_on(cloud: str, entry: Topic | Queue) -> list[Allow]:
    """List whom an entry lets in on a cloud."""
    return [allow for allow in entry.allow if allow.cloud in (None, cloud)]


def outsiders(topology: Topology, cloud: str) -> Iterator[tuple[str, Topic | Queue, Allow]]:
    """Give everyone who is let in on a cloud, with the place in the topology and the entry."""
    for entry in published(topology):
        for number, allow in enumerate(entry.allow):
            if allow.cloud in (None, cloud):
                yield f"{path_of(entry)}.allow[{number}]", entry, allow


def no_conditions(report: Report, path: str, allow: Allow) -> None:
    """Refuse conditions, on a cloud whose plan makes none."""
    if allow.conditions:
        report.error(f"{path}.conditions", ", ".join(allow.conditions), "the plan for this cloud makes no conditions")
