"""The file for `pulumi import --file`: queues, topics and subscriptions that are there become the stack's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polybus.errors import ConfigError
from polybus.plan.opened import standing_in
from polybus.plan.planning import CloudPlan
from polybus.plan.rules import path_of
from polybus.plan.values import Resource, refs
from polybus.provision.bus import TYPE
from polybus.provision.cloud import Provider
from polybus.provision.configured import of_stack
from polybus.provision.given import given
from polybus.topology.file import load
from polybus.topology.model import Queue, Topic, Topology
from polybus.topology.table import nearest

__all__ = ["Imported", "import_file"]


@dataclass(frozen=True, slots=True)
class Imported:
    """The file's text, what it has by kind and physical id, and what of these entries the next update makes or sets."""

    text: str
    resources: Sequence[tuple[str, str]]
    made: Sequence[str]


def import_file(
    stack: str,
    folder: Path,
    entries: Sequence[str] = (),
    *,
    account: str | None = None,
    letters: bool = False,
    deployed: str | None = None,
) -> Imported:
    """Plan a stack and write what of it is imported, under the names and parents that the program's resources have.

    `entries` are topics, queues and subscriptions of the topology, all that aren't adopted where none is named;
    `account` is the account, subscription or project that they are in; `letters` are their dead letters too. `deployed`
    is the project's name where the stack has the component already. Raises ConfigError for what is wrong.
    """
    config = of_stack(folder, stack)
    cloud = config.cloud()
    declared = load(folder / (config.text("topology") or "polybus.toml"))
    settings = config.settings(cloud, declared)
    known = given(declared, config.existing, cloud.planning, settings, cloud=cloud.name, values=config.values)
    planned, _ = standing_in(known.topology, cloud.planning, known.settings)
    plan = cloud.planning.plan(planned, known.settings)
    topology = plan.topology
    chosen = _entries(topology, entries)
    found = list(_imported(cloud, plan, chosen, account, letters=letters))
    if not found:
        raise ConfigError(f"{topology.source}: nothing to import: {', '.join(sorted(chosen)) or 'it declares nothing'}")
    taken = {resource.name for resource, _ in found}
    paths = set(chosen.values())
    made = [one.name for one in plan.resources if one.entry in paths and one.name not in taken and one.kind != "lookup"]
    text = _file(stack, topology.name, deployed, found)
    return Imported(text, [(resource.kind, id_) for resource, id_ in found], made)


def _entries(topology: Topology, names: Sequence[str]) -> dict[str, str]:
    """Give the place in the topology of each entry that is imported."""
    owned: tuple[Topic | Queue, ...] = (*topology.topics.values(), *topology.queues.values())
    every = {entry.name: path_of(entry) for entry in (*owned, *topology.subscriptions.values())}
    adopted = {entry.name for entry in owned if entry.existing is not None}
    for name in names:
        if name not in every:
            near = nearest(name, every)
            hint = f"; did you mean {near}?" if near else ""
            raise ConfigError(f"{topology.source}: no topic, subscription or queue {name!r}{hint}")
        if name in adopted:
            raise ConfigError(f"{topology.source}: at {every[name]}.existing: it stays its owner's; without it, import")
    return {name: every[name] for name in (names or every) if name not in adopted}


def _imported(
    cloud: Provider, plan: CloudPlan, chosen: dict[str, str], account: str | None, *, letters: bool
) -> Iterator[tuple[Resource, str]]:
    """Give each resource with its id, what others are in first."""
    planning, paths = cloud.planning, set(chosen.values())
    own = [
        resource
        for resource in plan.resources
        if resource.type in planning.names
        and resource.entry in paths
        and (letters or not resource.kind.startswith("dead letters"))
    ]
    homes = _referred(plan, own, planning.homes)
    for resource in (*homes, *own):
        id_ = planning.import_id(resource, plan, account)
        if id_ is not None:
            yield resource, id_


def _referred(plan: CloudPlan, resources: Iterable[Resource], types: frozenset[str]) -> list[Resource]:
    """Find what some resources are in, and what that is in, in the plan's order."""
    made = {resource.name: resource for resource in plan.resources}
    looked, found = list(resources), set()
    while looked:
        for ref in refs(dict(looked.pop().properties)):
            if made[ref.resource].type in types and ref.resource not in found:
                found.add(ref.resource)
                looked.append(made[ref.resource])
    return [resource for resource in plan.resources if resource.name in found]


def _file(stack: str, bus: str, deployed: str | None, found: Sequence[tuple[Resource, str]]) -> str:
    table = {} if deployed is None else {bus: f"urn:pulumi:{stack}::{deployed}::{TYPE}::{bus}"}
    component: list[dict[str, Any]] = [{"type": TYPE, "name": bus, "component": True}] if deployed is None else []
    children = [
        {"type": resource.type, "name": f"{bus}-{resource.name}", "id": id_, "parent": bus} for resource, id_ in found
    ]
    return json.dumps({"nameTable": table, "resources": [*component, *children]}, indent=2) + "\n"
