"""What Service Bus has of a binding, in the plan's words: for `polybus check --live`.

It asks the namespace's own management API, which takes the right to manage: Azure Service Bus Data Owner. What the
namespace is set to, and who has rights, is Azure Resource Manager's to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from azure.core.exceptions import AzureError, ResourceNotFoundError

from polybus.binding import Binding, Entity
from polybus.clouds.azure.driver.clients import SUBSCRIPTIONS, Clients
from polybus.clouds.azure.driver.faults import fault
from polybus.clouds.azure.plan.resources import AzurePlan, iso_duration
from polybus.errors import BackendError
from polybus.plan.observed import Observed

__all__ = ["live"]

T = TypeVar("T")

_TOPIC = "azure-native:servicebus:Topic"
_QUEUE = "azure-native:servicebus:Queue"
_SUBSCRIPTION = "azure-native:servicebus:Subscription"
_RULE = "azure-native:servicebus:DefaultRule"
_DEFAULT_RULE = "$Default"

_OF_BOTH = ("requires_duplicate_detection", "duplicate_detection_history_time_window", "enable_partitioning")
_OF_TOPIC = (*_OF_BOTH, "support_ordering")
_OF_SUBSCRIPTION = (
    "requires_session",
    "lock_duration",
    "max_delivery_count",
    "default_message_time_to_live",
    "dead_lettering_on_message_expiration",
    "dead_lettering_on_filter_evaluation_exceptions",
    "forward_to",
    "forward_dead_lettered_messages_to",
)
_OF_QUEUE = (*_OF_BOTH, *(name for name in _OF_SUBSCRIPTION if not name.endswith("_exceptions")))


async def live(binding: Binding, plan: AzurePlan) -> list[Observed]:
    """Read every topic, queue, subscription and rule of the binding's namespace, which is this bus's alone.

    Raises BackendError for what Azure refuses; what isn't there is no error.
    """
    clients = Clients(binding.settings)
    try:
        return await _Reader(clients.administration, binding, plan).read()
    except AzureError as error:
        raise BackendError(fault(error)) from error
    finally:
        await clients.aclose()


class _Reader:
    def __init__(self, client: Any, binding: Binding, plan: AzurePlan) -> None:
        self._client = client
        self._binding = binding
        topics, queues = plan.topology.topics.values(), plan.topology.queues.values()
        adopted = {topic.name for topic in topics if topic.existing is not None}
        self._adopted = adopted | {queue.name for queue in queues if queue.existing is not None}

    async def read(self) -> list[Observed]:
        binding = self._binding
        parts = await asyncio.gather(
            *(self._topic(entity) for entity in binding.topics.values()),
            *(self._queue(entity) for entity in binding.queues.values()),
            *(self._subscription(entity) for entity in binding.subscriptions.values()),
            self._others(),
        )
        return [item for part in parts for item in part]

    async def _topic(self, entity: Entity) -> list[Observed]:
        name, path = f"{entity.name}-topic", entity.address
        found = await _there(self._client.get_topic(path))
        if found is None:
            return [Observed(_TOPIC, name, path, None)]
        if entity.name in self._adopted:
            return [Observed(_TOPIC, name, path, {})]  # what it is and who else subscribes to it is its owner's
        ours = {item.address for item in self._binding.subscriptions.values()}
        paths = [f"{path}{SUBSCRIPTIONS}{item.name}" async for item in self._client.list_subscriptions(path)]
        foreign = [Observed(_SUBSCRIPTION, None, other, {}) for other in paths if other not in ours]
        return [Observed(_TOPIC, name, path, {"topic_name": path, **_picked(found, _OF_TOPIC)}), *foreign]

    async def _queue(self, entity: Entity) -> list[Observed]:
        name, path = f"{entity.name}-queue", entity.address
        found = await _there(self._client.get_queue(path))
        properties = None if found is None else {"queue_name": path, **_picked(found, _OF_QUEUE)}
        return [Observed(_QUEUE, name, path, properties)]

    async def _subscription(self, entity: Entity) -> list[Observed]:
        logical, path = f"{entity.name}-subscription", entity.address
        topic, _, name = path.partition(SUBSCRIPTIONS)
        found = await _there(self._client.get_subscription(topic, name))
        if found is None:
            return [Observed(_SUBSCRIPTION, logical, path, None)]
        properties = {"subscription_name": name, **_picked(found, _OF_SUBSCRIPTION)}
        rules = [
            Observed(
                _RULE,
                f"{entity.name}-rule" if rule.name == _DEFAULT_RULE else None,
                f"{path}/Rules/{rule.name}",
                {
                    "sql_filter": {"sql_expression": getattr(rule.filter, "sql_expression", repr(rule.filter))},
                    "action": {"sql_expression": getattr(rule.action, "sql_expression", None)},
                },
            )
            async for rule in self._client.list_rules(topic, name)
        ]
        return [Observed(_SUBSCRIPTION, logical, path, properties), *rules]

    async def _others(self) -> list[Observed]:
        """List what is in the namespace and not in the binding."""
        topics = {entity.address for entity in self._binding.topics.values()}
        queues = {entity.address for entity in self._binding.queues.values()}
        found_topics = [item.name async for item in self._client.list_topics()]
        found_queues = [item.name async for item in self._client.list_queues()]
        return [
            *(Observed(_TOPIC, None, name, {}) for name in found_topics if name not in topics),
            *(Observed(_QUEUE, None, name, {}) for name in found_queues if name not in queues),
        ]


async def _there(call: Awaitable[T]) -> T | None:
    """Return what a call gives, or None where nothing is there."""
    try:
        return await call
    except ResourceNotFoundError:
        return None


def _picked(found: Any, names: Sequence[str]) -> dict[str, Any]:
    """Give properties of one of the library's models; an entity that takes or gives nothing says so."""
    properties = {name: _plain(getattr(found, name)) for name in names}
    state = str(getattr(found.status, "value", found.status))
    return properties if state == "Active" else {**properties, "entity_status": state}


def _plain(value: Any) -> Any:
    return iso_duration(value.total_seconds()) if isinstance(value, timedelta) else value
