"""From where a bus is reached on AWS, and where what it adopts has to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from polybus.errors import ConfigError
from polybus.plan.later import Text, once
from polybus.plan.values import Join, Ref, Resource, unknown
from polybus.topology.model import Topology

__all__ = [
    "LONGEST_REGION",
    "QUEUE_ACTIONS",
    "REFUSE_ELSEWHERE",
    "REGION",
    "STANDING",
    "TOPIC_ACTIONS",
    "account_of",
    "domain",
    "elsewhere",
    "hold",
    "partition_of",
    "region_lookup",
]

STANDING = "polybus-given-"
"""Begins the name of a stand-in for an address that isn't known yet."""

LONGEST_REGION = 28
"""Characters that names of all regions keep for a hyphen and the region; the longest today has 14."""

REGION = Ref("region", "region")
"""The region where the stack's configuration doesn't name one: the provider's. Names have it either way."""


def region_lookup() -> Resource:
    """Ask the provider which region it is for."""
    return Resource("aws:index/getRegion:getRegion", REGION.resource, {}, "lookup", "$.bus")


REFUSE_ELSEWHERE = "RefuseOutsideEndpoints"
"""The id of the statement; what a topology doesn't say isn't compared by `check --live`, and this is how it is told."""

QUEUE_ACTIONS = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:PurgeQueue",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
)
"""What reaches messages. Settings stay within reach of whoever deploys, and within that one's rights: else a stack
locks itself out. Source: "Actions, resources, and condition keys", Service Authorization Reference."""

TOPIC_ACTIONS = ("sns:Publish",)


def partition_of(region: str | None) -> str:
    """Give the partition of a region; where none is configured, that of most accounts."""
    prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    return next((found for prefix, found in prefixes.items() if (region or "").startswith(prefix)), "aws")


def account_of(existing: str) -> str | None:
    """Give the account of what is adopted; None of a stand-in for an address that isn't known yet."""
    *_, account, name = existing.split(":", 5)
    return None if name.startswith(STANDING) else account


def domain(partition: str) -> str:
    """Give the domain of a partition's endpoints."""
    return "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"


def hold(topology: Topology, region: str | None, endpoints: Sequence[Text], kms_key: Text | None) -> None:
    """Raise ConfigError for ids that are no endpoints', and for what the stack uses from another region than its own.

    Where no region is configured, all that names one has to name the same.
    """
    for endpoint in endpoints:
        once(endpoint, _endpoint)
    for place, found, why in _regions(topology, kms_key):
        if region is not None and found != region:
            raise ConfigError(f"{place}: found a resource of {found}; the stack is in {region}, and {why}")
        region = found


def _regions(topology: Topology, kms_key: Text | None) -> Iterator[tuple[str, str, str]]:
    """Give the place of everything that names a region, the region, and why it can be no other."""
    for section, entries in (("topics", topology.topics), ("queues", topology.queues)):
        for entry in entries.values():
            if entry.existing and account_of(entry.existing) is not None:
                place = f"{topology.source}: at $.{section}.{entry.name}.existing: aws"
                yield place, entry.existing.split(":")[3], "clients reach one region"
    if isinstance(kms_key, str):
        yield "aws kmsKey", kms_key.split(":")[3], "SNS and SQS use the keys of their own region"
    notified = topology.alarms.notify.topic if topology.alarms is not None else None
    if notified is not None and not unknown(notified):
        place = f"{topology.source}: at $.alarms.notify.topic: aws"
        yield place, notified.split(":")[3], "CloudWatch tells topics of its own region"


def elsewhere(actions: Sequence[str], arn: str | Ref | Join, endpoints: Sequence[Text]) -> list[dict[str, Any]]:
    """Refuse what doesn't come through one of the VPC endpoints, where there are any.

    A Deny gives no rights, so it may name everyone. Without an endpoint a request has no aws:SourceVpce, which is
    unequal to any. Services call from outside: SNS, which delivers, is one ("AWS global condition context keys",
    aws:PrincipalIsAWSService; requests without credentials have no such key, and are refused too).
    """
    if not endpoints:
        return []
    return [
        {
            "Sid": REFUSE_ELSEWHERE,
            "Effect": "Deny",
            "Principal": "*",
            "Action": list(actions),
            "Resource": arn,
            "Condition": {
                "StringNotEquals": {"aws:SourceVpce": [once(endpoint, _endpoint) for endpoint in endpoints]},
                "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
            },
        }
    ]


def _endpoint(id_: str) -> str:
    if not id_.startswith("vpce-"):
        allowed = "ids of VPC endpoints, such as vpce-1a2b3c4d"
        raise ConfigError(f"aws vpcEndpoints: found {id_!r}; allowed: {allowed}")
    return id_
