"""What Pub/Sub has of a binding, in the plan's words: for `polybus check --live`.

Needs rights that no service has: roles/pubsub.viewer on the project, and to read the IAM policies there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest  # type: ignore[import-untyped]
from google.protobuf.json_format import MessageToDict
from google.pubsub_v1 import types

from polybus.binding import Binding, Entity
from polybus.clouds.gcp.driver.clients import Clients
from polybus.clouds.gcp.driver.faults import fault
from polybus.clouds.gcp.driver.line import Line
from polybus.clouds.gcp.plan.resources import GcpPlan, label
from polybus.errors import BackendError
from polybus.plan.observed import Observed, with_others

__all__ = ["live"]

_TOPIC = "gcp:pubsub/topic:Topic"
_SUBSCRIPTION = "gcp:pubsub/subscription:Subscription"
_TOPIC_MEMBER = "gcp:pubsub/topicIAMMember:TopicIAMMember"
_SUBSCRIPTION_MEMBER = "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember"
_EVERYONE = ("allUsers", "allAuthenticatedUsers")
_AGENT = "@gcp-sa-pubsub."


async def live(binding: Binding, plan: GcpPlan) -> list[Observed]:
    """Read all that the binding names, the subscriptions of its topics, and what bears the bus's labels.

    Raises BackendError for what Google refuses; what isn't there is no error.
    """
    clients = Clients(binding.settings)
    try:
        return await _Reader(clients, binding, plan).read()
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise BackendError(fault(error, clients.endpoint)) from error
    finally:
        await clients.close()


class _Reader:
    def __init__(self, clients: Clients, binding: Binding, plan: GcpPlan) -> None:
        self._clients = clients
        self._binding = binding
        self._topology = plan.topology
        self._stack = plan.settings.stack

    async def read(self) -> list[Observed]:
        binding = self._binding
        sources = [*binding.subscriptions.values(), *binding.queues.values()]
        parts = await asyncio.gather(
            *(self._entry(entity, entity.address) for entity in binding.topics.values()),
            *(self._entry(entity, entity.options["topic"]) for entity in binding.queues.values()),
            *(self._letters(entity) for entity in sources),
            *(self._subscription(f"{entity.name}-subscription", entity.address) for entity in sources),
        )
        # A foreign subscription of our topic may bear our labels too, and is still one.
        others = {item.address: item for item in await self._others(sources)}
        return with_others(parts, others.values())

    async def _entry(self, entity: Entity, path: str) -> list[Observed]:
        topology = self._topology
        declared = topology.topics.get(entity.name) or topology.queues.get(entity.name)
        topic = await self._topic(f"{entity.name}-topic", path)
        if declared is not None and declared.existing is not None:
            return topic[:1]  # adopted: who has rights there and who else subscribes to it is its owner's
        return [*topic, *await self._attached(path)]

    async def _letters(self, entity: Entity) -> list[Observed]:
        topic = await self._topic(f"{entity.name}-dead-letters-topic", entity.options["dead_letter_topic"])
        name, path = f"{entity.name}-dead-letters", entity.dead_letters.address
        return [*topic, *await self._attached(topic[0].address), *await self._subscription(name, path)]

    async def _topic(self, name: str, path: str) -> list[Observed]:
        found = await self._read(lambda line: line.publisher.get_topic, types.GetTopicRequest(topic=path), path)
        if found is None:
            return [Observed(_TOPIC, name, path, None, _outputs(path))]
        topic = Observed(_TOPIC, name, path, _plain(types.Topic.pb(found)), _outputs(path))
        return [
            topic,
            *await self._members(lambda line: line.publisher.get_iam_policy, path, _TOPIC_MEMBER, {"topic": path}),
        ]

    async def _subscription(self, name: str, path: str) -> list[Observed]:
        request = types.GetSubscriptionRequest(subscription=path)
        found = await self._read(lambda line: line.subscriber.get_subscription, request, path)
        if found is None:
            return [Observed(_SUBSCRIPTION, name, path, None, _outputs(path))]
        properties = _plain(types.Subscription.pb(found))
        identity = {"subscription": properties["name"]}
        members = await self._members(lambda line: line.subscriber.get_iam_policy, path, _SUBSCRIPTION_MEMBER, identity)
        return [Observed(_SUBSCRIPTION, name, path, properties, _outputs(path)), *members]

    async def _members(
        self, method: Callable[[Line], Any], path: str, type_: str, identity: Mapping[str, str]
    ) -> list[Observed]:
        """Read who has rights: those of services are the stack's configuration's, everybody's are nobody's plan."""
        policy = await self._clients.call(method, GetIamPolicyRequest(resource=path), path)
        return [
            Observed(
                type_,
                None,
                f"{path}: {binding.role} for {member}",
                {**identity, "role": binding.role, "member": member},
                shared=member not in _EVERYONE and _AGENT not in member,
            )
            for binding in policy.bindings
            for member in binding.members
        ]

    async def _attached(self, topic: str) -> list[Observed]:
        """List the subscriptions of a topic by name alone."""
        request = types.ListTopicSubscriptionsRequest(topic=topic)
        pages = await self._read(lambda line: line.publisher.list_topic_subscriptions, request, topic)
        paths = [] if pages is None else [path async for path in pages]
        known = self._known()
        return [Observed(_SUBSCRIPTION, None, path, {}) for path in paths if path not in known]

    async def _read(self, method: Callable[[Line], Any], request: Any, path: str) -> Any:
        """Return what is at a path, or None where nothing is."""
        try:
            return await self._clients.call(method, request, path)
        except NotFound:
            return None

    def _known(self) -> set[str]:
        sources = (*self._binding.subscriptions.values(), *self._binding.queues.values())
        return {path for entity in sources for path in (entity.address, entity.dead_letters.address)}

    async def _others(self, sources: Iterable[Entity]) -> list[Observed]:
        project = next((entity.address.split("/")[1] for entity in sources), self._binding.settings.get("project"))
        if project is None:
            return []  # nothing is declared that has messages, so nothing can be left over
        place = f"projects/{project}"
        listed = types.ListTopicsRequest(project=place)
        topics = await self._clients.call(lambda line: line.publisher.list_topics, listed, place)
        found = [Observed(_TOPIC, None, item.name, {}) async for item in topics if self._ours(item.labels)]
        request = types.ListSubscriptionsRequest(project=place)
        subscriptions = await self._clients.call(lambda line: line.subscriber.list_subscriptions, request, place)
        return found + [
            Observed(_SUBSCRIPTION, None, item.name, {}) async for item in subscriptions if self._ours(item.labels)
        ]

    def _ours(self, labels: Mapping[str, str]) -> bool:
        """Tell by the labels that every planned resource has whether one is of this bus in this stack."""
        bus, stack = label(self._binding.bus), label(self._stack)
        return labels.get("polybus-bus") == bus and labels.get("polybus-stack", "") == stack


def _plain(message: Any) -> dict[str, Any]:
    """Give a resource's properties; its name is the last part of its path, as plans have it."""
    found: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return {**found, "name": found["name"].rpartition("/")[2]}


def _outputs(path: str) -> dict[str, str]:
    return {"id": path, "name": path.rpartition("/")[2]}
