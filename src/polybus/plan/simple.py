"""Planning for a system in which each topic, subscription, queue and store of dead letters is one resource of one type.

A `Simple` is a whole `polybus.plan.planning.Planning` in a few values: what the run time knows of an entity (its
address, its retention, its filter) is also what the resource is made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from polybus.binding import Binding, Entity
from polybus.plan.check import refuse
from polybus.plan.entities import Place, binding_of
from polybus.plan.findings import Report
from polybus.plan.planning import Local, Planning
from polybus.plan.rules import SCHEDULED, consumed, message_size, path_of, published
from polybus.plan.values import Resource
from polybus.topology.limits import Range
from polybus.topology.model import Topology

__all__ = ["Simple", "SimplePlan"]


@dataclass(frozen=True, slots=True)
class SimplePlan:
    """A topology with its resources, and the binding by which they are reached."""

    topology: Topology
    settings: Any
    binding: Binding
    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """How a system is planned.

    `settings` is the type of what a stack's configuration decides: a dataclass with defaults, and with the field
    `stack`; its other fields are the binding's settings. `address` gives the physical name of an entry, by the
    topology, the settings and the entry's name; for that of its dead letters it gets "dead" as well. `resource` gives
    the properties of an entity's resource, whose type is `resource_type`; a resource keeps its `name` for its life, and
    those in `immutable`.

    What the system can't do: `delays`, to be `fair` to tenants, and messages over `largest` bytes; none adopts what is
    there already, calls a push subscription, or raises alarms. `rights` says what holds services to their rights, for
    people; "" where only the bus does. `title` is the name that people know. `rules` has more of what `check` finds.
    """

    backend: str
    resource_type: str
    settings: type
    address: Callable[..., str]
    resource: Callable[[Any, Binding, Entity], Mapping[str, Any]]
    title: str = ""
    immutable: frozenset[str] = frozenset()
    delays: bool = True
    fair: bool = False
    largest: int | None = None
    rights: str = ""
    rules: Callable[[Report, Topology, str], None] = lambda report, topology, stack: None

    def planning(self) -> Planning:
        """Return what a `polybus.cloud.Cloud` registers as its `planning`."""
        return Planning(
            settings=self.settings,
            plan=self.plan,
            binding_values=lambda plan: msgspec.to_builtins(plan.binding),
            provider=self.resource_type.partition(":")[0],
            rules=self._rules,
            immutable={self.resource_type: frozenset({"name"}) | self.immutable},
        )

    def plan(self, topology: Topology, settings: Any = None) -> SimplePlan:
        """Plan a topology; raises UnsupportedFeature with everything that the system can't do of it."""
        settings = self.settings() if settings is None else settings
        topology = refuse(topology, self.backend, stack=settings.stack, rules=self._rules)
        sources = {
            item.name: Place(
                self.address(topology, settings, item.name), self.address(topology, settings, item.name, "dead")
            )
            for item in consumed(topology)
        }
        binding = binding_of(
            topology,
            backend=self.backend,
            settings={name: value for name, value in dataclasses.asdict(settings).items() if value and name != "stack"},
            topics={name: Place(self.address(topology, settings, name)) for name in topology.topics},
            subscriptions=sources,
            queues=sources,
        )
        resources = [
            Resource(
                self.resource_type, name, self.resource(settings, binding, entity), entity.kind.value, path, (), True
            )
            for name, path, entity in _named(topology, binding)
        ]
        return SimplePlan(topology, settings, binding, tuple(resources))

    def local(
        self,
        modules: tuple[str, ...],
        server: Callable[[str, int, Path | None], Any],
        at: Callable[[Any], Mapping[str, Any]],
        make: Callable[[Mapping[str, Any]], object],
        *,
        patience: float = 10.0,
    ) -> Local:
        """Return what a `polybus.cloud.Cloud` registers as its `local`.

        `at` gives the settings by which a server that runs is reached, and `make` makes one resource by its properties,
        also where it is there already; both may block. The others are as `polybus.plan.planning.Local` says.
        """

        def realise(plan: SimplePlan, running: Any) -> Binding:
            here = self.plan(plan.topology, dataclasses.replace(plan.settings, **at(running)))
            for resource in here.resources:
                make(resource.properties)
            return here.binding

        return Local(modules, server, self.plan, realise, patience)

    def _rules(self, report: Report, topology: Topology, stack: str) -> None:
        title = self.title or self.backend.title()
        for entry in published(topology):
            path = path_of(entry)
            if entry.existing is not None:
                report.error(f"{path}.existing", entry.existing, f"{title} adopts nothing")
            if entry.max_delay and not self.delays:
                limit = f"{title} has no delays"
                report.error(f"{path}.max_delay", f"{entry.max_delay:g} s", limit, instead=SCHEDULED)
            if entry.fairness_key is not None and not self.fair:
                report.error(f"{path}.fairness_key", entry.fairness_key, f"{title} can't tell tenants apart")
            if self.largest is not None:
                message_size(report, path, entry.max_message_size, Range(1, self.largest, ""))
        for item in topology.subscriptions.values():
            if item.push is not None:
                instead = "a service that consumes it"
                report.error(f"{path_of(item)}.push", item.push.kind, f"{title} calls nobody", instead=instead)
        if topology.alarms is not None:
            instead = "`polybus stats --json`, by what watches the rest"
            report.note("$.alarms", "alarms", f"{title} raises none", instead=instead)
        if topology.services:
            report.note("$.services", "rights", "the bus alone holds services to them", instead=self.rights)
        self.rules(report, topology, stack)


def _named(topology: Topology, binding: Binding) -> Iterator[tuple[str, str, Entity]]:
    """Give each entity with the logical name of its resource, and its entry's place in the topology."""
    for topic in topology.topics.values():
        yield topic.name, path_of(topic), binding.topics[topic.name]
    for item in consumed(topology):
        entity = (binding.subscriptions if item.name in binding.subscriptions else binding.queues)[item.name]
        yield f"{item.name}-dead-letters", path_of(item), entity.dead_letters
        yield item.name, path_of(item), entity
