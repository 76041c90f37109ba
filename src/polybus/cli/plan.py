"""`polybus plan`: what each cloud would hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options
from polybus.cli.changes import changes_between, print_changes
from polybus.cli.output import console, note, print_json, table

if TYPE_CHECKING:
    from polybus.cli.configured import Configured
    from polybus.plan.diff import Change
    from polybus.plan.entitled import Right
    from polybus.plan.table import Row
    from polybus.plan.values import Join, Ref
    from polybus.topology.model import Topology

__all__ = ["command"]


LOCAL = "local"  # the embedded store has a plan too


def command(
    topology: options.TopologyFile = None,
    *,
    cloud: Annotated[
        str,
        options.cloud_option("planning", LOCAL, help="One cloud, the embedded store, or all."),
    ] = options.ALL,
    stack: options.Stack = "",
    diff: Annotated[
        Path | None,
        typer.Option("--diff", metavar="OLD", help="Show what would change from this topology.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The stack's configuration, Pulumi.<stack>.yaml: plan for its cloud, with all that it says.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Cut nothing, however long it is; --json never does.")] = False,
    json: options.Json = False,
) -> None:
    """Show what each cloud would hold for a topology.

    That is every resource with its physical name and settings, what each service may do, and how long its binding is
    about; nothing is asked of a cloud. With --diff it is what would be created, changed, replaced and deleted, and
    which messages that would lose. Exits with 1 where a cloud refuses the topology, after showing the others.
    """
    from polybus.errors import UnsupportedFeature
    from polybus.plan.opened import by_environment
    from polybus.topology.file import load

    declared = by_environment(load(options.find_topology(topology)))
    if diff is not None:
        if config is not None:
            raise options.refuse("two stacks are compared by `polybus check --config`", "--config")
        _diff(load(diff), declared, cloud, stack, json=json)
        return
    configured = None if config is None else _configured(config, stack, cloud, declared)
    places: Sequence[str] = (LOCAL, *options.clouds_of(cloud, "planning")) if cloud == options.ALL else (cloud,)
    if configured is not None:
        places, stack = (configured.cloud,), configured.stack
    plans: dict[str, _Planned] = {}
    refusals: dict[str, str] = {}
    for place in places:
        try:
            if place == LOCAL:
                plans[place] = _local(declared)
            else:
                plans[place] = _planned(declared, place, stack, configured, full=full)
        except UnsupportedFeature as error:
            refusals[place] = str(error)
    if json:
        from polybus.plan.plain import FORMAT

        found = {place: plan.whole for place, plan in plans.items()}
        print_json({"format": FORMAT, "topology": declared.source, "stack": stack, "plans": found, "refused": refusals})
    else:
        for place, plan in plans.items():
            _print(place, plan.rows)
            _print_rights(place, plan)
            _print_sizes(place, plan)
    _end(refusals, json=json)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A plan for one place, for people (`rows`, and what each service may do) and for scripts (`whole`)."""

    rows: Sequence[Row]
    rights: Sequence[tuple[str, str, str]]
    bindings: Mapping[str, int]
    all_in_one: int
    whole: Mapping[str, Any]


def _configured(path: Path, stack: str, cloud: str, declared: Topology) -> Configured:
    from polybus.cli.configured import read

    found = read(path, stack, declared)
    if cloud not in (options.ALL, found.cloud):
        raise options.refuse(f"{path} is of {found.cloud}", "--cloud")
    return found


def _local(declared: Topology) -> _Planned:
    from polybus.embedded.plan import plain, rows

    whole = {"resources": plain(declared), "rights": {}, "binding_bytes": {"whole": 0, "services": {}}}
    return _Planned(rows(declared), (), {}, 0, whole)


def _planned(declared: Topology, place: str, stack: str, configured: Configured | None, *, full: bool) -> _Planned:
    from polybus.plan.entities import sizes
    from polybus.plan.opened import spelled
    from polybus.plan.plain import resource_of, right_of
    from polybus.plan.planning import planning_of
    from polybus.plan.table import describe, physical_of, sample, text_of

    found = sample(declared, place, stack=stack) if configured is None else configured.sample(declared)
    bindings, rights = sizes(found.plan, place), planning_of(place).rights(found.plan)
    all_in_one, resources = bindings.pop(""), found.resources
    physical = {item.name: physical_of(item) for item in resources}
    rights = {
        name: [replace(right, on=spelled(right.on, found.named)) for right in given] for name, given in rights.items()
    }
    lines = [
        (service, ", ".join(right.may), ", ".join(_name(on, physical) for on in right.on) + _when(right, text_of))
        for service, given in rights.items()
        for right in given
    ]
    whole = {
        "resources": [resource_of(item) for item in resources],
        "rights": {service: [right_of(right) for right in given] for service, given in rights.items()},
        "binding_bytes": {"whole": all_in_one, "services": bindings},
    }
    return _Planned(describe(found, whole=full), lines, bindings, all_in_one, whole)


def _name(on: str | Ref | Join, physical: Mapping[str, str]) -> str:
    """Name what a right is on: by its physical name where it has one."""
    from polybus.plan.values import Join

    if isinstance(on, Join):
        return "".join(_name(part, physical) for part in on.parts)
    return on if isinstance(on, str) else physical.get(on.resource) or str(on)


def _when(right: Right, text_of: Callable[..., str]) -> str:
    return f" if {text_of(right.only_if, whole=True)}" if right.only_if else ""


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


def _print_rights(place: str, plan: _Planned) -> None:
    if not plan.rights:
        return
    shown = table("service", "may", "on", title=f"{place}: rights, for whoever the stack says that each service is")
    for row in plan.rights:
        shown.add_row(*row)
    console().print(shown)


def _print_sizes(place: str, plan: _Planned) -> None:
    """Say how long each service's binding is, and which are too long for the cloud's functions."""
    from polybus.plan.planning import planning_of

    if not plan.bindings:
        return
    listed = ", ".join(f"{name} {size:,}" for name, size in plan.bindings.items())
    console().print(f"bindings, about: {listed} bytes; all in one {plan.all_in_one:,}", soft_wrap=True)
    most, instead = planning_of(place).binding_bytes
    for name, size in plan.bindings.items():
        if most and size > most:
            note(f"polybus: {place}: $.services.{name}: a binding of about {size:,} bytes; {instead}")
