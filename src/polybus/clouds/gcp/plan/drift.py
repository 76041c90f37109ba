"""Which properties are compared with a plan: what the API gives back and a topology decides.

The defaults are those that Google fills in by itself; source: the API reference of Pub/Sub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from polybus.plan import same
from polybus.plan.drift_rules import Rules

__all__ = ["DRIFT", "members"]


def members(planned: Any, found: Any) -> bool:
    """Compare members of IAM, whichever project's or universe's service agent it is: the stack's configuration says."""
    return _anonymous(planned) == _anonymous(found)


def _anonymous(member: Any) -> str:
    return re.sub(r"service-[^@]+@gcp-sa-pubsub\..*", "service-agent@gcp-sa-pubsub", str(member))


def _push_endpoint(properties: Mapping[str, Any]) -> Any:
    return (properties.get("push_config") or {}).get("push_endpoint")


def _push_raw(properties: Mapping[str, Any]) -> bool:
    return "no_wrapper" in (properties.get("push_config") or {})


DRIFT: Mapping[str, Rules] = {
    "gcp:pubsub/topic:Topic": Rules("topic", {"name": same.texts, "labels": same.tags}),
    "gcp:pubsub/subscription:Subscription": Rules(
        "subscription",
        {
            "name": same.texts,
            "topic": same.texts,
            "filter": same.texts,
            "enable_message_ordering": same.flags,
            "ack_deadline_seconds": same.numbers(10),
            "message_retention_duration": same.seconds("604800s"),
            "expiration_policy": same.expiries,
            "dead_letter_policy": same.loosely,
            "retry_policy": same.durations,
            "push_endpoint": same.texts,
            "push_raw": same.flags,
            "labels": same.tags,
        },
        derived={"push_endpoint": _push_endpoint, "push_raw": _push_raw},
    ),
    "gcp:pubsub/topicIAMMember:TopicIAMMember": Rules(
        "rights", {}, identity={"topic": same.texts, "role": same.texts, "member": members}
    ),
    "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": Rules(
        "rights", {}, identity={"subscription": same.texts, "role": same.texts, "member": members}
    ),
}
