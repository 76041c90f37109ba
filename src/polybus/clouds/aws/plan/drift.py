"""Which properties are compared with a plan: what the APIs give back and a topology decides.

The defaults are those that AWS fills in by itself; sources: the API references of SQS (SetQueueAttributes) and SNS
(SetTopicAttributes, Subscribe).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.clouds.aws.plan.place import REFUSE_ELSEWHERE
from polybus.clouds.aws.plan.same import access, loosened, policies
from polybus.plan import same
from polybus.plan.drift_rules import Derive, Rules
from polybus.plan.same import Same

__all__ = ["DRIFT"]


def _encrypted(properties: Mapping[str, Any]) -> str:
    """Tell whether it is encrypted; with whose key is the stack's to say."""
    managed = same.flag(properties.get("sqs_managed_sse_enabled"))
    return "on" if properties.get("kms_master_key_id") or managed else "off"


_ENCRYPTION: Mapping[str, Derive] = {"encryption": _encrypted}
_FIFO: Mapping[str, Same] = {"content_based_deduplication": same.flags}
_ACCESS = Rules("access", {"policy": access(REFUSE_ELSEWHERE)}, shown={"policy": loosened})

DRIFT: Mapping[str, Rules] = {
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
            "redrive_policy": policies,
            "delivery_policy": same.within,
            "status": same.texts,  # of one that waits for its endpoint's consent
        },
        identity={"topic": same.texts, "protocol": same.texts, "endpoint": same.texts},
        shown={"filter_policy": loosened, "redrive_policy": loosened},
    ),
    "aws:sns/topicPolicy:TopicPolicy": _ACCESS,
    "aws:sqs/queuePolicy:QueuePolicy": _ACCESS,
    "aws:sqs/redrivePolicy:RedrivePolicy": Rules(
        "redrive", {"redrive_policy": policies}, shown={"redrive_policy": loosened}
    ),
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": Rules(
        "redrive", {"redrive_allow_policy": policies}, shown={"redrive_allow_policy": loosened}
    ),
}
