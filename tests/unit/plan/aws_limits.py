"""What AWS allows, from the service models of SNS, SQS, IAM and CloudWatch, and from the quotas in their guides."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from polybus.plan.values import Join, Json, Ref

from .limit import (
    Count,
    Limit,
    Plan,
    Properties,
    fifo,
    has,
    of,
    plan_of,
    spelled,
    tagged,
    text,
    within,
)

_SNS, _SQS = "aws:sns/topic:Topic", "aws:sqs/queue:Queue"
_SUBSCRIBED, _ALARM = "aws:sns/topicSubscription:TopicSubscription", "aws:cloudwatch/metricAlarm:MetricAlarm"
_COMPOSITE, _ROLE = "aws:cloudwatch/compositeAlarm:CompositeAlarm", "aws:iam/role:Role"
_ROLE_POLICY, _LOG = "aws:iam/rolePolicy:RolePolicy", "aws:cloudwatch/logGroup:LogGroup"
_IAM, _BOARD = "aws:iam/policy:Policy", "aws:cloudwatch/dashboard:Dashboard"
_REDRIVE = "aws:sqs/redrivePolicy:RedrivePolicy"
_ALLOW = "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy"
_S3 = "aws:s3/bucket:Bucket"
_EXPIRY = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
_MANY = {f"key-{number}": "v" for number in range(51)}
_EMPTY = {"Version": "2012-10-17"}


def arrays(policy: Mapping[str, Any]) -> list[list[Any]]:
    own = [values for key, values in policy.items() if key != "$or"]
    return own + [values for branch in policy.get("$or", ()) for values in branch.values()]


def combinations(policy: Mapping[str, Any]) -> int:
    product = 1
    for values in arrays(policy):
        product *= len(values)
    return product


def retries(properties: Properties) -> bool:
    policy = properties["delivery_policy"].value["healthyRetryPolicy"]
    return 0 <= policy["numRetries"] <= 100 and 1 <= policy["minDelayTarget"] <= policy["maxDelayTarget"] <= 3_600


def _to_topics(plan: Plan, where: Callable[[Properties], bool]) -> Counter[str]:
    return Counter(str(one["topic"]) for one in of(plan, _SUBSCRIBED) if where(plan_of(plan, one["topic"])))


def bucket_name(properties: Properties) -> bool:
    """Hold a name with the longest region in it ("General purpose bucket naming rules", Amazon S3 User Guide)."""
    name = properties["bucket"]
    parts = name.parts if isinstance(name, Join) else (name,)
    whole = "".join(
        {"account": "123456789012", "region": "us-isof-south-1"}[p.resource] if isinstance(p, Ref) else p for p in parts
    )
    return re.fullmatch(r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", whole) is not None


LIMITS = (
    Limit(
        "bucket name",
        (_S3,),
        bucket_name,
        {"bucket": Join(("x" * 40, "-", Ref("account", "account_id"), "-", Ref("region", "region")))},
    ),
    Limit(
        "an object's age",
        (_EXPIRY,),
        lambda p: all(
            type(rule["expiration"]["days"]) is int and rule["expiration"]["days"] > 0 for rule in p["rules"]
        ),
        {"rules": [{"expiration": {"days": 0}}]},
    ),
    Limit("topic name", (_SNS,), lambda p: len(p["name"]) <= 256, {"name": "x" * 257}),
    Limit("topic name's characters", (_SNS,), spelled("name", r"[A-Za-z0-9_-]+(\.fifo)?"), {"name": "a.b"}),
    Limit("queue name", (_SQS,), lambda p: 1 <= len(p["name"]) <= 80, {"name": "x" * 81}),
    Limit("queue name's characters", (_SQS,), spelled("name", r"[A-Za-z0-9_-]+(\.fifo)?"), {"name": "a.b"}),
    Limit(
        "FIFO suffix", (_SNS, _SQS), lambda p: p["name"].endswith(".fifo") is fifo(p), {"name": "x", "fifo_queue": True}
    ),
    Limit(
        "visibility", (_SQS,), within("visibility_timeout_seconds", 0, 43_200), {"visibility_timeout_seconds": 43_201}
    ),
    Limit("retention", (_SQS,), within("message_retention_seconds", 60, 1_209_600), {"message_retention_seconds": 59}),
    Limit("queue's message size", (_SQS,), within("max_message_size", 1_024, 1_048_576), {"max_message_size": 1_023}),
    Limit(
        "topic's message size",
        (_SNS,),
        within("maximum_message_size", 1_024, 1_048_576),
        {"maximum_message_size": 1_048_577},
        has("maximum_message_size"),
    ),
    Limit("long poll", (_SQS,), within("receive_wait_time_seconds", 0, 20), {"receive_wait_time_seconds": 21}),
    Limit(
        "max receives",
        (_REDRIVE,),
        lambda p: within("n", 1, 1_000)({"n": p["redrive_policy"].value["maxReceiveCount"]}),
        {"redrive_policy": Json({"maxReceiveCount": "25"})},
    ),
    Limit(
        "sources of dead letters",
        (_ALLOW,),
        lambda p: len(p["redrive_allow_policy"].value["sourceQueueArns"]) <= 10,
        {"redrive_allow_policy": Json({"sourceQueueArns": [""] * 11})},
    ),
    Limit(
        "filter keys",
        (_SUBSCRIBED,),
        lambda p: len(arrays(p["filter_policy"].value)) <= 5,
        {"filter_policy": Json({name: ["x"] for name in "abcdef"})},
        has("filter_policy"),
    ),
    Limit(
        "filter combinations",
        (_SUBSCRIBED,),
        lambda p: combinations(p["filter_policy"].value) <= 150,
        {"filter_policy": Json({"a": ["x"] * 151})},
        has("filter_policy"),
    ),
    Limit(
        "filter bytes",
        (_SUBSCRIBED,),
        lambda p: len(text(p["filter_policy"].value).encode()) <= 256 * 1_024,
        {"filter_policy": Json({"a": ["é" * 131_072]})},
        has("filter_policy"),
    ),
    Limit(
        "retries over HTTPS",
        (_SUBSCRIBED,),
        retries,
        {"delivery_policy": Json({"healthyRetryPolicy": {"numRetries": 3, "minDelayTarget": 0, "maxDelayTarget": 1}})},
        has("delivery_policy"),
    ),
    Limit(
        "statements of an access policy",
        ("aws:sqs/queuePolicy:QueuePolicy", "aws:sns/topicPolicy:TopicPolicy"),
        lambda p: len(p["policy"].value["Statement"]) <= 20,
        {"policy": Json({**_EMPTY, "Statement": [{}] * 21})},
    ),
    Limit("policy name", (_IAM,), spelled("name", r"[\w+=,.@-]{1,128}"), {"name": "a/b"}),
    Limit("policy size", (_IAM,), lambda p: len(text(p["policy"].value)) <= 6_144, {"policy": Json("x" * 6_143)}),
    Limit("alarm name", (_ALARM,), lambda p: 1 <= len(p["name"]) <= 255, {"name": "x" * 256}),
    Limit(
        "alarm description",
        (_ALARM,),
        lambda p: len(p["alarm_description"]) <= 1_024,
        {"alarm_description": "x" * 1_025},
    ),
    Limit("alarm actions", (_ALARM,), lambda p: len(p["alarm_actions"]) <= 5, {"alarm_actions": [""] * 6}),
    Limit("composite's name", (_COMPOSITE,), lambda p: 1 <= len(p["alarm_name"]) <= 255, {"alarm_name": "x" * 256}),
    Limit("composite's rule", (_COMPOSITE,), lambda p: len(p["alarm_rule"]) <= 10_240, {"alarm_rule": "x" * 10_241}),
    Limit(
        "composite's alarms",
        (_COMPOSITE,),
        lambda p: p["alarm_rule"].count("ALARM(") <= 100,
        {"alarm_rule": "ALARM(a)" * 101},
    ),
    Limit("role name", (_ROLE,), spelled("name", r"[\w+=,.@-]{1,64}"), {"name": "x" * 65}),
    Limit(
        "role's policy",
        (_ROLE_POLICY,),
        lambda p: len(text(p["policy"].value)) <= 10_240,
        {"policy": Json("x" * 10_239)},
    ),
    Limit("log group name", (_LOG,), spelled("name", r"[.\-_/#A-Za-z0-9]{1,512}"), {"name": "x" * 513}),
    Limit("dashboard name", (_BOARD,), spelled("dashboard_name", r"[A-Za-z0-9_-]{1,255}"), {"dashboard_name": "a.b"}),
    Limit(
        "dashboard widgets",
        (_BOARD,),
        lambda p: len(p["dashboard_body"].value["widgets"]) <= 500,
        {"dashboard_body": Json({"widgets": [{"properties": {"metrics": []}}] * 501})},
    ),
    Limit(
        "dashboard metrics",
        (_BOARD,),
        lambda p: sum(len(one["properties"]["metrics"]) for one in p["dashboard_body"].value["widgets"]) <= 2_500,
        {"dashboard_body": Json({"widgets": [{"properties": {"metrics": [0] * 2_501}}]})},
    ),
    Limit(
        "tags",
        (_SNS, _SQS, _IAM, _ALARM),
        tagged("tags", 50, r"(?!aws:)[\w .:/=+@-]{1,128}", r"[\w .:/=+@-]{0,256}"),
        {"tags": _MANY},
        has("tags"),
    ),
)

COUNTS = (
    Count("subscriptions of a FIFO topic", 100, lambda plan: _to_topics(plan, fifo)),
    Count(
        "subscriptions of a topic with large messages",
        100,
        lambda plan: _to_topics(plan, lambda topic: topic.get("maximum_message_size", 0) > 262_144),
    ),
)
