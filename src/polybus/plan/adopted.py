"""What has to hold of a topic or queue that is adopted: that it is there, and keeps order where that is declared.

All else of it is its owner's, and no plan says anything of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from polybus.plan.planning import planning_of
from polybus.plan.rules import path_of
from polybus.plan.values import Resource
from polybus.topology.model import Queue, Topic, Topology

__all__ = ["expected"]


def expected(topology: Topology, cloud: str) -> Iterator[Resource]:
    """Give every adopted topic and queue as a resource that has what must hold alone."""
    planning = planning_of(cloud)
    topology = topology.on(cloud)
    entries: tuple[Topic | Queue, ...] = (*topology.topics.values(), *topology.queues.values())
    for entry in entries:
        if entry.existing is not None:
            type_ = planning.adopted[type(entry)]
            # Elsewhere order is a subscription's, which is planned, or is seen in the name, and checked there.
            order = {planning.ordered_by[type_]: entry.ordered} if type_ in planning.ordered_by else {}
            kind = "topic" if isinstance(entry, Topic) else "queue"
            name = f"{entry.name}-topic" if type_.endswith(":Topic") else f"{entry.name}-queue"
            yield Resource(type_, name, order, f"adopted {kind}", path_of(entry))
