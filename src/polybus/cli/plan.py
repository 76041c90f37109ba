"""`polybus plan`: what each cloud would hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.changes import changes_between, print_changes
from polybus.cli.output import console, note, print_json, table

if TYPE_CHECKING:
    from polybus.plan.diff import Change
    from polybus.plan.table import Row
    from polybus.topology.model import Topology

__all__ = ["command"]


class _Place(StrEnum):
    """What --cloud takes here: the embedded store has a plan too."""

    LOCAL = "local"
    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"
    ALL = "all"


def command(
    topology: options.TopologyFile = None,
    cloud: Annotated[_Place, typer.Option("--cloud", help="One cloud, the embedded store, or all.")] = _Place.ALL,
    stack: options.Stack = "",
    diff: Annotated[
        Path | None,
        typer.Option("--diff", metavar="OLD", help="Show what would change from this topology.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show what each cloud would hold for a topology.

    That is every resource with its physical name and settings; nothing is asked of a cloud. With --diff it is what
    would be created, changed, replaced and deleted, and which messages that would lose. Exits with 1 where a cloud
    refuses the topology, after showing the others.
    """
    from polybus.errors import UnsupportedFeature
    from polybus.plan.table import PLACES, describe, plan_for
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
    if diff is not None:
        _diff(load(diff), declared, cloud, stack, json=json)
        return
    plans: dict[str, Sequence[Row]] = {}
    refusals: dict[str, str] = {}
    for place in PLACES if cloud is _Place.ALL else (cloud.value,):
        try:
            plans[place] = describe(plan_for(declared, place, stack=stack))
        except UnsupportedFeature as error:
            refusals[place] = str(error)
    if json:
        rows = {place: [asdict(row) for row in found] for place, found in plans.items()}
        print_json({"topology": declared.source, "plans": rows, "refused": refusals})
    else:
        for place, found in plans.items():
            _print(place, found)
    _end(refusals, json=json)


def _diff(old: Topology, new: Topology, place: _Place, stack: str, *, json: bool) -> None:
    from polybus.errors import UnsupportedFeature
    from polybus.topology.model import CLOUDS

    if place is _Place.LOCAL:
        raise options.refuse("the embedded store is changed as it is opened: --diff compares clouds", "--cloud")
    changes: dict[str, Sequence[Change]] = {}
    refusals: dict[str, str] = {}
    for cloud in CLOUDS if place is _Place.ALL else (place.value,):
        try:
            changes[cloud] = changes_between(old, new, cloud, stack)
        except UnsupportedFeature as error:
            refusals[cloud] = str(error)
    if json:
        found = {cloud: [asdict(change) for change in made] for cloud, made in changes.items()}
        print_json({"topology": new.source, "old": old.source, "changes": found, "refused": refusals})
    else:
        for cloud, made in changes.items():
            print_changes(cloud, made)
    _end(refusals, json=json)


def _end(refusals: Mapping[str, str], *, json: bool) -> None:
    """Say what was refused; exit with 1 where anything was."""
    for refusal in () if json else refusals.values():
        for line in refusal.splitlines():
            note(f"polybus: {line}")
    if refusals:
        raise typer.Exit(1)


def _print(place: str, rows: Sequence[Row]) -> None:
    shown = table("resource", "from", "name", "settings", title=f"{place}: {len(rows)} resources")
    for row in rows:
        settings = ", ".join(f"{name}={value}" for name, value in row.settings.items())
        shown.add_row(row.kind, row.logical, row.physical, settings)
    console().print(shown)
