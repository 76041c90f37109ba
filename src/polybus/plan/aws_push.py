"""Push on AWS: SNS delivers itself, to e-mail, SMS, HTTPS or a Lambda function; what it can't deliver is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from polybus.plan.aws_rights import Arns
from polybus.plan.filters_aws import compile_filter
from polybus.plan.settings import function_of
from polybus.plan.values import Json, Ref, Resource
from polybus.topology.model import Push, Subscription, Topology

__all__ = ["allow_topic", "resources"]

_LONGEST_DELAY = 3_600  # seconds between two tries of SNS over HTTPS ("Amazon SNS message delivery retries")
_MOST_RETRIES = 100  # of the same page


def allow_topic(topic: str | Ref, queue: str | Ref) -> dict[str, Any]:
    """Let one topic, and no other sender without rights of its own, send to a queue."""
    return {
        "Sid": "AllowTopic",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }


def resources(topology: Topology, item: Subscription, functions: Mapping[str, str]) -> Iterator[Resource]:
    """Plan the delivery of a push subscription, and a function's consent to it."""
    push = item.push
    if push is None:
        return
    topic, entry = Arns(topology).topic(item.topic), f"$.subscriptions.{item.name}"
    letters = f"{item.name}-dead-letters"
    after: tuple[str, ...] = (f"{letters}-access",)
    endpoint = push.endpoint
    if push.function is not None:
        endpoint = function_of(item, push, functions, "arn:")
        permission = {
            "action": "lambda:InvokeFunction",
            "function": endpoint,
            "principal": "sns.amazonaws.com",
            "source_arn": topic,
        }
        yield Resource("aws:lambda/permission:Permission", f"{item.name}-invoke", permission, "access", entry)
        after = (*after, f"{item.name}-invoke")
    policy = compile_filter(item.filter)
    properties = {
        "topic": topic,
        "protocol": "lambda" if push.function is not None else push.kind,
        "endpoint": endpoint,
        **_https(item, push),
        "filter_policy": None if policy is None else Json(policy),
        "filter_policy_scope": None if policy is None else "MessageAttributes",
        "redrive_policy": Json({"deadLetterTargetArn": Ref(letters, "arn")}),
        **item.options.get("aws", {}),
    }
    type_, name = "aws:sns/topicSubscription:TopicSubscription", f"{item.name}-subscription"
    yield Resource(type_, name, properties, "push", entry, after=after)


def _https(item: Subscription, push: Push) -> dict[str, Any]:
    """Say how often and when SNS tries an HTTPS endpoint; other protocols take no policy."""
    if push.https is None:
        return {}
    first = min(_LONGEST_DELAY, max(1, math.ceil(item.backoff.initial)))
    retry = {
        "numRetries": min(_MOST_RETRIES, item.max_attempts - 1),
        "minDelayTarget": first,
        "maxDelayTarget": min(_LONGEST_DELAY, max(first, math.ceil(item.backoff.maximum))),
        "backoffFunction": "exponential",
    }
    return {"raw_message_delivery": push.raw, "delivery_policy": Json({"healthyRetryPolicy": retry})}
