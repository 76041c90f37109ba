"""Pass-through tables, `[topics.orders.aws]` and the like, held to the names that the provider's SDK has, at any depth.

The names are data, since what plans imports no SDK. They are of one version of each SDK; when a stack is deployed, the
SDK that is installed there has the last word, before the first resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from polybus.plan.arguments import ARGUMENTS, VERSIONS
from polybus.plan.findings import Report
from polybus.plan.names import FIFO_SUFFIX
from polybus.plan.rules import consumed, path_of
from polybus.topology.limits import AWS, AZURE, GCP, NameRule
from polybus.topology.model import Queue, Subscription, Topic, Topology
from polybus.topology.table import nearest

__all__ = ["rule", "type_of"]

_Entry: TypeAlias = Topic | Subscription | Queue

# What the plan sets by a resource of its own: beside it, an argument would be set and unset at every second update.
_ATTACHED: Mapping[str, Mapping[str, str]] = {
    "aws:sns/topic:Topic": {"policy": "aws:sns/topicPolicy:TopicPolicy"},
    "aws:sqs/queue:Queue": {
        "policy": "aws:sqs/queuePolicy:QueuePolicy",
        "redrive_policy": "aws:sqs/redrivePolicy:RedrivePolicy",
        "redrive_allow_policy": "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy",
    },
}

_NAMES: Mapping[str, tuple[str, NameRule]] = {
    "aws:sns/topic:Topic": ("name", AWS.topic_name),
    "aws:sqs/queue:Queue": ("name", AWS.queue_name),
    "azure-native:servicebus:Topic": ("topic_name", AZURE.topic_name),
    "azure-native:servicebus:Subscription": ("subscription_name", AZURE.subscription_name),
    "azure-native:servicebus:Queue": ("queue_name", AZURE.queue_name),
    "gcp:pubsub/topic:Topic": ("name", GCP.topic_name),
    "gcp:pubsub/subscription:Subscription": ("name", GCP.subscription_name),
}


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
            attached = _ATTACHED.get(type_, {})
            for name in (name for name in given if name in attached):
                limit = f"the plan sets it by a resource of its own, {attached[name]}"
                instead = "rights of the caller's own, in IAM" if name == "policy" else "max_attempts, in the topology"
                report.error(f"{path}.{name}", name, limit, instead=instead)
            _arguments(report, path, given, type_, "")
            _name(report, path, given, type_, ordered=topology.is_ordered(entry.name))


def _name(report: Report, path: str, given: Mapping[str, Any], type_: str, *, ordered: bool) -> None:
    """Refuse a physical name that the cloud doesn't take."""
    argument, rule = _NAMES.get(type_, ("", None))
    name = given.get(argument)
    if rule is None or not isinstance(name, str):
        return
    suffixed = type_.startswith("aws:") and ordered != name.endswith(FIFO_SUFFIX)
    if suffixed or not rule.accepts(name):
        report.error(f"{path}.{argument}", name, f"allowed: {rule.allowed}", source=rule.source)


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


def _arguments(report: Report, path: str, given: Mapping[str, Any], type_: str, within: str) -> None:
    """Look at every name of a table; `within` is the dotted argument whose value the table is, "" for the whole."""
    known = [name[len(within) :] for name in ARGUMENTS[type_] if name.startswith(within)]
    direct = [name for name in known if "." not in name]
    if not direct:
        return  # a table of data, such as tags
    for name, value in given.items():
        if name not in direct:
            sdk = f"pulumi_{type_.partition(':')[0].replace('-', '_')}"
            limit = f"{type_} has no such argument in {sdk} {VERSIONS[sdk]}"
            report.error(f"{path}.{name}", name, limit, instead=nearest(name, direct) or ", ".join(sorted(direct)))
            continue
        several = isinstance(value, (list, tuple))
        for at, item in enumerate(value if several else (value,)):
            if isinstance(item, Mapping):
                place = f"{path}.{name}[{at}]" if several else f"{path}.{name}"
                _arguments(report, place, item, type_, f"{within}{name}.")
