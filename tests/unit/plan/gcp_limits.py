"""What Google Cloud allows: the reference of the Pub/Sub and Cloud Monitoring APIs, and their quotas."""

from __future__ import annotations

import re
from collections import Counter

from polybus.plan.values import Join, Json

from .limit import (
    Count,
    Limit,
    Properties,
    duration,
    has,
    of,
    ranged,
    spelled,
    tagged,
    within,
)

_PUB, _SUB = "gcp:pubsub/topic:Topic", "gcp:pubsub/subscription:Subscription"
_POLICY, _CHART = "gcp:monitoring/alertPolicy:AlertPolicy", "gcp:monitoring/dashboard:Dashboard"
_BUCKET = "gcp:storage/bucket:Bucket"
_NAME = r"(?=.{3,255}$)(?!goog)[A-Za-z][A-Za-z0-9._~+%-]*"


def backoff(properties: Properties) -> bool:
    policy = properties["retry_policy"]
    return 0 <= duration(policy["minimum_backoff"]) <= duration(policy["maximum_backoff"]) <= 600


def conditions(properties: Properties) -> bool:
    every = properties["conditions"]
    return 1 <= len(every) <= 6 and all(len(one["condition_threshold"]["filter"]) <= 2_048 for one in every)


def bucket_name(properties: Properties) -> bool:
    """Hold a name with the project's number in it ("Bucket naming guidelines", Cloud Storage documentation)."""
    name = properties["name"]
    parts = name.parts if isinstance(name, Join) else (name,)
    whole = "".join(part if isinstance(part, str) else "123456789012" for part in parts)
    return re.fullmatch(r"(?!goog)(?!.*google)[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]", whole) is not None


LIMITS = (
    Limit("bucket name", (_BUCKET,), bucket_name, {"name": "x" * 64}),
    Limit(
        "an object's age",
        (_BUCKET,),
        lambda p: all(type(rule["condition"]["age"]) is int for rule in p["lifecycle_rules"]),
        {"lifecycle_rules": [{"condition": {"age": 0.5}}]},
    ),
    Limit(
        "bucket's labels",
        (_BUCKET,),
        tagged("labels", 64, r"[a-z][a-z0-9_-]{0,62}", r"[a-z0-9_-]{0,63}"),
        {"labels": {"A": ""}},
    ),
    Limit("names", (_PUB, _SUB), spelled("name", _NAME), {"name": "goog-x"}),
    Limit("ack deadline", (_SUB,), within("ack_deadline_seconds", 10, 600), {"ack_deadline_seconds": 9}),
    Limit(
        "retention",
        (_SUB,),
        ranged("message_retention_duration", 600, 2_678_400),
        {"message_retention_duration": "599s"},
    ),
    Limit("filter", (_SUB,), lambda p: len(p["filter"].encode()) <= 256, {"filter": "é" * 129}, has("filter")),
    Limit(
        "delivery attempts",
        (_SUB,),
        lambda p: within("max_delivery_attempts", 5, 100)(p["dead_letter_policy"]),
        {"dead_letter_policy": {"max_delivery_attempts": 4}},
        has("dead_letter_policy"),
    ),
    Limit(
        "retry backoff",
        (_SUB,),
        backoff,
        {"retry_policy": {"minimum_backoff": "2s", "maximum_backoff": "1s"}},
        has("retry_policy"),
    ),
    Limit(
        "no expiry", (_SUB,), lambda p: p["expiration_policy"] == {"ttl": ""}, {"expiration_policy": {"ttl": "86400s"}}
    ),
    Limit(
        "labels",
        (_PUB, _SUB),
        tagged("labels", 64, r"[a-z][a-z0-9_-]{0,62}", r"[a-z0-9_-]{0,63}"),
        {"labels": {"Cost": "x"}},
    ),
    Limit("alert name", (_POLICY,), lambda p: 1 <= len(p["display_name"]) <= 512, {"display_name": "x" * 513}),
    Limit(
        "alert conditions", (_POLICY,), conditions, {"conditions": [{"condition_threshold": {"filter": "x" * 2_049}}]}
    ),
    Limit(
        "alert words",
        (_POLICY,),
        lambda p: len(p["documentation"]["content"].encode()) <= 8_192,
        {"documentation": {"content": "x" * 8_193}},
    ),
    Limit(
        "alert channels",
        (_POLICY,),
        lambda p: len(p["notification_channels"]) <= 16,
        {"notification_channels": [""] * 17},
    ),
    Limit(
        "dashboard widgets",
        (_CHART,),
        lambda p: len(p["dashboard_json"].value["gridLayout"]["widgets"]) <= 100,
        {"dashboard_json": Json({"gridLayout": {"widgets": [{}] * 101}})},
    ),
)

COUNTS = (
    Count("subscriptions of a topic", 10_000, lambda plan: Counter(str(one["topic"]) for one in of(plan, _SUB))),
    Count("topics of a project", 10_000, lambda plan: {"": len([*of(plan, _PUB)])}),
)
