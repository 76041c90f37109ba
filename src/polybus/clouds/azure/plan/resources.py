"""How Service Bus realises a topology.

One namespace holds it all: topics with subscriptions, each with one rule that is its filter, and queues; their dead
letters are built in. Ordered ones have sessions. Rights are role assignments on single entities; connection strings are
switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.clouds.azure.limits import AZURE
from polybus.clouds.azure.plan import bodies as azure_bodies
from polybus.clouds.azure.plan import diagnostics as azure_diagnostics
from polybus.clouds.azure.plan import published as azure_published
from polybus.clouds.azure.plan import rights as azure_rights
from polybus.clouds.azure.plan import watch as azure_watch
from polybus.clouds.azure.plan.filters import compile_filter, rule_action
from polybus.clouds.azure.plan.mistakes import mistakes
from polybus.clouds.azure.plan.namespace import AzurePlan, AzureSettings, Home, Principal, namespace_resources
from polybus.plan import check
from polybus.plan.entities import Place, binding_of
from polybus.plan.later import known
from polybus.plan.names import Names, physical_name, subscription_tag
from polybus.plan.rules import cloud_attempts, path_of
from polybus.plan.settings import check_services, refuse, with_options
from polybus.plan.values import Join, Ref, Resource, found_in, joined, marked, unmarked
from polybus.topology.limits import KIB, MIB
from polybus.topology.model import Queue, Subscription, Topic, Topology

__all__ = [
    "AzurePlan",
    "AzureSettings",
    "Principal",
    "binding",
    "binding_values",
    "exports",
    "iso_duration",
    "plan",
    "planned",
]

_LETTERS = "/$DeadLetterQueue"  # how clients address an entity's dead letters
_DUPLICATES = "PT10M"  # Service Bus's own default window; a publisher's retries end long before


def plan(topology: Topology, settings: AzureSettings | None = None) -> AzurePlan:
    """Plan a topology for Azure.

    Raises ConfigError with everything that Azure would refuse of the settings by its form, UnsupportedFeature with
    everything that Service Bus can't do of the topology.
    """
    chosen = settings or AzureSettings()
    refuse("azure", mistakes(known(chosen)))
    return planned(topology, chosen)


def planned(topology: Topology, chosen: AzureSettings) -> AzurePlan:
    """Plan as `plan` does, with stand-ins for identities too."""
    topology = check.refuse(topology, "azure", stack=chosen.stack)
    check_services(topology, chosen.principals, "azure principals")
    planner = _Planner(topology, chosen)
    azure_bodies.hold(planner.home)
    resources = [*namespace_resources(planner.home), *planner.resources(), *azure_bodies.resources(planner.home)]
    store = azure_published.of(chosen)
    if store is not None:
        values = binding_values(AzurePlan(topology, chosen, ()))
        resources += azure_published.resources(topology, planner.home.namespace_name, store, values, planner.home.tags)
    resources += azure_rights.resources(planner.home)
    resources += azure_watch.resources(planner.home)
    resources += azure_diagnostics.resources(planner.home)
    return AzurePlan(topology, chosen, tuple(resources))


def binding(plan: AzurePlan, outputs: Mapping[str, Mapping[str, str]]) -> Binding:
    """Give the binding of a realised plan; `outputs` has each resource's outputs, by its logical name."""
    return _binding(plan, found_in(outputs))


def binding_values(plan: AzurePlan) -> dict[str, Any]:
    """Give the binding as plain data with references in it: what a stack exports once they are known."""
    values: dict[str, Any] = unmarked(msgspec.to_builtins(_binding(plan, marked)))
    return values


def exports(plan: AzurePlan) -> dict[str, Any]:
    """Give the resource ids, names and addresses that other infrastructure needs, with references in them."""
    topology, home, settings = plan.topology, Home(plan.topology, plan.settings), plan.settings
    store = azure_published.of(settings)
    return {
        "namespace": {"id": Ref("namespace", "id"), "name": home.namespace, "host": home.host},
        "topics": {name: {"id": home.published_id(name), "name": home.topic(name)} for name in topology.topics},
        "subscriptions": {
            name: {
                "id": home.consumed_id(name),
                "name": Ref(f"{name}-subscription", "name"),
                "deadLetters": joined(
                    home.topic(item.topic), "/Subscriptions/", Ref(f"{name}-subscription", "name"), _LETTERS
                ),
            }
            for name, item in topology.subscriptions.items()
        },
        "queues": {
            name: {
                "id": home.published_id(name),
                "name": home.queue(name),
                "deadLetters": joined(home.queue(name), _LETTERS),
            }
            for name in topology.queues
        },
        **azure_bodies.exports(home),
        **(azure_published.references(topology, home.namespace_name, store, settings.environment) if store else {}),
    }


def iso_duration(seconds: float) -> str:
    """Write seconds as Azure gives them back, P4D and not PT345600S: else every refresh shows a difference."""
    days, rest = divmod(round(seconds), 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    time = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (left, "S")) if count)
    text = (f"{days}D" if days else "") + (f"T{time}" if time else "")
    return f"P{text or 'T0S'}"


def _binding(plan: AzurePlan, find: Callable[[str | Ref | Join], str]) -> Binding:
    topology, planner = plan.topology, _Planner(plan.topology, plan.settings)
    size = planner.default_size

    def subscription(item: Subscription) -> Place:
        path = f"{find(planner.home.topic(item.topic))}/Subscriptions/{planner.subscription_name(item)}"
        return Place(path, f"{path}/$DeadLetterQueue", size)

    def queue(item: Queue) -> Place:
        path = find(planner.home.queue(item.name))
        return Place(path, f"{path}/$DeadLetterQueue", size)

    return binding_of(
        topology,
        backend="azure",
        settings={"namespace": find(planner.home.host), **plan.settings.network},
        topics={name: Place(find(planner.home.topic(name)), max_size=size) for name in topology.topics},
        subscriptions={item.name: subscription(item) for item in topology.subscriptions.values()},
        queues={item.name: queue(item) for item in topology.queues.values()},
        beside=azure_bodies.of_binding(planner.home, find),
    )


def _passed_on(entry: Topic | Subscription | Queue, argument: str) -> str | None:
    """Give the name that an entry's pass-through table has instead of ours."""
    own: str | None = entry.options.get("azure", {}).get(argument)
    return own


class _Planner:
    """Plans one topology for one stack."""

    def __init__(self, topology: Topology, settings: AzureSettings) -> None:
        self._topology = topology
        self._settings = settings
        self._names = Names(topology.name, settings.stack, round(AZURE.topic_name.length.most))
        self.home = Home(topology, settings)

    @property
    def default_size(self) -> int:
        return MIB if self._settings.premium else AZURE.default_message_bytes

    def resources(self) -> Iterator[Resource]:
        for topic in self._topology.topics.values():
            if topic.existing is None:
                yield self._topic(topic)
        for queue in self._topology.queues.values():
            if queue.existing is None:
                yield self._queue(queue)
        for subscription in self._topology.subscriptions.values():  # last: what they forward to has to be there
            yield from self._subscription(subscription)

    def subscription_name(self, item: Subscription) -> str:
        """Name a subscription: inside its topic, so without the bus and the stack."""
        own = _passed_on(item, "subscription_name")
        return own or physical_name(item.name, longest=round(AZURE.subscription_name.length.most))

    def _topic(self, topic: Topic) -> Resource:
        properties = {
            "topic_name": self._names.of(topic.name),
            **self.home.inside,
            **self._detection(),
            **self._size(topic),
            "support_ordering": topic.ordered,
        }
        properties = with_options(properties, topic.options.get("azure", {}))
        return Resource(
            "azure-native:servicebus:Topic",
            f"{topic.name}-topic",
            properties,
            "topic",
            path_of(topic),
            keeps_messages=True,
        )

    def _subscription(self, item: Subscription) -> Iterator[Resource]:
        name, entry = f"{item.name}-subscription", path_of(item)
        forward = item.push.forward if item.push is not None else None
        within = {"topic_name": self.home.topic(item.topic), **self.home.inside}
        properties = {
            "subscription_name": self.subscription_name(item),
            **within,
            **self._delivery(item),
            "dead_lettering_on_filter_evaluation_exceptions": True,
            **({"forward_to": self._published(forward)} if forward else {}),
        }
        properties = with_options(properties, item.options.get("azure", {}))
        type_ = "azure-native:servicebus:Subscription"
        after = self._made(forward) if forward else ()
        yield Resource(type_, name, properties, "subscription", entry, keeps_messages=True, after=after)
        # Declared without a filter too: removing the resource later would leave no rule, and nothing would pass.
        tag = subscription_tag(self._topology.name, item.name)
        sql, action = compile_filter(item.filter, tag), rule_action(tag, forwards=forward is not None)
        rule = {
            "subscription_name": Ref(name, "name"),
            **within,
            "filter_type": "SqlFilter",
            "sql_filter": {"sql_expression": sql},
            "action": {"sql_expression": action},
        }
        yield Resource("azure-native:servicebus:DefaultRule", f"{item.name}-rule", rule, "filter", entry)

    def _published(self, name: str) -> str:
        """Give the physical name of a topic or queue, before it is there as well."""
        entry = self._topology.topics.get(name) or self._topology.queues[name]
        if entry.existing:
            return entry.existing.rsplit("/", 1)[-1]
        argument = "topic_name" if isinstance(entry, Topic) else "queue_name"
        return _passed_on(entry, argument) or self._names.of(name)

    def _made(self, name: str) -> tuple[str, ...]:
        """Give the resource of a topic or queue, none where it is adopted."""
        entry = self._topology.topics.get(name) or self._topology.queues[name]
        kind = "topic" if isinstance(entry, Topic) else "queue"
        return () if entry.existing else (f"{name}-{kind}",)

    def _queue(self, item: Queue) -> Resource:
        properties = {
            "queue_name": self._names.of(item.name),
            **self.home.inside,
            **self._delivery(item),
            **self._detection(),
            **self._size(item),
        }
        properties = with_options(properties, item.options.get("azure", {}))
        return Resource(
            "azure-native:servicebus:Queue",
            f"{item.name}-queue",
            properties,
            "queue",
            path_of(item),
            keeps_messages=True,
        )

    def _delivery(self, item: Subscription | Queue) -> dict[str, Any]:
        """Give what subscriptions and queues share; a push has the cloud's own limit of attempts (D6)."""
        push = item.push if isinstance(item, Subscription) else None
        forward = push is not None and push.forward is not None
        return {
            # Service Bus forwards nothing that has sessions; messages keep their session's id all the same.
            "requires_session": self._topology.is_ordered(item.name) and not forward,
            "lock_duration": iso_duration(AZURE.lease.clamp(item.lease)),
            "max_delivery_count": cloud_attempts(AZURE, item),
            "default_message_time_to_live": iso_duration(item.retention),
            "dead_lettering_on_message_expiration": False,
            "enable_batched_operations": True,
        }

    def _detection(self) -> dict[str, Any]:
        return {
            "requires_duplicate_detection": True,
            "duplicate_detection_history_time_window": _DUPLICATES,
            "enable_partitioning": False,
        }

    def _size(self, item: Topic | Queue) -> dict[str, Any]:
        """Give the largest message, which only Premium lets one choose, from 1 MiB up."""
        if not self._settings.premium:
            return {}
        size = max(item.max_message_size or 0, round(AZURE.premium_message_bytes.least))
        return {"max_message_size_in_kilobytes": -(-size // KIB)}
