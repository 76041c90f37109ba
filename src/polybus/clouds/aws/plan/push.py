"""Push on AWS: SNS delivers itself, to e-mail, SMS, HTTPS, a Lambda function or a queue of the bus.

What it can't deliver is kept, in a queue of dead letters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polybus.clouds.aws.plan.filters import compile_filter
from polybus.clouds.aws.plan.rights import Arns
from polybus.plan.later import Text, once
from polybus.plan.settings import function_of, with_options
from polybus.plan.values import Json, Ref, Resource
from polybus.topology.model import Push, Subscription, Topology

__all__ = [
    "FUNCTION",
    "LONGEST_RETRY",
    "MOST_RETRIES",
    "allow_topic",
    "is_function",
    "longest_retry",
    "resources",
    "retries",
]

LONGEST_RETRY = 3_600  # seconds that SNS tries over HTTPS in all ("Amazon SNS message delivery retries")
MOST_RETRIES = 100  # of the same page
FUNCTION = "arn:aws:lambda:<region>:<account>:function:<name>"
_ARN = re.compile(r"arn:[\w-]+:lambda:[\w-]+:\d+:function:[\w-]+(:[\w$-]+)?", re.ASCII)
_PARTS_OF_FUNCTION = 7  # arn:aws:lambda:<region>:<account>:function:<name>, then a version or an alias


def is_function(text: str) -> bool:
    """Tell whether a text has the form of a Lambda function's ARN."""
    return _ARN.fullmatch(text) is not None


def allow_topic(topics: Sequence[str | Ref], queue: str | Ref) -> dict[str, Any]:
    """Let some topics, and no other sender without rights of its own, send to a queue."""
    return {
        "Sid": "AllowTopic",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topics[0] if len(topics) == 1 else list(topics)}},
    }


def resources(topology: Topology, item: Subscription, functions: Mapping[str, Text]) -> Iterator[Resource]:
    """Plan the delivery of a push subscription, and a function's consent to it."""
    push = item.push
    if push is None:
        return
    topic, entry = Arns(topology).topic(item.topic), f"$.subscriptions.{item.name}"
    letters = f"{item.name}-dead-letters"
    after: tuple[str, ...] = (f"{letters}-access",)
    endpoint: Text | Ref = push.endpoint
    if push.function is not None:
        function = endpoint = function_of(item, push, functions, "arn:")
        permission = {
            "action": "lambda:InvokeFunction",
            **_function(function),
            "principal": "sns.amazonaws.com",
            "source_arn": topic,
        }
        yield Resource("aws:lambda/permission:Permission", f"{item.name}-invoke", permission, "access", entry)
        after = (*after, f"{item.name}-invoke")
    if push.forward is not None:
        endpoint = Arns(topology).source(push.forward)
        if topology.queues[push.forward].existing is None:
            after = (*after, f"{push.forward}-queue-access")
    policy = compile_filter(item.filter)
    properties = {
        "topic": topic,
        "protocol": {"function": "lambda", "forward": "sqs"}.get(push.kind, push.kind),
        "endpoint": endpoint,
        **_form(item, push),
        "filter_policy": None if policy is None else Json(policy),
        "filter_policy_scope": None if policy is None else "MessageAttributes",
        "redrive_policy": Json({"deadLetterTargetArn": Ref(letters, "arn")}),
    }
    properties = with_options(properties, item.options.get("aws", {}))
    type_, name = "aws:sns/topicSubscription:TopicSubscription", f"{item.name}-subscription"
    yield Resource(type_, name, properties, "push", entry, after=after)


def retries(item: Subscription) -> tuple[int, int, int]:
    """Give how often SNS tries an HTTPS endpoint again, and its shortest and longest wait in seconds."""
    first = max(1, math.ceil(item.backoff.initial))
    return item.max_attempts - 1, first, max(first, math.ceil(item.backoff.maximum))


def longest_retry(item: Subscription) -> float:
    """Give the seconds that all retries of an HTTPS endpoint take at most.

    How SNS spreads its waits between the shortest and the longest it doesn't say; none of its backoff functions has
    longer ones than the linear.
    """
    count, first, longest = retries(item)
    return count * (first + longest) / 2


def _function(arn: Text) -> dict[str, Any]:
    """Tell a function from the version or alias that its ARN may end with: the permission is on that one alone."""
    return {"function": once(arn, _unqualified), "qualifier": once(arn, _qualifier)}


def _unqualified(arn: str) -> str:
    return ":".join(arn.split(":")[:_PARTS_OF_FUNCTION])


def _qualifier(arn: str) -> str | None:
    return next(iter(arn.split(":")[_PARTS_OF_FUNCTION:]), None)


def _form(item: Subscription, push: Push) -> dict[str, Any]:
    """Say how SNS delivers to a queue, and how often and when to an HTTPS endpoint; other protocols take no policy."""
    if push.forward is not None:
        return {"raw_message_delivery": True}
    if push.https is None:
        return {}
    count, first, longest = retries(item)
    retry = {"numRetries": count, "minDelayTarget": first, "maxDelayTarget": longest}
    policy = {"healthyRetryPolicy": {**retry, "backoffFunction": "exponential"}}
    return {"raw_message_delivery": push.raw, "delivery_policy": Json(policy)}
