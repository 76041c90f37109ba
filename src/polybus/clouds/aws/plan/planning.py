"""How AWS realises a topology: everything that planning asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polybus.binding import Binding
from polybus.clouds.aws.limits import AWS, SOURCES
from polybus.clouds.aws.plan import adopting, allow, resources
from polybus.clouds.aws.plan import published as aws_published
from polybus.clouds.aws.plan.arguments import ARGUMENTS, SDK
from polybus.clouds.aws.plan.bodies import BUCKET
from polybus.clouds.aws.plan.check import rules
from polybus.clouds.aws.plan.delivery_logs import ACCOUNT
from polybus.clouds.aws.plan.drift import DRIFT
from polybus.clouds.aws.plan.immutable import IMMUTABLE, replaces
from polybus.clouds.aws.plan.importing import import_id
from polybus.clouds.aws.plan.mistakes import mistakes
from polybus.clouds.aws.plan.place import REGION
from polybus.clouds.aws.plan.policy import POLICY
from polybus.clouds.aws.plan.provider_facts import FACTS
from polybus.clouds.aws.plan.resources import AwsPlan, AwsSettings
from polybus.clouds.aws.plan.tags import TAGS
from polybus.plan.entitled import Right
from polybus.plan.names import FIFO_SUFFIX
from polybus.plan.planning import Entry, OwnName, Planning
from polybus.plan.table import anyone, stand_ins, text_of
from polybus.plan.values import Resource
from polybus.topology.model import Queue, Subscription, Topic, Topology

__all__ = ["PLANNING"]

_TOPIC, _QUEUE = "aws:sns/topic:Topic", "aws:sqs/queue:Queue"


def _plan(topology: Topology, settings: AwsSettings | None = None) -> AwsPlan:
    """Plan for an account: what a sample may leave to the stack's configuration has to be said."""
    planned = resources.plan(topology, settings)
    allow.hold_key(topology, planned.settings.kms_key)
    return planned


def _sample(topology: Topology, stack: str) -> AwsPlan:
    return resources.plan(topology, AwsSettings(stack=stack, functions=stand_ins(topology)))


def _compared(topology: Topology, binding: Binding, stack: str) -> AwsPlan:
    region, functions = binding.settings.get("region"), anyone(topology)
    return resources.plan(topology, AwsSettings(stack=stack, region=region, functions=functions))


def _rights(plan: AwsPlan) -> dict[str, tuple[Right, ...]]:
    return {name: tuple(_right(one) for one in _statements(plan, name)) for name in plan.topology.services}


def _statements(plan: AwsPlan, service: str) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = plan.policies.get(service, {}).get("Statement", ())
    return found


def _right(statement: Mapping[str, Any]) -> Right:
    return Right(tuple(statement["Action"]), tuple(statement["Resource"]), statement.get("Condition", {}))


def _stand_in(resource: Resource, output: str) -> str:
    if resource.name == BUCKET.resource:
        name = text_of(resource.properties["bucket"], whole=True)
        name = name.replace(str(ACCOUNT), "123456789012").replace(str(REGION), "eu-central-1")
        return name if output == "bucket" else f"arn:aws:s3:::{name}"
    name = str(resource.properties.get("name", resource.name))
    if output == "url":
        return f"https://sqs.eu-central-1.amazonaws.com/123456789012/{name}"
    return f"arn:aws:{resource.type.split(':')[1].split('/')[0]}:eu-central-1:123456789012:{name}"


def _pass_through(entry: Entry) -> str | None:
    if isinstance(entry, Subscription):
        return _QUEUE if entry.push is None else "aws:sns/topicSubscription:TopicSubscription"
    if entry.existing is not None:
        return None
    return _TOPIC if isinstance(entry, Topic) else _QUEUE


PLANNING = Planning(
    settings=AwsSettings,
    plan=_plan,
    sample=_sample,
    binding_values=resources.binding_values,
    exports=resources.exports,
    rights=_rights,
    mistakes=mistakes,
    compared=_compared,
    provider="aws",
    import_id=import_id,
    standing=adopting.standing,
    forms=adopting.forms,
    stand_in=_stand_in,
    binding_bytes=(aws_published.LAMBDA, aws_published.INSTEAD),
    rules=rules,
    sources=SOURCES,
    policy=POLICY,
    pass_through=_pass_through,
    sdk=SDK,
    arguments=ARGUMENTS,
    # Beside a resource of its own, an argument would be set and unset at every second update.
    attached={
        _TOPIC: {"policy": "aws:sns/topicPolicy:TopicPolicy"},
        _QUEUE: {
            "policy": "aws:sqs/queuePolicy:QueuePolicy",
            "redrive_policy": "aws:sqs/redrivePolicy:RedrivePolicy",
            "redrive_allow_policy": "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy",
        },
    },
    names={
        _TOPIC: OwnName("name", AWS.topic_name, FIFO_SUFFIX),
        _QUEUE: OwnName("name", AWS.queue_name, FIFO_SUFFIX),
    },
    immutable=IMMUTABLE,
    replaces={"aws:ssm/parameter:Parameter": replaces},
    facts=FACTS,
    retention={
        _QUEUE: "message_retention_seconds",  # SetQueueAttributes in the SQS API reference [B]
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "rules[0].expiration.days",
    },
    place=lambda settings: {"aws:region": settings.region},
    drift=DRIFT,
    adopted={Topic: _TOPIC, Queue: _QUEUE},
    tags=TAGS,
    bodies=True,
)
