"""`polybus plan`: what each cloud would hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
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


LOCAL = "local"  # the embedded store has a plan too


def command(
    topology: options.TopologyFile = None,
    cloud: Annotated[
        str,
        options.cloud_option("planning", LOCAL, help="One cloud, the embedded store, or all."),
    ] = options.ALL,
    stack: options.Stack = "",
    diff: Annotated[
        Path | None,
        typer.Option("--diff", metavar="OLD", help="Show what would change from this topology.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Show what each cloud would hold for a topology.

    That is every resource with its physical name and settings, and how long each service's binding is about; nothing is
    asked of a cloud. With --diff it is what would be created, changed, replaced and deleted, and which messages that
    would lose. Exits with 1 where a cloud refuses the topology, after showing the others.
    """
    from polybus.embedded.plan import rows as local_rows
    from polybus.errors import UnsupportedFeature
    from polybus.plan.services import sizes
    from polybus.plan.table import describe, plan_for
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
    if diff is not None:
        _diff(load(diff), declared, cloud, stack, json=json)
        return
    plans: dict[str, Sequence[Row]] = {}
    refusals: dict[str, str] = {}
    bindings: dict[str, Mapping[str, int]] = {}
    for place in (LOCAL, *options.clouds_of(cloud, "planning")) if cloud == options.ALL else (cloud,):
        try:
            if place == LOCAL:
                plans[place] = local_rows(declared)
                continue
            made = plan_for(declared, place, stack=stack)
            plans[place], bindings[place] = describe(made), sizes(made, place)
        except UnsupportedFeature as error:
            refusals[place] = str(error)
    if json:
        rows = {place: [asdict(row) for row in found] for place, found in plans.items()}
        print_json({"topology": declared.source, "plans": rows, "bindings": bindings, "refused": refusals})
    else:
        for place, found in plans.items():
            _print(place, found)
            _print_sizes(place, bindings.get(place, {}))
    _end(refusals, json=json)


def _diff(old: Topology, new: Topology, place: str, stack: str, *, json: bool) -> None:
    from polybus.errors import UnsupportedFeature

    if place == LOCAL:
        raise options.refuse("the embedded store is changed as it is opened: --diff compares clouds", "--cloud")
    changes: dict[str, Sequence[Change]] = {}
    refusals: dict[str, str] = {}
    for cloud in options.clouds_of(place, "planning"):
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


def _print_sizes(place: str, bindings: Mapping[str, int]) -> None:
    """Say how long each service's binding is, and which are too long for the cloud's functions."""
    from polybus.plan.planning import planning_of

    services = {name: size for name, size in bindings.items() if name}
    if not services:
        return
    listed = ", ".join(f"{name} {size:,}" for name, size in services.items())
    console().print(f"bindings, about: {listed} bytes; all in one {bindings['']:,}", soft_wrap=True)
    most, instead = planning_of(place).binding_bytes
    for name, size in services.items():
        if most and size > most:
            note(f"polybus: {place}: $.services.{name}: a binding of about {size:,} bytes; {instead}")
