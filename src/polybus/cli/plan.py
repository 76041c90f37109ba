"""`polybus plan`: what each cloud would hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options
from polybus.cli.output import console, note, print_json, table

if TYPE_CHECKING:
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
    json: options.Json = False,
) -> None:
    """Show what each cloud would hold for a topology.

    That is every resource with its physical name and settings; nothing is asked of a cloud. Exits with 1 for what a
    cloud refuses; `polybus check` tells all of it.
    """
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
    asked = [place for place in _Place if place is not _Place.ALL] if cloud is _Place.ALL else [cloud]
    places = [place for place in asked if find_spec(f"polybus.plan.{place}") is not None]
    missing = [place.value for place in asked if place not in places]
    if missing:
        note(f"polybus: this version has no plan for {', '.join(missing)}; `polybus check` covers them")
    if not places:
        raise typer.Exit(1)
    plans = {place.value: _resources(place.value, declared, stack) for place in places}
    if json:
        print_json({"topology": declared.source, "plans": plans})
        return
    for place, resources in plans.items():
        _print(place, resources)


def _resources(place: str, topology: Topology, stack: str) -> list[dict[str, Any]]:
    from polybus.plan.check import refuse

    module = import_module(f"polybus.plan.{place}")
    if place == _Place.LOCAL:
        planned = module.plan(topology)
    else:
        refuse(topology, place, stack=stack)
        planned = module.plan(topology, stack=stack)
    return [_plain(resource) for resource in planned.resources]


def _plain(value: Any) -> Any:
    """Return a plan's value as JSON can say it, without what is not set."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {name: item for name, item in fields.items() if item not in (None, "", {}, [])}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


_COLUMNS = ("kind", "logical", "address")


def _print(place: str, resources: list[dict[str, Any]]) -> None:
    shown = table("resource", "for", "name", "settings", title=f"{place}: {len(resources)} resources")
    for resource in resources:
        settings = {name: value for name, value in resource.items() if name not in _COLUMNS}
        cells = [str(resource.get(column, "")) for column in _COLUMNS]
        shown.add_row(*cells, ", ".join(f"{name}={_short(value)}" for name, value in settings.items()))
    console().print(shown)


def _short(value: Any) -> str:
    import msgspec

    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
