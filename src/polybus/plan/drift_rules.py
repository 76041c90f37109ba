"""Which properties of a cloud's resources are compared with a plan, and when two values mean the same.

Only what an API gives back and a topology decides. The defaults are those that each cloud fills in by itself; sources:
the API references of SQS (SetQueueAttributes), SNS (SetTopicAttributes, Subscribe), Pub/Sub and Service Bus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from polybus.clouds.aws.plan.place import REFUSE_ELSEWHERE
from polybus.plan import same
from polybus.plan.same import Same

__all__ = ["RULES", "Rules"]

_Derive: TypeAlias = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """How one type of resource is compared.

    `kind` names one that nobody planned. `identity` are the properties that tell one from another of its type, where
    the binding has no address of it. `derived` gives what is compared instead of the properties that it is made of.
    """

    kind: str
    compared: Mapping[str, Same]
    identity: Mapping[str, Same] = field(default_factory=dict)
    derived: Mapping[str, _Derive] = field(default_factory=dict)

    def value(self, name: str, properties: Mapping[str, Any]) -> Any:
        """Give a property, or what is derived under that name."""
        derive = self.derived.get(name)
        return derive(properties) if derive else properties.get(name)

    def same(self, planned: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
        """Tell whether both are the same resource."""
        return all(alike(planned.get(name), found.get(name)) for name, alike in self.identity.items())


def _encrypted(properties: Mapping[str, Any]) -> str:
    """Tell whether it is encrypted; with whose key is the stack's to say."""
    managed = same.flag(properties.get("sqs_managed_sse_enabled"))
    return "on" if properties.get("kms_master_key_id") or managed else "off"


_ENCRYPTION: Mapping[str, _Derive] = {"encryption": _encrypted}
_FIFO: Mapping[str, Same] = {"content_based_deduplication": same.flags}

_AWS = {
    "aws:sns/topic:Topic": Rules(
        "topic",
        {
            "name": same.texts,
            "fifo_topic": same.flags,
            **_FIFO,
            "fifo_throughput_scope": same.texts,
            "maximum_message_size": same.numbers(262_144),
            "signature_version": same.numbers(1),
            "encryption": same.at_least_on,
            "tags": same.tags,
        },
        derived=_ENCRYPTION,
    ),
    "aws:sqs/queue:Queue": Rules(
        "queue",
        {
            "name": same.texts,
            "fifo_queue": same.flags,
            **_FIFO,
            "deduplication_scope": same.texts,
            "fifo_throughput_limit": same.texts,
            "visibility_timeout_seconds": same.numbers(30),
            "message_retention_seconds": same.numbers(345_600),
            "receive_wait_time_seconds": same.numbers(0),
            "max_message_size": same.numbers(1_048_576),
            "delay_seconds": same.numbers(0),
            "encryption": same.at_least_on,
            "tags": same.tags,
        },
        derived=_ENCRYPTION,
    ),
    "aws:sns/topicSubscription:TopicSubscription": Rules(
        "subscription",
        {
            "raw_message_delivery": same.flags,
            "filter_policy": same.documents,
            "redrive_policy": same.policies,
            "delivery_policy": same.delivery_policies,
            "status": same.texts,  # of one that waits for its endpoint's consent
        },
        identity={"topic": same.texts, "protocol": same.texts, "endpoint": same.texts},
    ),
    "aws:sns/topicPolicy:TopicPolicy": Rules("access", {"policy": same.access(REFUSE_ELSEWHERE)}),
    "aws:sqs/queuePolicy:QueuePolicy": Rules("access", {"policy": same.access(REFUSE_ELSEWHERE)}),
    "aws:sqs/redrivePolicy:RedrivePolicy": Rules("redrive", {"redrive_policy": same.policies}),
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": Rules("redrive", {"redrive_allow_policy": same.policies}),
}


def _push_endpoint(properties: Mapping[str, Any]) -> Any:
    return (properties.get("push_config") or {}).get("push_endpoint")


def _push_raw(properties: Mapping[str, Any]) -> bool:
    return "no_wrapper" in (properties.get("push_config") or {})


_GCP = {
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
            "dead_letter_policy": same.policies,
            "retry_policy": same.durations,
            "push_endpoint": same.texts,
            "push_raw": same.flags,
            "labels": same.tags,
        },
        derived={"push_endpoint": _push_endpoint, "push_raw": _push_raw},
    ),
    "gcp:pubsub/topicIAMMember:TopicIAMMember": Rules(
        "rights", {}, identity={"topic": same.texts, "role": same.texts, "member": same.members}
    ),
    "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": Rules(
        "rights", {}, identity={"subscription": same.texts, "role": same.texts, "member": same.members}
    ),
}


def _sql(properties: Mapping[str, Any]) -> str:
    return " ".join(str((properties.get("sql_filter") or {}).get("sql_expression", "")).split())


def _action(properties: Mapping[str, Any]) -> str:
    return " ".join(str((properties.get("action") or {}).get("sql_expression") or "").split())


def _forward_to(properties: Mapping[str, Any]) -> str:
    """Give the name of what it forwards to, which Service Bus answers as an address in the namespace."""
    return re.sub(r"^[a-z]+://[^/]+/", "", str(properties.get("forward_to") or ""))


_AZURE_FORWARDING: Mapping[str, _Derive] = {"forward_to": _forward_to}
_AZURE_DETECTION: Mapping[str, Same] = {
    "requires_duplicate_detection": same.flags,
    "duplicate_detection_history_time_window": same.texts,
    "enable_partitioning": same.flags,
}
_AZURE_DELIVERY: Mapping[str, Same] = {
    "requires_session": same.flags,
    "lock_duration": same.texts,
    "max_delivery_count": same.numbers(10),
    "default_message_time_to_live": same.texts,
    "dead_lettering_on_message_expiration": same.flags,
    # What is forwarded and wasn't planned to be never reaches its consumers.
    "forward_to": same.texts,
    "forward_dead_lettered_messages_to": same.texts,
    "entity_status": same.texts,
}
_AZURE = {
    "azure-native:servicebus:Topic": Rules(
        "topic",
        {
            "topic_name": same.texts,
            **_AZURE_DETECTION,
            "support_ordering": same.flags,
            "entity_status": same.texts,
        },
    ),
    "azure-native:servicebus:Queue": Rules(
        "queue", {"queue_name": same.texts, **_AZURE_DETECTION, **_AZURE_DELIVERY}, derived=_AZURE_FORWARDING
    ),
    "azure-native:servicebus:Subscription": Rules(
        "subscription",
        {
            "subscription_name": same.texts,
            **_AZURE_DELIVERY,
            "dead_lettering_on_filter_evaluation_exceptions": same.flags,
        },
        derived=_AZURE_FORWARDING,
    ),
    "azure-native:servicebus:DefaultRule": Rules(
        "filter", {"filter": same.texts, "action": same.texts}, derived={"filter": _sql, "action": _action}
    ),
}

RULES: Mapping[str, Rules] = {**_AWS, **_GCP, **_AZURE}
