"""How SNS and SQS realise a topology.

A topic is an SNS topic, FIFO where ordered. A subscription is an SQS queue that only this topic may send to, subscribed
with raw delivery and the filter as a policy. A queue is an SQS queue. Each has a queue for its dead letters, which
takes letters from it alone, and of a subscription what its topic can't deliver. Everything is encrypted at rest, and
refused without TLS.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.clouds.aws.limits import AWS
from polybus.clouds.aws.plan import allow as aws_allow
from polybus.clouds.aws.plan import bodies as aws_bodies
from polybus.clouds.aws.plan import delivery_logs as aws_logs
from polybus.clouds.aws.plan import place as aws_place
from polybus.clouds.aws.plan import policy_size as aws_policy_size
from polybus.clouds.aws.plan import published as aws_published
from polybus.clouds.aws.plan import push as aws_push
from polybus.clouds.aws.plan import roles as aws_roles
from polybus.clouds.aws.plan import watch as aws_watch
from polybus.clouds.aws.plan.filters import compile_filter
from polybus.clouds.aws.plan.mistakes import mistakes as aws_mistakes
from polybus.clouds.aws.plan.rights import Arns, insecure, key_policy, policies
from polybus.clouds.aws.plan.settings import AwsSettings
from polybus.clouds.aws.plan.tags import TAGS
from polybus.errors import ConfigError
from polybus.plan import bodies, check
from polybus.plan.entities import Place, binding_of
from polybus.plan.later import once
from polybus.plan.names import FIFO_SUFFIX, Names, physical_name
from polybus.plan.rules import cloud_attempts, consumed, path_of
from polybus.plan.settings import check_services, refuse, with_options
from polybus.plan.tags import tags_of
from polybus.plan.values import Join, Json, Ref, Resource, found_in, joined, marked, refs, unmarked
from polybus.topology.model import Queue, Subscription, Topic, Topology

__all__ = ["AwsPlan", "AwsSettings", "binding", "binding_values", "exports", "plan"]


_POLICY_NAME = 128  # characters [B]


@dataclass(frozen=True, slots=True)
class AwsPlan:
    """The resources, in an order in which they can be created; `policies` is each service's IAM policy document."""

    topology: Topology
    settings: AwsSettings
    resources: tuple[Resource, ...]
    policies: Mapping[str, Mapping[str, Any]]


def plan(topology: Topology, settings: AwsSettings | None = None) -> AwsPlan:
    """Plan a topology for AWS; raises UnsupportedFeature with everything that AWS can't do of it."""
    chosen = settings or AwsSettings()
    topology = check.refuse(topology, "aws", stack=chosen.stack)
    check_services(topology, chosen.roles, "aws roles")
    if chosen.kms_key is not None:
        chosen = replace(chosen, kms_key=once(chosen.kms_key, _held_key))
    aws_place.hold(topology, chosen.region, chosen.vpc_endpoints, chosen.kms_key)
    aws_roles.hold(topology, chosen.roles)
    refuse("aws", aws_mistakes(chosen))
    planner = _Planner(topology, chosen)
    aws_policy_size.hold(topology, chosen.stack, chosen.region, chosen.kms_key)
    documents = policies(topology, planner.arns, chosen.kms_key)
    resources = [*planner.resources()]
    made = len(resources)
    resources += planner.bodies()
    if chosen.bindings == aws_published.SSM:
        values = binding_values(AwsPlan(topology, chosen, (), {}))
        resources += aws_published.resources(topology, chosen.stack, values, planner.tags)
        documents = aws_published.reading(documents, topology)
    resources += planner.rights(documents)
    scene = aws_watch.Scene(
        *(planner.names, planner.tags, chosen.kms_key, planner.region, planner.queue_name), chosen.composite_alarms
    )
    resources += aws_watch.resources(topology, scene)
    # What holds messages names no region and no account, but where it logs what it delivers.
    asking = resources[made:] if chosen.delivery_logs is None else resources
    asked = {ref for resource in asking for ref in refs(resource.properties)}
    if aws_logs.ACCOUNT in asked:
        resources.insert(0, aws_logs.account_lookup())
    if aws_place.REGION in asked:
        resources.insert(0, aws_place.region_lookup())
    return AwsPlan(topology, chosen, tuple(resources), documents)


def binding(plan: AwsPlan, outputs: Mapping[str, Mapping[str, str]]) -> Binding:
    """Give the binding of a realised plan; `outputs` has each resource's outputs, by its logical name."""
    return _binding(plan, found_in(outputs))


def binding_values(plan: AwsPlan) -> dict[str, Any]:
    """Give the binding as plain data with references in it: what a stack exports once they are known."""
    values: dict[str, Any] = unmarked(msgspec.to_builtins(_binding(plan, marked)))
    return values


def exports(plan: AwsPlan) -> dict[str, Any]:
    """Give the ARNs, URLs and policies that other infrastructure needs, with references in them."""
    topology, planner = plan.topology, _Planner(plan.topology, plan.settings)

    def source(item: Subscription | Queue) -> dict[str, Any]:
        name = f"{item.name}-dead-letters"
        letters = {"deadLetterArn": Ref(name, "arn"), "deadLetterUrl": Ref(name, "url")}
        if planner.arns.is_push(item.name):
            return letters
        return {"arn": planner.arns.source(item.name), "url": planner.queue_url(item), **letters}

    key = key_policy(topology, planner.arns, plan.settings.kms_key)
    return {
        **({"keyPolicy": Json(key)} if key is not None else {}),
        "topics": {name: {"arn": planner.arns.topic(name)} for name in topology.topics},
        "subscriptions": {name: source(item) for name, item in topology.subscriptions.items()},
        "queues": {name: source(item) for name, item in topology.queues.items()},
        "policies": {service: Json(document) for service, document in plan.policies.items()},
        **({} if topology.large_bodies is None else {"bodies": {"arn": aws_bodies.arn(), "name": aws_bodies.BUCKET}}),
        **aws_published.references(topology, plan.settings.stack, plan.settings.bindings),
    }


def _binding(plan: AwsPlan, find: Callable[[str | Ref | Join], str]) -> Binding:
    topology = plan.topology
    planner = _Planner(topology, plan.settings)

    def place(item: Subscription | Queue) -> Place:
        letters = find(Ref(f"{item.name}-dead-letters", "url"))
        if isinstance(item, Subscription) and item.push is not None:
            return Place(letters, letters, AWS.default_message_bytes)
        return Place(find(planner.queue_url(item)), letters, AWS.default_message_bytes)

    region = {"region": plan.settings.region} if plan.settings.region else {}
    return binding_of(
        topology,
        backend="aws",
        settings=region,
        topics={
            topic.name: Place(find(planner.arns.topic(topic.name)), max_size=AWS.sns_default_bytes)
            for topic in topology.topics.values()
        },
        subscriptions={item.name: place(item) for item in topology.subscriptions.values()},
        queues={item.name: place(item) for item in topology.queues.values()},
        beside=bodies.of_binding(topology, find(aws_bodies.URL), region=find(planner.region))
        if topology.large_bodies is not None
        else None,
    )


class _Planner:
    """Plans one topology for one stack."""

    def __init__(self, topology: Topology, settings: AwsSettings) -> None:
        self._topology = topology
        self._settings = settings
        self._topic_names = Names(topology.name, settings.stack, round(AWS.topic_name.length.most))
        self.names = Names(topology.name, settings.stack, round(AWS.queue_name.length.most))
        self.tags = tags_of(topology, settings.stack, settings.tags, TAGS)
        self.arns = Arns(topology)
        self.region = settings.region or aws_place.REGION
        self._logs = aws_logs.Scene(topology, settings.stack, self.region, self.tags, settings.delivery_logs)

    def resources(self) -> Iterator[Resource]:
        for topic in self._topology.topics.values():
            yield from self._topic(topic)
        pushes: list[Subscription] = []
        for item in consumed(self._topology):
            if isinstance(item, Subscription) and item.push is not None:
                yield from self._letters(item)
                pushes.append(item)
            else:
                yield from self._source(item)
        for item in pushes:  # last, since queues that they forward to have to be there
            yield from aws_push.resources(self._topology, item, self._settings.functions)

    def queue_name(self, item: Subscription | Queue, *, letters: bool = False) -> str:
        """Name the queue of an entry, or that of its dead letters."""
        suffix = FIFO_SUFFIX if self._fifo(item) else ""
        if letters:
            return self.names.dead_letters(item.name, suffix=suffix)
        if isinstance(item, Queue) and item.existing is not None:
            return item.existing.rsplit(":", 1)[-1]
        own: str | None = item.options.get("aws", {}).get("name")  # passed on, so alarms watch it by that name too
        return own or self.names.of(item.name, suffix=suffix)

    def queue_url(self, item: Subscription | Queue) -> str | Ref:
        """Give the URL of an entry's queue; that of an adopted one follows from its ARN."""
        if isinstance(item, Queue) and item.existing is not None:
            partition, service, region, account, name = item.existing.split(":", 5)[1:]
            return f"https://{service}.{region}.{aws_place.domain(partition)}/{account}/{name}"
        return Ref(f"{item.name}-queue", "url")

    def _fifo(self, item: Subscription | Queue) -> bool:
        return self._topology.is_ordered(item.name)

    def _signed(self, topic: Topic) -> bool:
        pushes = (item.push for item in self._topology.subscriptions_of(topic.name))
        return any(push is not None and push.https is not None for push in pushes)

    def _topic(self, topic: Topic) -> Iterator[Resource]:
        entry = f"$.topics.{topic.name}"
        if topic.existing is not None:
            return
        fifo = {"fifo_topic": True, "content_based_deduplication": False, "fifo_throughput_scope": "MessageGroup"}
        properties = {
            "name": self._topic_names.of(topic.name, suffix=FIFO_SUFFIX if topic.ordered else ""),
            **(fifo if topic.ordered else {}),
            "kms_master_key_id": self._settings.kms_key or "alias/aws/sns",
            "maximum_message_size": topic.max_message_size or AWS.sns_default_bytes,
            # SHA-256 in place of SHA-1, for who verifies what SNS sends over HTTPS.
            **({"signature_version": 2} if self._signed(topic) else {}),
            **aws_logs.arguments(self._logs, topic),
            "tags": self.tags,
        }
        properties = with_options(properties, topic.options.get("aws", {}))
        name = f"{topic.name}-topic"
        yield from aws_logs.resources(self._logs, topic, properties["name"])
        yield Resource("aws:sns/topic:Topic", name, properties, "topic", entry, after=aws_logs.made(self._logs, topic))
        outside = aws_place.elsewhere(aws_place.TOPIC_ACTIONS, Ref(name, "arn"), self._settings.vpc_endpoints)
        others = aws_allow.statements(topic, Ref(name, "arn"), self._settings.region)
        statements = [*others, insecure("sns:Publish", Ref(name, "arn")), *outside]
        access = {"arn": Ref(name, "arn"), "policy": Json({"Version": "2012-10-17", "Statement": statements})}
        yield Resource("aws:sns/topicPolicy:TopicPolicy", f"{topic.name}-topic-access", access, "access", entry)

    def _source(self, item: Subscription | Queue) -> Iterator[Resource]:
        entry, name = path_of(item), f"{item.name}-queue"
        arn, url = self.arns.source(item.name), self.queue_url(item)
        adopted = isinstance(item, Queue) and item.existing is not None
        if not adopted:
            properties = with_options(self._queue(item, letters=False), item.options.get("aws", {}))
            kind = "subscription" if isinstance(item, Subscription) else "queue"
            yield Resource("aws:sqs/queue:Queue", name, properties, kind, entry, keeps_messages=True)
        yield from self._letters(item)
        letters = Ref(f"{item.name}-dead-letters", "arn")
        redrive = {"deadLetterTargetArn": letters, "maxReceiveCount": cloud_attempts(AWS, item)}
        allow = {"redrivePermission": "byQueue", "sourceQueueArns": [arn]}
        yield Resource(
            "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy",
            f"{item.name}-redrive-allow",
            {"queue_url": Ref(f"{item.name}-dead-letters", "url"), "redrive_allow_policy": Json(allow)},
            "redrive",
            entry,
        )
        yield Resource(
            "aws:sqs/redrivePolicy:RedrivePolicy",
            f"{item.name}-redrive",
            {"queue_url": url, "redrive_policy": Json(redrive)},
            "redrive",
            entry,
            after=(f"{item.name}-redrive-allow",),  # SQS refuses a source that isn't allowed yet, as after an adoption
        )
        if isinstance(item, Subscription):
            yield from self._subscribed(item, arn, url)
        elif not adopted:
            sources = sorted({source.topic for source in self._topology.forwards_to(item.name)})
            topics = [self.arns.topic(topic) for topic in sources]
            statements = [aws_push.allow_topic(topics, arn)] if topics else []
            statements += aws_allow.statements(item, arn, self._settings.region)
            yield self._access(name, url, arn, statements, entry)

    def _subscribed(self, item: Subscription, arn: str | Ref, url: str | Ref) -> Iterator[Resource]:
        entry, topic = path_of(item), self.arns.topic(item.topic)
        allow = aws_push.allow_topic([topic], arn)
        access = self._access(f"{item.name}-queue", url, arn, [allow], entry)
        yield access
        policy = compile_filter(item.filter)
        properties = {
            "topic": topic,
            "protocol": "sqs",
            "endpoint": arn,
            "raw_message_delivery": True,
            "filter_policy": None if policy is None else Json(policy),
            "filter_policy_scope": None if policy is None else "MessageAttributes",
            # What SNS can't deliver it drops, unless it is told where to leave it.
            "redrive_policy": Json({"deadLetterTargetArn": Ref(f"{item.name}-dead-letters", "arn")}),
        }
        type_, name = "aws:sns/topicSubscription:TopicSubscription", f"{item.name}-subscription"
        after = (access.name, f"{item.name}-dead-letters-access")
        yield Resource(type_, name, properties, "delivery", entry, after=after)

    def _letters(self, item: Subscription | Queue) -> Iterator[Resource]:
        entry, name = path_of(item), f"{item.name}-dead-letters"
        properties = self._queue(item, letters=True)
        yield Resource("aws:sqs/queue:Queue", name, properties, "dead letters", entry, keeps_messages=True)
        statements: list[dict[str, Any]] = []
        if isinstance(item, Subscription):
            statements = [aws_push.allow_topic([self.arns.topic(item.topic)], Ref(name, "arn"))]
        yield self._access(name, Ref(name, "url"), Ref(name, "arn"), statements, entry)

    def _queue(self, item: Subscription | Queue, *, letters: bool) -> dict[str, Any]:
        fifo = {
            "fifo_queue": True,
            "content_based_deduplication": False,
            "deduplication_scope": "messageGroup",
            "fifo_throughput_limit": "perMessageGroupId",
        }
        key = self._settings.kms_key
        declared = item.max_message_size if isinstance(item, Queue) else None
        return {
            "name": self.queue_name(item, letters=letters),
            **(fifo if self._fifo(item) else {}),
            "visibility_timeout_seconds": math.ceil(item.lease),
            "message_retention_seconds": round(item.dead_letter_retention if letters else item.retention),
            "receive_wait_time_seconds": round(AWS.long_poll.most),
            "max_message_size": AWS.default_message_bytes if letters else declared or AWS.default_message_bytes,
            **({"kms_master_key_id": key} if key else {"sqs_managed_sse_enabled": True}),
            "tags": self.tags,
        }

    def _access(
        self, name: str, url: str | Ref, arn: str | Ref, statements: list[dict[str, Any]], entry: str
    ) -> Resource:
        outside = aws_place.elsewhere(aws_place.QUEUE_ACTIONS, arn, self._settings.vpc_endpoints)
        document = {"Version": "2012-10-17", "Statement": [*statements, insecure("sqs:*", arn), *outside]}
        properties = {"queue_url": url, "policy": Json(document)}
        return Resource("aws:sqs/queuePolicy:QueuePolicy", f"{name}-access", properties, "access", entry)

    def bodies(self) -> Iterator[Resource]:
        """Plan the bucket of large bodies, where there are any."""
        both = [aws_bodies.arn(), joined(aws_bodies.arn(), "/*")]
        return aws_bodies.resources(
            self._topology,
            self._settings.stack,
            region=self.region,
            kms_key=self._settings.kms_key,
            endpoints=self._settings.vpc_endpoints,
            tags=self.tags,
            insecure=insecure("s3:*", both),
        )

    def rights(self, documents: Mapping[str, Mapping[str, Any]]) -> Iterator[Resource]:
        """Attach each service's policy to its role, where the stack config names one."""
        for service, role in self._settings.roles.items():
            if service not in documents:
                continue
            entry, name = f"$.services.{service}", f"{service}-rights"
            properties = {"name": self._policy_name(service), "policy": Json(documents[service]), "tags": self.tags}
            yield Resource("aws:iam/policy:Policy", name, properties, "rights", entry)
            attached = {"role": once(role, aws_roles.name_of), "policy_arn": Ref(name, "arn")}
            type_ = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
            yield Resource(type_, f"{service}-role", attached, "rights", entry)

    def _policy_name(self, service: str) -> str | Join:
        """Name a policy: one of the account's whatever the region is, and in no case of its own ("IAM identifiers")."""
        longest = _POLICY_NAME - aws_place.LONGEST_REGION
        name = physical_name(self._topology.name, self._settings.stack, service, longest=longest, caseless=True)
        return joined(f"{name}-", self.region)


def _held_key(key: str) -> str:
    """Refuse a key by its alias or id: rights on it can't be given so."""
    if not re.fullmatch(r"arn:[^:]+:kms:[^:]+:[^:]+:key/[^:]+", key):
        raise ConfigError(f"aws kmsKey: found {key!r}; allowed: a key's ARN, arn:aws:kms:<region>:<account>:key/<id>")
    return key
