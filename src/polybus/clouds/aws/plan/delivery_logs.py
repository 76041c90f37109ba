"""What SNS logs of its deliveries in CloudWatch Logs, where the stack's configuration asks for it.

SNS writes as a role into two log groups of a topic, whose names it gives: `sns/<region>/<account>/<topic>`, and the
same with `/Failure` ("Prerequisites for delivery status logging", SNS Developer Guide). They are planned, so that they
are not kept for ever, and each topic has a role of its own that may write there alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.clouds.aws.plan import place as aws_place
from polybus.plan.names import physical_name
from polybus.plan.values import Join, Json, Ref, Resource, joined
from polybus.topology.model import Subscription, Topic, Topology

__all__ = ["ACCOUNT", "Scene", "account_lookup", "arguments", "made", "resources"]

ACCOUNT = Ref("account", "account_id")

_DAYS = 14  # as long as dead letters are kept by default; CloudWatch Logs takes this number
_ROLE_NAME = 64  # characters ("IAM and AWS STS quotas")
# As docs ask for; without the first, SNS gives up where the group isn't seen yet.
_ACTIONS = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
_PROTOCOLS = {"https": "http", "function": "lambda", "forward": "sqs"}


@dataclass(frozen=True, slots=True)
class Scene:
    """Where it is; `percent` of what is delivered is logged, and all that isn't, None for nothing."""

    topology: Topology
    stack: str
    region: str | Ref
    tags: Mapping[str, str]
    percent: int | None

    def protocols(self, topic: Topic) -> list[str]:
        """List by what a topic delivers, as its arguments call it; of e-mail and SMS it logs nothing."""
        if self.percent is None:
            return []
        found = (_protocol(item) for item in self.topology.subscriptions_of(topic.name))
        return sorted({protocol for protocol in found if protocol is not None})


def _protocol(item: Subscription) -> str | None:
    return "sqs" if item.push is None else _PROTOCOLS.get(item.push.kind)


def account_lookup() -> Resource:
    """Ask the provider whose account it is."""
    return Resource("aws:index/getCallerIdentity:getCallerIdentity", ACCOUNT.resource, {}, "lookup", "$.bus")


def arguments(scene: Scene, topic: Topic) -> dict[str, Any]:
    """Give a topic's arguments by which it logs."""
    role = Ref(f"{topic.name}-delivery-role", "arn")
    found: dict[str, Any] = {}
    for protocol in scene.protocols(topic):
        found[f"{protocol}_failure_feedback_role_arn"] = role
        if scene.percent:
            found[f"{protocol}_success_feedback_role_arn"] = role
            found[f"{protocol}_success_feedback_sample_rate"] = scene.percent
    return found


def made(scene: Scene, topic: Topic) -> tuple[str, ...]:
    """Name what a topic waits for: else SNS would make the groups itself, and keep them for ever."""
    logged = bool(scene.protocols(topic))
    return tuple(f"{topic.name}-{what}" for what in ("delivery-log", "failure-log", "delivery-rights") if logged)


def resources(scene: Scene, topic: Topic, name: str) -> Iterator[Resource]:
    """Plan a topic's log groups, and the role as which SNS writes there; `name` is the topic's on the cloud."""
    if not scene.protocols(topic):
        return
    entry, role = f"$.topics.{topic.name}", f"{topic.name}-delivery-role"
    yield Resource("aws:iam/role:Role", role, _role(scene, topic), "rights", entry)
    for what, ending in (("delivery-log", ""), ("failure-log", "/Failure")):
        group = {
            "name": joined("sns/", scene.region, "/", ACCOUNT, "/", f"{name}{ending}"),
            "retention_in_days": _DAYS,
            "tags": dict(scene.tags),
        }
        yield Resource("aws:cloudwatch/logGroup:LogGroup", f"{topic.name}-{what}", group, "log", entry)
    groups = [Ref(f"{topic.name}-{what}", "arn") for what in ("delivery-log", "failure-log")]
    # Streams have names that SNS gives them.
    where = [one for group in groups for one in (group, Join((group, ":*")))]
    write = {"Sid": "LogDeliveries", "Effect": "Allow", "Action": _ACTIONS, "Resource": where}
    rights = {
        "name": _name(scene, topic),
        "role": Ref(role, "name"),
        "policy": Json({"Version": "2012-10-17", "Statement": [write]}),
    }
    yield Resource("aws:iam/rolePolicy:RolePolicy", f"{topic.name}-delivery-rights", rights, "rights", entry)


def _role(scene: Scene, topic: Topic) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {
        "name": _name(scene, topic),
        "description": f"SNS logs what it delivers of {topic.name}",
        "assume_role_policy": Json({"Version": "2012-10-17", "Statement": [trust]}),
        "tags": dict(scene.tags),
    }


def _name(scene: Scene, topic: Topic) -> str | Join:
    """Name a role: one of the account's whatever the region is, and in no case of its own ("IAM identifiers")."""
    longest = _ROLE_NAME - aws_place.LONGEST_REGION
    name = physical_name(scene.topology.name, scene.stack, topic.name, longest=longest, suffix="-log", caseless=True)
    return joined(f"{name}-", scene.region)
