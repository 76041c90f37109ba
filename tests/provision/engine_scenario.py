"""The life of a stack on each cloud, whoever drives it: the double of the engine, or Pulumi's own CLI.

`play` runs stacks/__main__.py again and again over a topology that changes, and holds every run to what
`polybus.plan.diff` foretells of it and to what the cloud's own client lists on the local server.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import polybus
from polybus.binding import Binding
from polybus.plan.diff import diff, lossy
from polybus.plan.immutable import immutable
from polybus.plan.values import Resource, refs

from . import flow, runner
from .engine import Changes
from .engine_places import STACK, Place

__all__ = ["Driver", "declare", "play"]

BUS = "shop"
BASE = """
[bus]
name = "shop"
[topics.orders]
ordered = true
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[services.checkout]
publishes = ["orders", "jobs"]
[services.billing]
consumes = ["billing"]
[services.worker]
consumes = ["jobs"]
[queues.jobs]
"""
AUDIT = '[subscriptions.audit]\ntopic = "orders"\n'
SHORTER = 'lease = "30s"\n'
ORDERED = "ordered = true\n"


class Driver(Protocol):
    """What drives a stack of the project; each call returns what it did, or what went wrong."""

    def preview(self, config: Mapping[str, Any]) -> Changes: ...

    def up(self, config: Mapping[str, Any]) -> Changes: ...

    def destroy(self) -> Changes: ...


def declare(folder: Path, topology: str) -> None:
    """Write the topology of the project in `folder`."""
    (folder / "polybus.toml").write_text(topology)


def play(driver: Driver, place: Place, folder: Path) -> None:
    """Take a stack from its first preview to its end."""
    config, protected = place.config, {**place.config, "polybus:protect": True}

    declare(folder, BASE)
    previewed = driver.preview(config)
    assert previewed.failed == ""
    assert place.everything() == {}, "a preview makes nothing"

    first = driver.up(config)
    assert first.failed == ""
    assert _counted(first, place, BASE) == _foretold(place, "", BASE)
    assert previewed.created == first.created, "what was previewed is what is done"
    made = place.everything()
    assert made, "and it is on the server"
    asyncio.run(_carry(place, first.outputs))

    again = driver.up(config)
    assert again.none, f"a second update changes nothing: {again}"
    assert again.same == first.created
    assert again.outputs == first.outputs
    assert place.everything() == made

    changed = _step(driver.up, protected, place, folder, BASE, BASE + SHORTER)
    assert changed.updated, "a lease is changed in place"
    assert not changed.created | changed.replaced | changed.deleted
    shortened = place.everything()
    assert shortened.keys() == made.keys()
    differing = {name for name, lease in shortened.items() if lease != made[name]}
    assert differing, "and on the server it is another"
    assert all("jobs" in name for name in differing)

    kept = driver.destroy()
    assert "protected" in kept.failed
    assert kept.deleted == set()
    declare(folder, BASE + SHORTER + ORDERED)
    refused = driver.up(protected)
    assert "protect" in refused.failed
    assert refused.replaced | refused.deleted == set()
    assert place.everything() == shortened, "nothing of it is deleted, and nothing replaced"

    added = _step(driver.up, config, place, folder, BASE + SHORTER, BASE + SHORTER + AUDIT)
    assert not added.updated | added.replaced | added.deleted, "nothing else is touched"
    assert {_resource(name, place, BASE + AUDIT).entry for name in added.created} == {"$.subscriptions.audit"}
    assert set(_binding(place, added.outputs).subscriptions) == {"billing", "audit"}
    assert shortened.items() < place.everything().items()

    removed = _step(driver.up, config, place, folder, BASE + SHORTER + AUDIT, BASE + SHORTER)
    assert removed.deleted == added.created
    assert place.everything() == shortened

    asyncio.run(_leave(place, removed.outputs, "lost"))
    _replace(driver, place, folder, BASE + SHORTER, BASE + SHORTER + ORDERED)

    ended = driver.destroy()
    assert ended.failed == ""
    assert ended.deleted == first.created
    _orderly(ended, place, BASE + SHORTER + ORDERED)
    assert place.everything() == {}, "nothing is left"


def _replace(driver: Driver, place: Place, folder: Path, old: str, new: str) -> None:
    """Change what no cloud changes in place: what waits in the queue is lost with it, as was foretold."""
    assert "what waits in it" in lossy(diff(place.resources(old), place.resources(new)))[0].loses
    before = place.everything()
    previewed = _step(driver.preview, place.config, place, folder, old, new)
    assert place.everything() == before, "a preview deletes nothing"
    replaced = _step(driver.up, place.config, place, folder, old, new)
    assert replaced.replaced == previewed.replaced
    assert f"{BUS}-jobs-{'subscription' if place.cloud == 'gcp' else 'queue'}" in replaced.replaced
    asyncio.run(_carry(place, replaced.outputs, key="c7"))


def _step(
    run: Callable[[Mapping[str, Any]], Changes],
    config: Mapping[str, Any],
    place: Place,
    folder: Path,
    old: str,
    new: str,
) -> Changes:
    """Run once over a changed topology: what the plans' difference foretells happens, and nothing else."""
    declare(folder, new)
    changes = run(config)
    assert changes.failed == ""
    assert _counted(changes, place, old, new) == _foretold(place, old, new)
    _orderly(changes, place, old)
    return changes


def _orderly(changes: Changes, place: Place, topology: str) -> None:
    """Hold deletions to their order: what refers to a resource goes before it, the component and the stack go last.

    What is only replaced may refer, by a property that can be changed in place, to what is replaced before it.
    """
    at = {name: position for position, name in enumerate(changes.order)}
    assert at.keys() >= changes.deleted | changes.replaced
    for resource in place.resources(topology):
        name = f"{BUS}-{resource.name}"
        properties = resource.properties.keys()
        holds = properties & immutable(resource.type) if name in changes.replaced else properties
        for other in (ref.resource for key in holds for ref in refs(resource.properties[key])):
            needed = f"{BUS}-{other}"
            assert not {name, needed} <= at.keys() or at[name] < at[needed], f"{needed} was deleted before {name}"
    assert changes.order[-2:] == [BUS, f"polybus-{STACK}"] or BUS not in at


def _foretold(place: Place, old: str, new: str) -> Counter[tuple[str, str, str]]:
    changes = diff(place.resources(old) if old else (), place.resources(new))
    return Counter((change.action.value, change.kind, f"$.{change.logical}") for change in changes)


def _counted(changes: Changes, place: Place, *topologies: str) -> Counter[tuple[str, str, str]]:
    """Give what a run did in the words of a plan's difference; the stack and the component are in no plan."""
    actions = {
        "create": changes.created - {BUS, f"polybus-{STACK}"},
        "change": changes.updated,
        "replace": changes.replaced,
        "delete": changes.deleted,
    }
    found = [(action, _resource(name, place, *topologies)) for action, names in actions.items() for name in names]
    return Counter((action, resource.kind, resource.entry) for action, resource in found)


def _resource(name: str, place: Place, *topologies: str) -> Resource:
    planned = [resource for topology in topologies for resource in place.resources(topology)]
    return next(resource for resource in planned if f"{BUS}-{resource.name}" == name)


def _binding(place: Place, outputs: Mapping[str, Any]) -> Binding:
    return Binding.from_json(_exported(place, outputs))


def _exported(place: Place, outputs: Mapping[str, Any]) -> str:
    exported = runner.whole(outputs["polybus"])
    if place.cloud == "aws":  # short polls: a drain waits for one that is under way
        exported["settings"]["long_poll"] = 1
    return json.dumps(exported)


async def _carry(place: Place, outputs: Mapping[str, Any], key: str | None = None) -> None:
    """Publish and consume through the exported binding."""
    async with polybus.connect(_exported(place, outputs)) as bus:
        order = await bus.publish("orders", "an order", attributes={"region": "eu"}, ordering_key="c7")
        job = await bus.publish("jobs", "a job", ordering_key=key)
        assert [delivery.id for delivery in await flow.take(bus, "billing", 1)] == [order]
        assert [delivery.id for delivery in await flow.take(bus, "jobs", 1)] == [job]


async def _leave(place: Place, outputs: Mapping[str, Any], body: str) -> None:
    async with polybus.connect(_exported(place, outputs)) as bus:
        await bus.publish("jobs", body)
