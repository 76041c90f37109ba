"""`polybus plan`: what each cloud would hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import console, note, print_json, table

if TYPE_CHECKING:
    from polybus.plan.table import Row

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
    json: options.Json = False,
) -> None:
    """Show what each cloud would hold for a topology.

    That is every resource with its physical name and settings; nothing is asked of a cloud. Exits with 1 where a cloud
    refuses the topology, after showing the others.
    """
    from polybus.errors import UnsupportedFeature
    from polybus.plan.table import PLACES, describe, plan_for
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
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
        for refusal in refusals.values():
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
