"""What SNS and SQS have of a binding, in the plan's words: for `polybus check --live`.

Needs rights that no service has: to read and list topics, subscriptions and queues, their attributes and tags.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from polybus.binding import Binding, Entity
from polybus.clouds.aws.driver.clients import Clients
from polybus.clouds.aws.driver.faults import fault
from polybus.clouds.aws.plan.key import NEEDED, kept_out
from polybus.clouds.aws.plan.resources import AwsPlan
from polybus.errors import BackendError, FaultKind
from polybus.plan.observed import Observed, Outside, with_others

__all__ = ["live"]

_TOPIC = "aws:sns/topic:Topic"
_TOPIC_POLICY = "aws:sns/topicPolicy:TopicPolicy"
_SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
_QUEUE = "aws:sqs/queue:Queue"
_QUEUE_POLICY = "aws:sqs/queuePolicy:QueuePolicy"
_REDRIVE = "aws:sqs/redrivePolicy:RedrivePolicy"
_REDRIVE_ALLOW = "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy"

_DELIVERS = "sns.amazonaws.com"

# What SNS lists in place of an ARN for days after an endpoint unsubscribed.
_ENDED = "Deleted"

_TOPIC_ATTRIBUTES = {
    "fifo_topic": "FifoTopic",
    "content_based_deduplication": "ContentBasedDeduplication",
    "fifo_throughput_scope": "FifoThroughputScope",
    "maximum_message_size": "MaximumMessageSize",
    "signature_version": "SignatureVersion",
    "kms_master_key_id": "KmsMasterKeyId",
}
_QUEUE_ATTRIBUTES = {
    "fifo_queue": "FifoQueue",
    "content_based_deduplication": "ContentBasedDeduplication",
    "deduplication_scope": "DeduplicationScope",
    "fifo_throughput_limit": "FifoThroughputLimit",
    "visibility_timeout_seconds": "VisibilityTimeout",
    "message_retention_seconds": "MessageRetentionPeriod",
    "receive_wait_time_seconds": "ReceiveMessageWaitTimeSeconds",
    "max_message_size": "MaximumMessageSize",
    "delay_seconds": "DelaySeconds",
    "sqs_managed_sse_enabled": "SqsManagedSseEnabled",
    "kms_master_key_id": "KmsMasterKeyId",
}
_SUBSCRIPTION_ATTRIBUTES = {
    "raw_message_delivery": "RawMessageDelivery",
    "filter_policy": "FilterPolicy",
    "redrive_policy": "RedrivePolicy",
    "delivery_policy": "DeliveryPolicy",
}


async def live(binding: Binding, plan: AwsPlan) -> list[Observed | Outside]:
    """Read all that the binding names, its topics' subscriptions, what bears the bus's tags, and policies of keys.

    Raises BackendError for what AWS refuses; what isn't there is no error.
    """
    clients = Clients(binding.settings)
    try:
        reader = _Reader(clients, binding, plan)
        found = await reader.read()
        return [*found, *await reader.keys(found)]
    except (ClientError, BotoCoreError) as error:
        raise BackendError(fault(error)) from error
    finally:
        clients.close()


class _Reader:
    def __init__(self, clients: Clients, binding: Binding, plan: AwsPlan) -> None:
        self._clients = clients
        self._binding = binding
        self._topology = plan.topology
        self._stack = plan.settings.stack

    async def read(self) -> list[Observed]:
        binding = self._binding
        sources = [*binding.subscriptions.values(), *binding.queues.values()]
        parts = await asyncio.gather(
            *(self._entity(entity) for entity in binding.topics.values()), *(self._source(entity) for entity in sources)
        )
        return with_others(parts, [*await self._other_topics(), *await self._other_queues()])

    async def keys(self, found: Sequence[Observed]) -> list[Outside]:
        """Look whether the keys of what was found let SNS in, which delivers; those of SNS's and SQS's own do."""
        used = {str((item.properties or {}).get("kms_master_key_id", "")) for item in found}
        topics = [self._binding.topics[name].address for name in self._topology.topics if self._delivers(name)]
        keys = sorted(key for key in used if key and not key.startswith("alias/aws/"))
        return [await self._key(key, topics) for key in keys if topics]

    def _delivers(self, topic: str) -> bool:
        return topic in self._binding.topics and bool(self._topology.subscriptions_of(topic))

    async def _key(self, key: str, topics: Sequence[str]) -> Outside:
        kind = "key policy"
        try:
            policy = (await self._call("kms", "get_key_policy", KeyId=key, PolicyName="default"))["Policy"]
        except (ClientError, BotoCoreError) as error:
            return Outside(kind, key, unread=f"kms:GetKeyPolicy: {fault(error).detail}")
        out = kept_out(policy, _DELIVERS, topics)
        needed = f"{_DELIVERS} may {' and '.join(NEEDED)} for {', '.join(_last(topic) for topic in out)}"
        return Outside(kind, key, ((("policy", needed, "it may not"),) if out else ()))

    async def _entity(self, entity: Entity) -> list[Observed]:
        declared = self._topology.topics.get(entity.name)
        if declared is not None and declared.existing is not None:
            return await self._adopted_topic(f"{entity.name}-topic", entity.address)
        return await self._topic(f"{entity.name}-topic", f"{entity.name}-topic-access", entity.address)

    async def _adopted_topic(self, name: str, arn: str) -> list[Observed]:
        """Read what has to hold of it; the rest, and who else subscribes to it, is its owner's."""
        attributes = await self._attributes("sns", "get_topic_attributes", TopicArn=arn)
        if attributes is None:
            return [Observed(_TOPIC, name, arn, None)]
        subscriptions = [item async for item in self._subscriptions(arn, shared=True)]
        return [Observed(_TOPIC, name, arn, _picked(attributes, _TOPIC_ATTRIBUTES)), *subscriptions]

    async def _topic(self, name: str, access: str, arn: str) -> list[Observed]:
        outputs = {"arn": arn, "id": arn, "name": _last(arn), "owner": arn.split(":")[4]}
        attributes = await self._attributes("sns", "get_topic_attributes", TopicArn=arn)
        if attributes is None:
            return [Observed(_TOPIC, name, arn, None, outputs)]
        properties = {**_picked(attributes, _TOPIC_ATTRIBUTES), "name": _last(arn), "tags": await self._topic_tags(arn)}
        policy = Observed(_TOPIC_POLICY, access, arn, {"policy": attributes.get("Policy")})
        subscriptions = [item async for item in self._subscriptions(arn, shared=False)]
        return [Observed(_TOPIC, name, arn, properties, outputs), policy, *subscriptions]

    async def _topic_tags(self, arn: str) -> dict[str, str]:
        tags = (await self._call("sns", "list_tags_for_resource", ResourceArn=arn))["Tags"]
        return {tag["Key"]: tag["Value"] for tag in tags}

    async def _subscriptions(self, topic: str, *, shared: bool) -> AsyncIterator[Observed]:
        async for item in self._pages("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic):
            arn, protocol, endpoint = item["SubscriptionArn"], item["Protocol"], item["Endpoint"]
            if arn == _ENDED:
                continue
            properties = {"topic": topic, "protocol": protocol, "endpoint": endpoint}
            if arn.startswith("arn:"):
                attributes = await self._attributes("sns", "get_subscription_attributes", SubscriptionArn=arn)
                if attributes is None:
                    continue
                properties |= _picked(attributes, _SUBSCRIPTION_ATTRIBUTES)
            else:  # "PendingConfirmation": it has no ARN yet, and no attributes
                properties["status"] = arn
            yield Observed(_SUBSCRIPTION, None, f"{protocol}:{endpoint}", properties, shared=shared)

    async def _source(self, entity: Entity) -> list[Observed]:
        letters = entity.dead_letters.address
        found = await self._queue(entity, letters, f"{entity.name}-dead-letters")
        if entity.push:
            return found
        return [*await self._queue(entity, entity.address, f"{entity.name}-queue"), *found]

    async def _queue(self, entity: Entity, url: str, name: str) -> list[Observed]:
        attributes = await self._attributes("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
        if attributes is None:
            outputs = {"url": url, "arn": self._arn(url), "name": _last(url)}
            return [Observed(_QUEUE, name, url, None, outputs)]
        outputs = {"url": url, "arn": attributes["QueueArn"], "name": _last(url)}
        properties = {
            **_picked(attributes, _QUEUE_ATTRIBUTES),
            "name": _last(url),
            "tags": (await self._call("sqs", "list_queue_tags", QueueUrl=url)).get("Tags", {}),
        }
        base = entity.name if name == f"{entity.name}-queue" else name
        attached = (
            (_QUEUE_POLICY, f"{name}-access", "policy", "Policy"),
            (_REDRIVE, f"{base}-redrive", "redrive_policy", "RedrivePolicy"),
            (_REDRIVE_ALLOW, f"{entity.name}-redrive-allow", "redrive_allow_policy", "RedriveAllowPolicy"),
        )
        declared = self._topology.queues.get(entity.name)
        adopted = declared is not None and declared.existing is not None and name.endswith("-queue")
        parts = [
            Observed(type_, logical, url, {key: attributes[attribute]}, shared=adopted)
            for type_, logical, key, attribute in attached
            if attributes.get(attribute)
        ]
        return [Observed(_QUEUE, name, url, properties, outputs), *parts]

    async def _other_topics(self) -> list[Observed]:
        found: list[Observed] = []
        async for item in self._pages("sns", "list_topics", "Topics"):
            arn = item["TopicArn"]
            if not _last(arn).startswith(f"{self._binding.bus}-") or not self._ours(await self._topic_tags(arn)):
                continue
            if _last(arn).endswith("--alarms"):  # in no binding; no entry's name begins with a hyphen
                found += await self._topic("bus.alarms-topic", "bus.alarms-access", arn)
            else:
                found.append(Observed(_TOPIC, None, arn, {}))
        return found

    async def _other_queues(self) -> list[Observed]:
        asked = {"QueueNamePrefix": f"{self._binding.bus}-", "PaginationConfig": {"PageSize": 1000}}
        urls = [url async for url in self._pages("sqs", "list_queues", "QueueUrls", **asked)]
        tags = [(await self._call("sqs", "list_queue_tags", QueueUrl=url)).get("Tags", {}) for url in urls]
        return [Observed(_QUEUE, None, url, {}) for url, theirs in zip(urls, tags, strict=True) if self._ours(theirs)]

    def _ours(self, tags: Mapping[str, str]) -> bool:
        """Tell by the tags that every planned resource has whether one is of this bus in this stack."""
        return tags.get("polybus-bus") == self._binding.bus and tags.get("polybus-stack", "") == self._stack

    def _arn(self, url: str) -> str:
        """Derive the ARN of a queue that isn't there any more, by those of the topics or the region."""
        account, name = urlsplit(url).path.strip("/").split("/")[-2:]
        partition, region = "aws", str(self._binding.settings.get("region", ""))
        for topic in self._binding.topics.values():
            partition, region = topic.address.split(":")[1], topic.address.split(":")[3]
        return f"arn:{partition}:sqs:{region}:{account}:{name}"

    async def _attributes(self, service: str, method: str, **arguments: Any) -> Mapping[str, Any] | None:
        """Return attributes, or None for what isn't there."""
        try:
            answer = await self._call(service, method, **arguments)
        except ClientError as error:
            if fault(error).kind is FaultKind.NOT_FOUND:
                return None
            raise
        attributes: Mapping[str, Any] = answer["Attributes"]
        return attributes

    async def _pages(self, service: str, method: str, key: str, **arguments: Any) -> AsyncIterator[Any]:
        client = await self._clients.get(service)

        def read() -> list[Any]:
            pages = client.get_paginator(method).paginate(**arguments)
            return [item for page in pages for item in page.get(key, ())]

        for item in await self._clients.run(read):
            yield item

    async def _call(self, service: str, method: str, **arguments: Any) -> Mapping[str, Any]:
        client = await self._clients.get(service)
        answer: Mapping[str, Any] = await self._clients.run(partial(getattr(client, method), **arguments))
        return answer


def _picked(attributes: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: attributes[theirs] for name, theirs in names.items() if theirs in attributes}


def _last(address: str) -> str:
    return address.replace("/", ":").rpartition(":")[2]
