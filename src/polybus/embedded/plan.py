"""How the embedded backends realise a topology: every entry by its own name, in one process or one file.

They have no names to shorten, no ranges and no push; a push subscription keeps its messages until their retention is
over, so that `polybus tail` and tests can see them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybus.binding import Binding
from polybus.plan import bodies
from polybus.plan.entities import Place, binding_of
from polybus.plan.names import DEAD_LETTER_SUFFIX
from polybus.plan.table import Row
from polybus.topology.model import Topology

__all__ = ["LocalPlan", "LocalResource", "binding", "local_binding", "plain", "plan", "rows"]


@dataclass(frozen=True, slots=True)
class LocalResource:
    """One thing in the store: a topic, a subscription, a queue, or what holds dead letters or large bodies."""

    kind: str
    logical: str
    address: str
    of: str | None = None


@dataclass(frozen=True, slots=True)
class LocalPlan:
    """What the store holds; `path` is the SQLite file, None in memory."""

    topology: Topology
    path: Path | None
    resources: tuple[LocalResource, ...]


def plan(topology: Topology, *, path: Path | None = None) -> LocalPlan:
    """Plan a topology for the SQLite file at `path`, or for memory without one."""
    resources = [LocalResource("topic", name, name) for name in topology.topics]
    for name, subscription in topology.subscriptions.items():
        resources.append(LocalResource("subscription", name, name, of=subscription.topic))
        resources.append(LocalResource("dead letters", name, name + DEAD_LETTER_SUFFIX, of=name))
    for name in topology.queues:
        resources.append(LocalResource("queue", name, name))
        resources.append(LocalResource("dead letters", name, name + DEAD_LETTER_SUFFIX, of=name))
    if topology.large_bodies is not None:
        resources.append(LocalResource(bodies.KIND, bodies.ENTRY.removeprefix("$."), bodies.KIND))
    return LocalPlan(topology, path, tuple(resources))


def rows(topology: Topology) -> list[Row]:
    """Give one row for each thing that the store holds, for people."""
    found = plan(topology).resources
    return [Row(item.kind, item.logical, item.address, {"of": item.of} if item.of else {}) for item in found]


def plain(topology: Topology) -> list[dict[str, Any]]:
    """Give the same as plain data, with the keys that resources of clouds have."""
    return [
        {
            "type": f"polybus:embedded:{item.kind.title().replace(' ', '')}",
            "name": item.address,
            "kind": item.kind,
            "entry": _entry(topology, item),
            "physical": item.address,
            "properties": {"of": item.of} if item.of else {},
            "references": [{"property": "of", "resource": item.of, "output": "name"}] if item.of else [],
            "after": [],
            "keeps_messages": item.kind != "topic",
            "stays": False,
        }
        for item in plan(topology).resources
    ]


def _entry(topology: Topology, item: LocalResource) -> str:
    if item.kind == bodies.KIND:
        return bodies.ENTRY
    if item.kind == "topic":
        return f"$.topics.{item.logical}"
    return f"$.{'subscriptions' if item.logical in topology.subscriptions else 'queues'}.{item.logical}"


def binding(plan: LocalPlan) -> Binding:
    """Give the binding of what was planned."""
    topology = plan.topology
    places = {name: Place(name, name + DEAD_LETTER_SUFFIX) for name in (*topology.subscriptions, *topology.queues)}
    return binding_of(
        topology,
        backend="memory" if plan.path is None else "sqlite",
        settings={"store": topology.name} if plan.path is None else {"path": str(plan.path)},
        topics={name: Place(name) for name in topology.topics},
        subscriptions=places,
        queues=places,
        beside=bodies.of_binding(topology),
    )


def local_binding(topology: Topology, *, backend: str = "sqlite", path: Path | None = None) -> Binding:
    """Give the binding of an embedded backend: "memory", or "sqlite" with the file at `path`."""
    if backend == "sqlite" and path is None:
        raise ValueError("the sqlite backend needs the path of its file")
    return binding(plan(topology, path=path if backend == "sqlite" else None))
