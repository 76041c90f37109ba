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

from typer.testing import CliRunner

import polybus
from polybus.binding import Binding
from polybus.cli.main import build
from polybus.plan.diff import diff, lossy
from polybus.plan.planning import immutable
from polybus.plan.values import Resource, refs

from . import flow, runner
from .engine import Changes
from .engine_places import STACK, Place

__all__ = [
    "BASE",
    "REFUSED",
    "Driver",
    "begin",
    "carry",
    "declare",
    "end",
    "leave",
    "play",
    "play_short",
    "refuse_to_destroy",
    "waiting",
]

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


REFUSED = "refused.txt"
"""The file, in the project's folder, of the resources that the plugins refuse to make."""


class Driver(Protocol):
    """What drives a stack of the project; each call returns what it did, or what went wrong."""

    def preview(self, config: Mapping[str, Any]) -> Changes: ...

    def up(self, config: Mapping[str, Any], *, refresh: bool = False) -> Changes: ...

    def refresh(self) -> Changes: ...

    def destroy(self) -> Changes: ...

    def configure(self, config: Mapping[str, Any]) -> None: ...

    def forget(self) -> None: ...

    def take_over(self, config: Mapping[str, Any], file: str) -> None: ...


def declare(folder: Path, topology: str) -> None:
    """Write the topology of the project in `folder`."""
    (folder / "polybus.toml").write_text(topology)


def play(driver: Driver, place: Place, folder: Path) -> None:
    """Take a stack from its first preview to its end."""
    first = begin(driver, place, folder)
    made = place.everything()
    _mend(driver, place, first.outputs)

    changed = _step(driver.up, _protected(place), place, folder, BASE, BASE + SHORTER)
    assert changed.updated, "a lease is changed in place"
    assert not changed.created | changed.replaced | changed.deleted
    shortened = place.everything()
    assert shortened.keys() == made.keys()
    differing = {name for name, values in shortened.items() if values != made[name]}
    assert differing, "and on the server it is another"
    assert all("jobs" in name for name in differing)

    refuse_to_destroy(driver, place)
    declare(folder, BASE + SHORTER + ORDERED)
    refused = driver.up(_protected(place))
    assert "protect" in refused.failed
    assert refused.replaced | refused.deleted == set()
    assert place.everything() == shortened, "nothing of it is deleted, and nothing replaced"

    added = _step(driver.up, place.config, place, folder, BASE + SHORTER, BASE + SHORTER + AUDIT)
    assert not added.updated | added.replaced | added.deleted, "nothing else is touched"
    assert {_resource(name, place, BASE + AUDIT).entry for name in added.created} == {"$.subscriptions.audit"}
    assert set(_binding(place, added.outputs).subscriptions) == {"billing", "audit"}
    audited = place.everything()
    assert shortened.items() < audited.items()

    removed = _step(driver.up, place.config, place, folder, BASE + SHORTER + AUDIT, BASE + SHORTER)
    assert removed.deleted == added.created
    assert place.everything() == shortened

    _fail_and_continue(driver, place, folder, added)
    assert len(place.everything()) == len(audited)
    _step(driver.up, place.config, place, folder, BASE + SHORTER + AUDIT, BASE + SHORTER)

    asyncio.run(leave(place, removed.outputs, "lost"))
    replaced = _replace(driver, place, folder, BASE + SHORTER, BASE + SHORTER + ORDERED)

    _import(driver, place, folder, replaced.outputs, key="c7")

    end(driver, place, BASE + SHORTER + ORDERED, first.created)


def play_short(driver: Driver, place: Place, folder: Path) -> None:
    """Take a stack from its first preview to its end by way of a refusal alone."""
    first = begin(driver, place, folder)
    assert driver.up(_protected(place)).failed == ""
    refuse_to_destroy(driver, place)
    assert driver.up(place.config).failed == ""
    end(driver, place, BASE, first.created)


def begin(driver: Driver, place: Place, folder: Path) -> Changes:
    """Make the stack, as its preview says; messages pass, and making it again changes nothing."""
    declare(folder, BASE)
    previewed = driver.preview(place.config)
    assert previewed.failed == ""
    assert place.everything() == {}, "a preview makes nothing"

    first = driver.up(place.config)
    assert first.failed == ""
    assert _counted(first, place, BASE) == _foretold(place, "", BASE)
    assert previewed.created == first.created, "what was previewed is what is done"
    made = place.everything()
    assert made, "and it is on the server"
    asyncio.run(carry(place, first.outputs))

    again = driver.up(place.config)
    assert again.none, f"a second update changes nothing: {again}"
    assert again.same == first.created
    assert again.outputs == first.outputs
    assert place.everything() == made
    return first


def refuse_to_destroy(driver: Driver, place: Place) -> None:
    """Have a protected stack destroyed without a preview: nothing at all is deleted, whatever holds messages or not."""
    before = place.everything()
    kept = driver.destroy()
    assert "protected" in kept.failed
    assert kept.deleted == set()
    assert place.everything() == before


def end(driver: Driver, place: Place, topology: str, created: set[str]) -> None:
    """Destroy it all, in order, until nothing is left."""
    ended = driver.destroy()
    assert ended.failed == ""
    assert ended.deleted == created
    _orderly(ended, place, topology)
    assert place.everything() == {}, "nothing is left"


def _protected(place: Place) -> Mapping[str, Any]:
    return {**place.config, "polybus:protect": True}


def _mend(driver: Driver, place: Place, outputs: Mapping[str, Any]) -> None:
    """Change and delete by hand what the stack has made: an update from what there is makes it so again."""
    made = place.everything()
    read = driver.refresh()
    assert read.none, f"what is as it was made is read so: {read}"
    jobs = _binding(place, outputs).queues["jobs"].address

    place.drift(jobs)
    assert place.everything() != made
    assert driver.up(place.config).none, "the state alone doesn't show it"
    mended = driver.up(place.config, refresh=True)
    assert mended.failed == ""
    assert place.everything() == made

    place.lose(jobs)
    mended = driver.up(place.config, refresh=True)
    assert mended.failed == ""
    assert place.everything() == made, "with its policies, its dead letters' way, and its grants"
    asyncio.run(carry(place, mended.outputs))


def _fail_and_continue(driver: Driver, place: Place, folder: Path, added: Changes) -> None:
    """Have the cloud refuse one of what an update would make: the next one makes what is missing."""
    declare(folder, BASE + SHORTER + AUDIT)
    refused = min(added.created)
    (folder / REFUSED).write_text(refused)
    failed = driver.up(place.config)
    assert refused in failed.failed
    (folder / REFUSED).unlink()
    continued = driver.up(place.config)
    assert continued.failed == ""
    assert refused in continued.created
    assert not continued.updated | continued.replaced | continued.deleted
    assert continued.created | failed.created - {refused} == added.created
    assert driver.up(place.config).none


def _replace(driver: Driver, place: Place, folder: Path, old: str, new: str) -> Changes:
    """Change what no cloud changes in place: what waits in the queue is lost with it, as was foretold."""
    assert "what waits in it" in lossy(diff(place.resources(old), place.resources(new)))[0].loses
    before = place.everything()
    previewed = _step(driver.preview, place.config, place, folder, old, new)
    assert place.everything() == before, "a preview deletes nothing"
    replaced = _step(driver.up, place.config, place, folder, old, new)
    assert replaced.replaced == previewed.replaced
    assert f"{BUS}-{_holder(place)}" in replaced.replaced
    asyncio.run(carry(place, replaced.outputs, key="c7"))
    return replaced


def _import(driver: Driver, place: Place, folder: Path, outputs: Mapping[str, Any], key: str | None = None) -> None:
    """Lose the state, and take what is there over by the file of `polybus import`: what waits in the queue stays."""
    asyncio.run(leave(place, outputs, "waits", key=key))
    before = place.everything()
    driver.forget()
    driver.configure(place.config)
    asked = ["import", STACK, "--folder", str(folder), "--dead-letters", *place.account]
    written = CliRunner().invoke(build(lambda name: name == "import"), asked)
    assert written.exit_code == 0, written.output
    driver.take_over(place.config, written.stdout)
    assert place.everything() == before, "an import changes nothing"
    imported = {one["name"] for one in json.loads(written.stdout)["resources"]}
    assert {f"{BUS}-orders-topic", f"{BUS}-{_holder(place)}"} < imported

    again = driver.up(place.config)
    assert again.failed == ""
    assert not again.replaced | again.deleted
    assert not again.created & imported
    assert place.everything() == before
    assert again.outputs == outputs
    assert asyncio.run(waiting(place, again.outputs)) == b"waits"
    assert driver.up(place.config).none


def _holder(place: Place) -> str:
    """Name the resource that holds the messages of the queue `jobs`."""
    return f"jobs-{'subscription' if place.cloud == 'gcp' else 'queue'}"


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


async def carry(place: Place, outputs: Mapping[str, Any], key: str | None = None) -> None:
    """Publish and consume through the exported binding."""
    async with polybus.connect(_exported(place, outputs)) as bus:
        order = await bus.publish("orders", "an order", attributes={"region": "eu"}, ordering_key="c7")
        job = await bus.publish("jobs", "a job", ordering_key=key)
        assert [delivery.id for delivery in await flow.take(bus, "billing", 1)] == [order]
        assert [delivery.id for delivery in await flow.take(bus, "jobs", 1)] == [job]


async def leave(place: Place, outputs: Mapping[str, Any], body: str, key: str | None = None) -> None:
    async with polybus.connect(_exported(place, outputs)) as bus:
        await bus.publish("jobs", body, ordering_key=key)


async def waiting(place: Place, outputs: Mapping[str, Any]) -> bytes:
    """Take the one message that waits in the queue, and return its body."""
    async with polybus.connect(_exported(place, outputs)) as bus:
        [delivery] = await flow.take(bus, "jobs", 1)
        return delivery.message.body
