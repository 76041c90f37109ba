"""What of SNS's and SQS's resources breaks the rules that every stack keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polybus.plan.policy_rules import Item, Policy, Properties, text_of
from polybus.plan.values import Json

__all__ = ["POLICY"]

_EVERYONE = ("*", {"AWS": "*"}, {"AWS": ["*"]})
_DOCUMENTS = {
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:iam/policy:Policy": "policy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/role:Role": "assume_role_policy",
}
# Streams have names that whoever writes gives them: a wildcard for those of one log group is no wider than the group.
_STREAMS = re.compile(r":\*\Z")
_LOG_GROUP = re.compile(r"arn:[^:*]+:logs:[^:*]+:[^:*]+:log-group:[^:*]+|\$\{[^}*]*-log\.arn\}")
_OBJECTS = re.compile(r"/polybus/[^*/]+/\*\Z")
_BUCKET = re.compile(r"arn:[^:*]+:s3:::[^:*/]+|\$\{[^}*]*bodies-bucket\.arn\}")
_PRIVATE = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
_QUEUE = "aws:sqs/queue:Queue"
_TOPIC = "aws:sns/topic:Topic"
_SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"


def _encrypted(type_: str, properties: Properties) -> Iterator[str]:
    managed = properties.get("sqs_managed_sse_enabled")
    if type_ == _QUEUE and not properties.get("kms_master_key_id") and not managed:
        yield "the queue isn't encrypted at rest: set sqs_managed_sse_enabled or kms_master_key_id"
    if type_ == _TOPIC and not properties.get("kms_master_key_id") and not _for_alarms(properties):
        yield "the topic isn't encrypted at rest: set kms_master_key_id"


def _tls(type_: str, properties: Properties) -> Iterator[str]:
    if type_ in ("aws:sqs/queuePolicy:QueuePolicy", "aws:sns/topicPolicy:TopicPolicy"):
        statements = _statements(properties.get("policy"))
        if statements is not None and not any(_refuses_insecure(statement) for statement in statements):
            yield "no statement denies everyone what comes without TLS (aws:SecureTransport false)"
    if type_ == _SUBSCRIPTION and properties.get("protocol") == "http":
        yield "SNS delivers over plain HTTP; allowed: https"


def _refuses_insecure(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
    everyone = statement.get("Principal") in _EVERYONE
    return statement.get("Effect") == "Deny" and everyone and str(condition).lower() == "false"


def _no_wildcards(type_: str, properties: Properties) -> Iterator[str]:
    for statement in _statements(properties.get(_DOCUMENTS.get(type_, ""))) or ():
        if statement.get("Effect") == "Allow":
            for part in ("Principal", "Action", "Resource", "NotPrincipal", "NotAction", "NotResource"):
                if part.startswith("Not") and part in statement:
                    yield f"a statement that allows has {part}: that is everything but a few"
                elif any("*" in text_of(_but_inside(one)) for one in _several(statement.get(part))):
                    yield f"a statement that allows has a wildcard in {part}: {text_of(statement[part])}"
    if type_ == "aws:lambda/permission:Permission":
        if "*" in text_of(properties.get("principal")):
            yield "anyone may invoke the function"
        elif not properties.get("source_arn"):
            yield "any topic of anyone may invoke the function: set source_arn"


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _but_inside(resource: Any) -> Any:
    """Give a resource without what stands for the streams of one log group, or for one bus's objects in a bucket."""
    text = text_of(resource)
    for inside, whole in ((_STREAMS, _LOG_GROUP), (_OBJECTS, _BUCKET)):
        around = inside.sub("", text)
        if around != text and whole.fullmatch(around):
            return around
    return resource


def _dead_letters(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    redrives = [item for item in items if item.type == "aws:sqs/redrivePolicy:RedrivePolicy"]
    subscriptions = [item for item in items if item.type == _SUBSCRIPTION]
    covered = {item.first("queue_url") for item in redrives}
    letters = {name for item in (*redrives, *subscriptions) for name in item.refers.get("redrive_policy", ())}
    for item in items:
        elsewhere = item.name in covered | letters or item.properties.get("redrive_policy")
        if item.type == _QUEUE and not elsewhere:
            yield item.name, "the queue has no redrive policy, and holds nobody's dead letters"
    alarms = {item.name for item in items if item.type == _TOPIC and _for_alarms(item.properties)}
    for item in subscriptions:
        if item.first("topic") not in alarms and not item.properties.get("redrive_policy"):
            yield item.name, "what SNS can't deliver is lost: set redrive_policy"


def _tls_everywhere(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    held = {item.first("queue_url") for item in items if item.type == "aws:sqs/queuePolicy:QueuePolicy"}
    held |= {item.first("arn") for item in items if item.type == "aws:sns/topicPolicy:TopicPolicy"}
    for item in items:
        if item.type in (_QUEUE, _TOPIC) and item.name not in held and not _for_alarms(item.properties):
            yield item.name, "it has no access policy, so nothing refuses what comes without TLS"


def _bodies(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """Look at buckets of polybus's alone: a program may have others, such as a website's."""
    policies = {item.first("bucket"): item for item in items if item.type == "aws:s3/bucketPolicy:BucketPolicy"}
    blocks = {
        item.first("bucket"): item
        for item in items
        if item.type == "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    }
    for item in items:
        if item.type != "aws:s3/bucket:Bucket" or "polybus-bus" not in (item.properties.get("tags") or {}):
            continue
        policy = policies.get(item.name)
        statements = None if policy is None else _statements(policy.properties.get("policy"))
        if policy is None or (statements is not None and not any(_refuses_insecure(one) for one in statements)):
            yield item.name, "no policy of it denies everyone what comes without TLS (aws:SecureTransport false)"
        block = blocks.get(item.name)
        if block is None or not all(block.properties.get(name) for name in _PRIVATE):
            yield item.name, "public access isn't blocked: set all four of a BucketPublicAccessBlock"


def _statements(value: Any) -> Sequence[Mapping[str, Any]] | None:
    """Give the statements of a policy document; None where there is none or it isn't known yet."""
    if isinstance(value, str) and value:
        value = json.loads(value)
    elif isinstance(value, Json):
        value = value.value
    if not isinstance(value, Mapping):
        return None
    found = value.get("Statement", ())
    return (found,) if isinstance(found, Mapping) else found


def _for_alarms(properties: Properties) -> bool:
    """Tell the topic of alarms, which holds no messages of the bus: CloudWatch may not use SNS's managed key."""
    return str(properties.get("name", "")).endswith("--alarms")


POLICY = Policy(
    encryption=_encrypted,
    tls_only=_tls,
    no_wildcards=_no_wildcards,
    dead_letters=_dead_letters,
    tls_everywhere=_tls_everywhere,
    bodies=_bodies,
)
