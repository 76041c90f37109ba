"""What has to hold of a topic or queue that is adopted: that it is there, and keeps order where that is declared.

All else of it is its owner's, and no plan says anything of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polybus.plan.rules import path_of
from polybus.plan.values import Resource
from polybus.topology.model import Queue, Topic, Topology

__all__ = ["expected"]

_TYPES: Mapping[str, Mapping[type, str]] = {
    "aws": {Topic: "aws:sns/topic:Topic", Queue: "aws:sqs/queue:Queue"},
    "azure": {Topic: "azure-native:servicebus:Topic", Queue: "azure-native:servicebus:Queue"},
    "gcp": {Topic: "gcp:pubsub/topic:Topic", Queue: "gcp:pubsub/topic:Topic"},
}
# Elsewhere order is a subscription's, which is planned, or is seen in the name, and checked there (check_aws.py).
_ORDER = {"azure-native:servicebus:Queue": "requires_session"}


def expected(topology: Topology, cloud: str) -> Iterator[Resource]:
    """Give every adopted topic and queue as a resource that has what must hold alone."""
    entries: tuple[Topic | Queue, ...] = (*topology.topics.values(), *topology.queues.values())
    for entry in entries:
        if entry.existing is not None:
            type_ = _TYPES[cloud][type(entry)]
            order = {_ORDER[type_]: entry.ordered} if type_ in _ORDER else {}
            kind = "topic" if isinstance(entry, Topic) else "queue"
            name = f"{entry.name}-topic" if type_.endswith(":Topic") else f"{entry.name}-queue"
            yield Resource(type_, name, order, f"adopted {kind}", path_of(entry))
