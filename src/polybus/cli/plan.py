"""`polybus plan`: what each cloud would hold."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import console, print_json, table

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

    That is every resource with its physical name and settings; nothing is asked of a cloud. Exits with 1 for what a
    cloud refuses; `polybus check` tells all of it.
    """
    import msgspec

    from polybus.plan.table import describe, plan_for
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
    asked = [place.value for place in _Place if place is not _Place.ALL] if cloud is _Place.ALL else [cloud.value]
    plans = {place: describe(plan_for(declared, place, stack=stack)) for place in asked}
    if json:
        found = {place: [msgspec.to_builtins(row) for row in rows] for place, rows in plans.items()}
        print_json({"topology": declared.source, "plans": found})
        return
    for place, rows in plans.items():
        _print(place, rows)


def _print(place: str, rows: Sequence[Row]) -> None:
    shown = table("resource", "for", "name", "settings", title=f"{place}: {len(rows)} resources")
    for row in rows:
        settings = ", ".join(f"{name}={value}" for name, value in row.settings.items())
        shown.add_row(row.kind, row.logical, row.physical, settings)
    console().print(shown)
