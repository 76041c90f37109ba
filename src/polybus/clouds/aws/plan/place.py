"""From where a bus is reached on AWS, and where what it adopts has to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polybus.errors import ConfigError
from polybus.plan.later import Text, once
from polybus.plan.values import Ref
from polybus.topology.model import Topology

__all__ = ["QUEUE_ACTIONS", "REFUSE_ELSEWHERE", "TOPIC_ACTIONS", "elsewhere", "hold"]

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


def hold(topology: Topology, region: str | None, endpoints: Sequence[Text]) -> None:
    """Raise ConfigError for ids that are no endpoints', and for what is adopted from another region."""
    for endpoint in endpoints:
        once(endpoint, _endpoint)
    for section, entries in (("topics", topology.topics), ("queues", topology.queues)):
        for entry in entries.values():
            found = entry.existing.split(":")[3] if entry.existing else region
            if region is not None and found != region:
                raise ConfigError(
                    f"{topology.source}: at $.{section}.{entry.name}.existing: aws: found a resource of {found}; the "
                    f"stack is in {region}, and clients reach one region"
                )


def elsewhere(actions: Sequence[str], arn: str | Ref, endpoints: Sequence[Text]) -> list[dict[str, Any]]:
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
