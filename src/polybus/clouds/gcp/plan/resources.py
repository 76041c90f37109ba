"""How Pub/Sub realises a topology.

A queue is a topic with its one subscription. Dead letters go to a topic of their own with a subscription of its own:
without one they would be lost, and without its two grants the Pub/Sub service agent couldn't forward them. There is no
retry policy on what the bus pulls: its backoff would be doubled by it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from polybus.binding import Binding
from polybus.clouds.gcp.limits import GCP
from polybus.clouds.gcp.plan import bodies as gcp_bodies
from polybus.clouds.gcp.plan import invokers as gcp_invokers
from polybus.clouds.gcp.plan import published as gcp_published
from polybus.clouds.gcp.plan import rights as gcp_rights
from polybus.clouds.gcp.plan import watch as gcp_watch
from polybus.clouds.gcp.plan.filters import compile_filter
from polybus.clouds.gcp.plan.mistakes import mistakes
from polybus.clouds.gcp.plan.settings import GcpSettings
from polybus.clouds.gcp.plan.tags import TAGS
from polybus.errors import ConfigError
from polybus.plan import bodies, check
from polybus.plan.entities import Place, binding_of
from polybus.plan.later import Text, known, once
from polybus.plan.names import Names, subscription_tag
from polybus.plan.rules import cloud_attempts, consumed, counted_by_cloud, path_of, published
from polybus.plan.settings import check_services, function_of, refuse, with_options
from polybus.plan.tags import tags_of
from polybus.plan.values import Join, Ref, Resource, found_in, marked, unmarked
from polybus.topology.model import Push, Queue, Subscription, Topic, Topology

__all__ = ["GcpPlan", "GcpSettings", "binding", "binding_values", "exports", "label", "plan"]


_WATCHER = "bus.monitoring-agent"  # the dot is in no name of a topology
_TOPIC = "gcp:pubsub/topic:Topic"


@dataclass(frozen=True, slots=True)
class GcpPlan:
    """The resources, in an order in which they can be created; `lookup` resources are read, not created."""

    topology: Topology
    settings: GcpSettings
    resources: tuple[Resource, ...]


def plan(topology: Topology, settings: GcpSettings | None = None) -> GcpPlan:
    """Plan a topology for Google Cloud.

    Raises ConfigError with everything that Google would refuse of the settings by its form, UnsupportedFeature with
    everything that Pub/Sub can't do of the topology.
    """
    chosen = settings or GcpSettings()
    refuse("gcp", mistakes(known(chosen)))
    topology = check.refuse(topology, "gcp", stack=chosen.stack)
    check_services(topology, chosen.members, "gcp members")
    _hold_places(chosen)
    if chosen.kms_key is not None:
        chosen = replace(chosen, kms_key=once(chosen.kms_key, _held_key))
    gcp_bodies.hold(topology, chosen)
    planner = _Planner(topology, chosen)
    resources = [*planner.resources()]
    agents = gcp_rights.Agents(planner.agent, planner.made)
    resources += gcp_rights.resources(topology, chosen.members, agents, planner.inside)
    resources += planner.bodies()
    resources += gcp_bodies.members(topology, chosen.members)
    resources += gcp_invokers.resources(planner.pushes(), chosen.push_account)
    scene = gcp_watch.Scene(planner.names, planner.inside, planner.labels, planner.watcher)
    resources += gcp_watch.resources(topology, scene)
    if chosen.bindings == gcp_published.SECRET_MANAGER:
        values = binding_values(GcpPlan(topology, chosen, ()))
        # A secret's id is as long as a topic's name (projects.secrets.create, Secret Manager API).
        told = gcp_published.Scene(planner.names, planner.inside, planner.labels, chosen.regions, chosen.members)
        resources += gcp_published.resources(topology, values, told)
    return GcpPlan(topology, chosen, tuple(resources))


def binding(plan: GcpPlan, outputs: Mapping[str, Mapping[str, str]]) -> Binding:
    """Give the binding of a realised plan; `outputs` has each resource's outputs, by its logical name."""
    return _binding(plan, found_in(outputs))


def binding_values(plan: GcpPlan) -> dict[str, Any]:
    """Give the binding as plain data with references in it: what a stack exports once they are known."""
    values: dict[str, Any] = unmarked(msgspec.to_builtins(_binding(plan, marked)))
    return values


def exports(plan: GcpPlan) -> dict[str, Any]:
    """Give the resource names that other infrastructure needs, with references in them."""
    topology = plan.topology

    def source(name: str) -> dict[str, Any]:
        letters = f"{name}-dead-letters"
        return {
            "subscription": Ref(f"{name}-subscription", "id"),
            "deadLetterTopic": Ref(f"{letters}-topic", "id"),
            "deadLetterSubscription": Ref(letters, "id"),
        }

    return {
        "topics": {name: {"topic": gcp_rights.topic_of(topology, name)} for name in topology.topics},
        "subscriptions": {name: source(name) for name in topology.subscriptions},
        "queues": {name: {"topic": gcp_rights.topic_of(topology, name), **source(name)} for name in topology.queues},
        **({} if topology.large_bodies is None else {"bodies": {"bucket": gcp_bodies.BUCKET}}),
        **gcp_published.references(topology, plan.settings.bindings),
    }


def label(text: str) -> str:
    """Make a text fit for a label: lower case, up to 63 of a-z 0-9 _ -."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[: GCP.label_characters.most]


def _hold_places(settings: GcpSettings) -> None:
    """Refuse regions that Google would refuse for their form, one resource after the other."""
    for region in settings.regions:
        if not re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", region):
            raise ConfigError(f"gcp regions: found {region!r}; allowed: ids of regions, such as europe-west1")


def _held_key(key: str) -> str:
    if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+", key):
        allowed = "projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>"
        raise ConfigError(f"gcp kmsKey: found {key!r}; allowed: {allowed}")
    return key


def _binding(plan: GcpPlan, find: Callable[[str | Ref | Join], str]) -> Binding:
    topology = plan.topology
    size = GCP.default_message_bytes

    def place(item: Subscription | Queue) -> Place:
        topic = gcp_rights.topic_of(topology, item.topic if isinstance(item, Subscription) else item.name)
        options = {"topic": find(topic), "dead_letter_topic": find(Ref(f"{item.name}-dead-letters-topic", "id"))}
        letters = find(Ref(f"{item.name}-dead-letters", "id"))
        return Place(find(Ref(f"{item.name}-subscription", "id")), letters, size, options)

    return binding_of(
        topology,
        backend="gcp",
        settings=_reached(plan.settings),
        topics={name: Place(find(gcp_rights.topic_of(topology, name)), max_size=size) for name in topology.topics},
        subscriptions={item.name: place(item) for item in topology.subscriptions.values()},
        queues={item.name: place(item) for item in topology.queues.values()},
        beside=None if topology.large_bodies is None else bodies.of_binding(topology, find(gcp_bodies.URL)),
    )


def _reached(settings: GcpSettings) -> dict[str, str]:
    found = {"project": settings.project, "api_endpoint": settings.api_endpoint}
    return {name: value for name, value in found.items() if value}


class _Planner:
    """Plans one topology for one stack."""

    def __init__(self, topology: Topology, settings: GcpSettings) -> None:
        self._topology = topology
        self._settings = settings
        self.names = Names(topology.name, settings.stack, round(GCP.topic_name.length.most))
        self.labels = tags_of(topology, settings.stack, settings.labels, TAGS, label)

    @property
    def inside(self) -> dict[str, Any]:
        """Give the arguments that place a resource in the project."""
        return {"project": self._settings.project} if self._settings.project else {}

    @property
    def _keyed(self) -> tuple[str, ...]:
        """Name what a topic has to wait for where it is encrypted with a key of the stack's config."""
        return (gcp_rights.KEY_GRANT,) if self._settings.kms_key is not None else ()

    @property
    def agent(self) -> Join | Ref:
        """Name the Pub/Sub service agent of the project, which forwards dead letters."""
        return self._service_agent("pubsub", gcp_rights.AGENT)

    @property
    def watcher(self) -> Join | Ref:
        """Name the service account by which Cloud Monitoring publishes to a topic."""
        return self._service_agent("monitoring-notification", _WATCHER)

    @property
    def made(self) -> tuple[str, ...]:
        """Name what the Pub/Sub service agent has to wait for: in a fresh project there is none yet."""
        return (gcp_rights.AGENT,) if self._settings.service_identity else ()

    @property
    def number(self) -> Any:
        """Give the project's number."""
        return self._settings.project_number or Ref("project", "number")

    def bodies(self) -> Iterator[Resource]:
        """Plan the bucket of large bodies, where there are any."""
        return gcp_bodies.resources(self._topology, self._settings, self.number, self.inside, self.labels)

    def _service_agent(self, service: str, made: str) -> Join | Ref:
        """Name the service account that a service of Google's acts as in the project: known before it is there.

        Not so in other universes, where the name is what Google says as it makes the account.
        """
        if self._settings.elsewhere:
            return Ref(made, "member")
        return Join(("serviceAccount:service-", self.number, f"@gcp-sa-{service}.iam.gserviceaccount.com"))

    def _identities(self) -> Iterator[Resource]:
        """Have Google make the service agents that are granted something: before, nobody could be."""
        alarms = self._topology.alarms
        services = {}
        if self._settings.service_identity and (self._settings.kms_key is not None or consumed(self._topology)):
            services[gcp_rights.AGENT] = "pubsub.googleapis.com"
        if self._settings.elsewhere and alarms is not None and alarms.notify.topic is not None:
            services[_WATCHER] = "monitoring.googleapis.com"
        for name, service in services.items():
            given = {**self.inside, "service": service}
            yield Resource("gcp:projects/serviceIdentity:ServiceIdentity", name, given, "service agent", "$.bus")

    def resources(self) -> Iterator[Resource]:
        if self._settings.project_number is None and not self._settings.elsewhere:
            asked = {"project_id": self._settings.project}
            yield Resource("gcp:organizations/getProject:getProject", "project", asked, "lookup", "$.bus")
        yield from self._identities()
        if self._settings.kms_key is not None:
            yield gcp_rights.key_grant(self._settings.kms_key, gcp_rights.Agents(self.agent, self.made))
        for entry in published(self._topology):
            if entry.existing is None:
                options = entry.options.get("gcp", {}) if isinstance(entry, Topic) else {}
                topic = self._topic(self.names.of(entry.name), options)
                kind = "topic" if isinstance(entry, Topic) else "queue's topic"
                yield Resource(_TOPIC, f"{entry.name}-topic", topic, kind, path_of(entry), after=self._keyed)
        for item in consumed(self._topology):
            yield from self._letters(item)
            yield self._subscription(item)

    def pushes(self) -> Iterator[tuple[str, Text]]:
        """Give the entry and the address of every push."""
        for item in self._topology.subscriptions.values():
            if item.push is not None:
                yield path_of(item), self._endpoint(item, item.push)

    def _endpoint(self, item: Subscription, push: Push) -> Text:
        return push.endpoint if push.function is None else function_of(item, push, self._settings.functions, "https:")

    def _topic(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        regions = {"allowed_persistence_regions": list(self._settings.regions)}
        properties = {
            "name": name,
            **self.inside,
            "labels": self.labels,
            "kms_key_name": self._settings.kms_key,
            "message_storage_policy": regions if self._settings.regions else None,
        }
        return with_options(properties, options)

    def _subscription(self, item: Subscription | Queue) -> Resource:
        filtered = isinstance(item, Subscription)
        topic = item.topic if isinstance(item, Subscription) else item.name
        push = item.push if isinstance(item, Subscription) else None
        tag = subscription_tag(self._topology.name, item.name)
        attempts = cloud_attempts(GCP, item)
        properties = {
            **self._common(item, self.names.of(item.name), item.retention),
            "topic": gcp_rights.topic_of(self._topology, topic),
            "filter": compile_filter(item.filter, tag) if isinstance(item, Subscription) else None,
            "enable_message_ordering": self._topology.is_ordered(item.name),
            "dead_letter_policy": {
                "dead_letter_topic": Ref(f"{item.name}-dead-letters-topic", "id"),
                "max_delivery_attempts": attempts,
            },
            **(self._push(item, push) if isinstance(item, Subscription) and push else {}),
            **(_pauses(item) if counted_by_cloud(item) else {}),
        }
        properties = with_options(properties, item.options.get("gcp", {}))
        kind = ("push" if push else "subscription") if filtered else "queue"
        type_, name = "gcp:pubsub/subscription:Subscription", f"{item.name}-subscription"
        return Resource(type_, name, properties, kind, path_of(item), keeps_messages=True)

    def _letters(self, item: Subscription | Queue) -> Iterator[Resource]:
        entry, name = path_of(item), f"{item.name}-dead-letters"
        topic = self._topic(self.names.dead_letters(item.name), {})
        yield Resource(_TOPIC, f"{name}-topic", topic, "dead letters' topic", entry, after=self._keyed)
        properties = {
            **self._common(item, self.names.dead_letters(item.name), item.dead_letter_retention),
            "topic": Ref(f"{name}-topic", "id"),
        }
        type_ = "gcp:pubsub/subscription:Subscription"
        yield Resource(type_, name, properties, "dead letters", entry, keeps_messages=True)

    def _common(self, item: Subscription | Queue, name: str, retention: float) -> dict[str, Any]:
        return {
            "name": name,
            **self.inside,
            "ack_deadline_seconds": math.ceil(GCP.lease.clamp(item.lease)),
            "message_retention_duration": f"{round(retention)}s",
            "expiration_policy": {"ttl": ""},  # never; the default deletes a subscription that was idle for 31 days
            "labels": self.labels,
        }

    def _push(self, item: Subscription, push: Push) -> dict[str, Any]:
        """Give the arguments of a push: signed where an account is configured."""
        endpoint = self._endpoint(item, push)
        account = self._settings.push_account
        config = {
            "push_endpoint": endpoint,
            **({"oidc_token": {"service_account_email": account, "audience": endpoint}} if account else {}),
            **({"no_wrapper": {"write_metadata": True}} if push.raw else {}),
        }
        return {"push_config": config}


def _pauses(item: Subscription | Queue) -> dict[str, Any]:
    """Have Pub/Sub keep the declared backoff, where no consumer of the bus does."""
    backoff = {
        "minimum_backoff": f"{item.backoff.initial:g}s",
        "maximum_backoff": f"{item.backoff.maximum:g}s",
    }
    return {"retry_policy": backoff}
