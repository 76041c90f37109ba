"""Who else may use a topic or queue on AWS: statements of its policy, and what a customer-managed key has to allow.

IAM of their own lets principals of the stack's account in; services of AWS's and other accounts need the resource's
policy too ("Cross-account policy evaluation logic", IAM User Guide).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polybus.clouds.aws.plan.place import partition_of
from polybus.errors import ConfigError
from polybus.plan.findings import Report
from polybus.plan.later import Text
from polybus.plan.rules import allowed_on, outsiders
from polybus.plan.values import Ref
from polybus.topology.model import Allow, Queue, Topic, Topology

__all__ = ["hold_key", "key_statements", "rule", "statements"]

_SERVICE = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:(?:root|(?:role|user)/[!-)+-~]+)")
_ALLOWED = (
    "a service such as s3.amazonaws.com, an account's 12 digits, or arn:aws:iam::<account>: with root, role/<name> "
    "or user/<name>"
)

# What says on whose behalf a service acts, and the operators that AWS's own examples have for each.
_SOURCES = {
    "aws:SourceArn": "ArnLike",
    "aws:SourceAccount": "StringEquals",
    "aws:SourceOrgID": "StringEquals",
}
_CONDITIONS = {**_SOURCES, "aws:PrincipalOrgID": "StringEquals"}

_TOPIC = {"publish": ("sns:Publish",), "subscribe": ("sns:Subscribe",)}
_QUEUE = {
    "publish": ("sqs:SendMessage",),
    "consume": ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
}
_KEY = {"publish": ("kms:Decrypt", "kms:GenerateDataKey"), "consume": ("kms:Decrypt",), "subscribe": ()}


def rule(report: Report, topology: Topology) -> None:
    """Refuse principals and conditions that AWS doesn't know, and services that act for anyone."""
    for path, entry, allow in outsiders(topology, "aws"):
        if entry.existing is not None:
            instead = "the statement in the policy that its owner writes"
            report.error(path, allow.principal, "what is adopted keeps its own policy", source="B", instead=instead)
        if _principal(allow.principal, "aws") is None:
            report.error(f"{path}.principal", allow.principal, f"allowed: {_ALLOWED}", source="IAM")
        for key, values in allow.conditions.items():
            if key not in _CONDITIONS:
                report.error(f"{path}.conditions", key, f"allowed: {', '.join(_CONDITIONS)}", source="IAM")
            elif any(set(value) <= set("arn:*") for value in values):
                limit = "such a condition always holds"
                report.error(f"{path}.conditions", f"{key} = {', '.join(values)}", limit, source="IAM")
        if _SERVICE.fullmatch(allow.principal) and not allow.conditions.keys() & _SOURCES.keys():
            limit = "a service acts for whoever asks it, in any account: say for whom (the confused deputy problem)"
            instead = f"conditions with {' or '.join(_SOURCES)}"
            report.error(f"{path}.conditions", allow.principal, limit, source="IAM", instead=instead)
        if isinstance(entry, Topic) and "publish" in allow.actions:
            limit = "it can't use SNS's own key, alias/aws/sns, unless it is of the stack's account"
            report.note(path, allow.principal, limit, source="SNS", instead="polybus:kmsKey, and its output keyPolicy")


def statements(entry: Topic | Queue, arn: str | Ref, region: str | None) -> list[dict[str, Any]]:
    """Give the statements of a topic's or queue's policy that let others in."""
    actions: Mapping[str, tuple[str, ...]] = _TOPIC if isinstance(entry, Topic) else _QUEUE
    return [
        _statement(f"Allow{number}", allow, [name for action in allow.actions for name in actions[action]], arn, region)
        for number, allow in enumerate(allowed_on("aws", entry), start=1)
    ]


def key_statements(topology: Topology, kms_key: Text) -> Iterator[dict[str, Any]]:
    """Give what a customer-managed key has to allow those who are let in, each once."""
    seen: list[dict[str, Any]] = []
    region = kms_key.split(":")[3] if isinstance(kms_key, str) else None
    for _, _, allow in outsiders(topology, "aws"):
        actions = list(dict.fromkeys(name for action in allow.actions for name in _KEY[action]))
        found = _statement("", allow, actions, kms_key, region)
        if actions and found not in seen:
            seen.append(found)
            yield {**found, "Sid": f"AllowOthers{len(seen)}"}


def hold_key(topology: Topology, kms_key: Text | None) -> None:
    """Raise ConfigError where a service of AWS's is to publish to a topic that it can't encrypt for."""
    for path, entry, allow in outsiders(topology, "aws"):
        service = _SERVICE.fullmatch(allow.principal)
        if kms_key is None and service and isinstance(entry, Topic) and "publish" in allow.actions:
            raise ConfigError(
                f"{topology.source}: at {path}: aws: found {allow.principal}, which can't use SNS's own key, "
                "alias/aws/sns; instead: polybus:kmsKey, whose policy allows what the output keyPolicy says"
            )


def _statement(sid: str, allow: Allow, actions: Sequence[str], resource: Any, region: str | None) -> dict[str, Any]:
    conditions: dict[str, dict[str, Any]] = {}
    for key, values in allow.conditions.items():
        conditions.setdefault(_CONDITIONS[key], {})[key] = values[0] if len(values) == 1 else list(values)
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": _principal(allow.principal, partition_of(region)),
        "Action": list(actions),
        "Resource": resource,
        **({"Condition": conditions} if conditions else {}),
    }


def _principal(text: str, partition: str) -> dict[str, str] | None:
    if _SERVICE.fullmatch(text):
        return {"Service": text}
    if _ACCOUNT.fullmatch(text):
        return {"AWS": f"arn:{partition}:iam::{text}:root"}  # as AWS gives it back
    return {"AWS": text} if _ARN.fullmatch(text) else None
