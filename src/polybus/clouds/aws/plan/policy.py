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
                elif any("*" in text_of(_but_streams(one)) for one in _several(statement.get(part))):
                    yield f"a statement that allows has a wildcard in {part}: {text_of(statement[part])}"
    if type_ == "aws:lambda/permission:Permission":
        if "*" in text_of(properties.get("principal")):
            yield "anyone may invoke the function"
        elif not properties.get("source_arn"):
            yield "any topic of anyone may invoke the function: set source_arn"


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _but_streams(resource: Any) -> Any:
    """Give a resource without what stands for the streams of one log group."""
    text = text_of(resource)
    group = _STREAMS.sub("", text)
    return group if group != text and _LOG_GROUP.fullmatch(group) else resource


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
)
