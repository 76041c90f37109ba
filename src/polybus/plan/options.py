"""Pass-through tables, `[topics.orders.aws]` and the like, held to the names that the provider's SDK has.

The names are data, since what plans imports no SDK. They are of one version of each SDK; when a stack is deployed, the
SDK that is installed there has the last word, before the first resource.
"""

from __future__ import annotations

from typing import TypeAlias

from polybus.plan.arguments import ARGUMENTS, VERSIONS
from polybus.plan.findings import Report
from polybus.plan.rules import consumed, path_of
from polybus.topology.model import Queue, Subscription, Topic, Topology
from polybus.topology.table import nearest

__all__ = ["rule", "type_of"]

_Entry: TypeAlias = Topic | Subscription | Queue


def rule(report: Report, topology: Topology, cloud: str) -> None:
    """Refuse arguments that the resource doesn't have, and those of a resource that isn't made."""
    entries: tuple[_Entry, ...] = (*topology.topics.values(), *consumed(topology))
    for entry in entries:
        given, path = entry.options.get(cloud, {}), f"{path_of(entry)}.{cloud}"
        type_ = type_of(entry, cloud)
        if given and type_ is None:
            limit = "what exists already is adopted as it is, so no arguments are passed on"
            report.error(path, ", ".join(given), limit, instead="these on the resource itself, where it is declared")
        elif type_ is not None:
            for name in given:
                _argument(report, f"{path}.{name}", name, type_)


def type_of(entry: _Entry, cloud: str) -> str | None:
    """Give the type of the resource that an entry's arguments go to, None where it is adopted and so not made."""
    if isinstance(entry, Subscription):
        push = "aws:sns/topicSubscription:TopicSubscription"
        aws = "aws:sqs/queue:Queue" if entry.push is None else push
        return {
            "aws": aws,
            "azure": "azure-native:servicebus:Subscription",
            "gcp": "gcp:pubsub/subscription:Subscription",
        }[cloud]
    if isinstance(entry, Queue) and cloud == "gcp":
        return "gcp:pubsub/subscription:Subscription"  # of an adopted topic too
    if entry.existing is not None:
        return None
    types = {
        Topic: {
            "aws": "aws:sns/topic:Topic",
            "azure": "azure-native:servicebus:Topic",
            "gcp": "gcp:pubsub/topic:Topic",
        },
        Queue: {"aws": "aws:sqs/queue:Queue", "azure": "azure-native:servicebus:Queue"},
    }
    return types[type(entry)][cloud]


def _argument(report: Report, path: str, name: str, type_: str) -> None:
    known = ARGUMENTS[type_]
    if name not in known:
        sdk = f"pulumi_{type_.partition(':')[0].replace('-', '_')}"
        limit = f"{type_} has no such argument in {sdk} {VERSIONS[sdk]}"
        report.error(path, name, limit, instead=nearest(name, known) or ", ".join(sorted(known)))
