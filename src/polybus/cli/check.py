"""`polybus check`: what clouds refuse, before anything is created or paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options
from polybus.cli.changes import ADVICE, changes_between, print_losses
from polybus.cli.output import note, print_json
from polybus.cli.text import wrapped

if TYPE_CHECKING:
    from polybus.cli.contracts import Told
    from polybus.plan.diff import Change
    from polybus.plan.findings import Finding
    from polybus.topology.model import Topology

__all__ = ["command"]


def command(
    topology: options.TopologyFile = None,
    *,
    cloud: options.Cloud = options.ALL,
    stack: options.Stack = "",
    notes: Annotated[bool, typer.Option("--notes/--no-notes", help="Show what is only done differently.")] = True,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="OLD",
            help="Refuse what would lose messages, or break readers, where this topology is deployed. A folder is one "
            "of schemas, as `polybus export jsonschema` writes it.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The stack's configuration, Pulumi.<stack>.yaml: check for its cloud, with all that it says; "
            "with --live, with the addresses that it fills in.",
            show_default=False,
        ),
    ] = None,
    against_config: Annotated[
        Path | None,
        typer.Option(
            "--against-config",
            metavar="OLD",
            help="With --config: the configuration that is deployed; by default the same.",
            show_default=False,
        ),
    ] = None,
    allow_replace: Annotated[
        bool, typer.Option("--allow-replace", help="With --against: show what would be lost, and accept it.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Compare with what the cloud has, by the binding.")] = False,
    binding: options.Binding = None,
    json: options.Json = False,
) -> None:
    """Say whether each cloud can realise a topology.

    Exits with 1 where a cloud refuses something, and names the place in the file, the limit and what works instead.
    Schemas of messages are read, and with --against compared: what a subscriber can't read is refused.
    With --live, asks the binding's cloud instead what it has, and exits with 1 where that is not as declared.
    """
    from polybus.plan.opened import by_environment
    from polybus.topology.file import load

    declared = by_environment(load(options.find_topology(topology)))
    if live:
        for name, given in (("--against", against), ("--against-config", against_config)):
            if given is not None:
                raise options.refuse("is about files, --live asks the cloud: one of the two", name)
        _live(declared, binding, stack, config, json=json)
        return
    if allow_replace and against is None and against_config is None:
        raise options.refuse("accepts what --against would refuse; name the old topology", "--allow-replace")
    if against_config is not None and config is None:
        raise options.refuse("is compared with the new configuration; name that by --config", "--against-config")
    if binding is not None:
        raise options.refuse("only --live asks the cloud", "--binding")
    from polybus.cli.contracts import told

    kept = against if against is not None and against.is_dir() else None
    old = None if against is None or kept is not None else load(against)
    contracts = told(declared, old, kept)
    if config is not None:
        shown = Shown(accept=allow_replace, notes=notes, json=json, contracts=contracts)
        _check_configured(declared, cloud, stack, old=old, files=(config, against_config), shown=shown)
        return
    clouds = options.clouds_of(cloud, "planning")
    losses = {name: partial(_losses, old, declared, name, stack) for name in clouds}
    _check(declared, stack, losses, Shown(accept=allow_replace, notes=notes, json=json, contracts=contracts))


def _live(declared: Topology, binding: str | None, stack: str, config: Path | None, *, json: bool) -> None:
    import asyncio

    from polybus.cli.live import compare, report

    if config is not None:
        from polybus.cli.configured import read

        configured = read(config, stack, declared)
        declared, stack = configured.known(declared), configured.stack
    found = asyncio.run(compare(declared, binding, stack))
    report(found, json=json)
    if found.drifts:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Shown:
    """How a check is told: `accept` takes losses for granted, `notes` tells what is only done differently."""

    accept: bool
    notes: bool
    json: bool
    contracts: Told | None = None


def _check_configured(
    declared: Topology,
    cloud: str,
    stack: str,
    *,
    old: Topology | None,
    files: tuple[Path, Path | None],
    shown: Shown,
) -> None:
    """Check a topology for one stack, whose configuration is there, and against what is deployed of it."""
    from polybus.cli.configured import changes_configured, read
    from polybus.plan.diff import lossy

    new = read(files[0], stack, declared)
    if cloud not in (options.ALL, new.cloud):
        raise options.refuse(f"{files[0]} is of {new.cloud}", "--cloud")
    new.plan(declared)  # refused with all that this stack's configuration makes of it
    was = declared if old is None else old
    before = new if files[1] is None else read(files[1], "" if _says_its_stack(files[1]) else new.stack, was)
    if not shown.json:
        for key in sorted({*before.keys, *new.keys}):
            if before.keys.get(key) != new.keys.get(key):
                found = f"{before.keys.get(key, 'not set')} -> {new.keys.get(key, 'not set')}"
                print(wrapped(f"{new.path.name}: {key}: {found}", ""))
    losses = {new.cloud: lambda: lossy(changes_configured((before, was), (new, declared)))}
    _check(new.known(declared), new.stack, losses, shown)


def _says_its_stack(path: Path) -> bool:
    from polybus.provision.configured import stack_named

    return stack_named(path) is not None


def _check(declared: Topology, stack: str, losing: Mapping[str, Callable[[], list[Change]]], shown: Shown) -> None:
    """Tell what each cloud refuses, and what would be lost there: `losing` gives that by cloud."""
    from polybus.plan.check import check
    from polybus.plan.findings import Severity

    notes, json = shown.notes, shown.json
    findings = {name: check(declared, name, stack=stack) for name in losing}
    errors = {name: sum(finding.severity is Severity.ERROR for finding in found) for name, found in findings.items()}
    losses = {name: found() for name, found in losing.items() if not errors[name]}
    lost = [name for name, found in losses.items() if found and not shown.accept]
    refused = [name for name in errors if errors[name]]
    contracts = shown.contracts
    unkept = contracts is not None and not contracts.ok
    if json:
        told = {name: _plain(errors[name], found, losses.get(name, [])) for name, found in findings.items()}
        more = {} if contracts is None else {"contracts": contracts.plain()}
        print_json({"topology": declared.source, "ok": not (refused or lost or unkept), "clouds": told, **more})
    else:
        if contracts is not None:
            contracts.print()
        for name, found in findings.items():
            print(f"{name}: {_verdict(errors[name], len(losses.get(name, ())))}")
            for finding in found:
                if notes or finding.severity is Severity.ERROR:
                    _print(finding)
            print_losses(losses.get(name, ()))
        if lost:
            print(wrapped(f"instead: {ADVICE}", "    "))
    if refused and not json:
        note(f"polybus: {declared.source}: refused by {', '.join(refused)}")
    if lost and not json:
        note(f"polybus: {declared.source}: would lose messages on {', '.join(lost)}")
    if unkept and not json:
        note(f"polybus: {declared.source}: contracts refused")
    if refused or lost or unkept:
        raise typer.Exit(1)


def _losses(old: Topology | None, new: Topology, cloud: str, stack: str) -> list[Change]:
    """List what would be lost; nothing where the old topology can't have been there."""
    from polybus.errors import UnsupportedFeature
    from polybus.plan.diff import lossy

    if old is None:
        return []
    try:
        return lossy(changes_between(old, new, cloud, stack))
    except UnsupportedFeature:
        note(f"polybus: {old.source}: {cloud} refuses it, so nothing of it can be lost there")
        return []


def _plain(errors: int, findings: Sequence[Finding], losses: Sequence[Change]) -> Mapping[str, Any]:
    return {
        "ok": not errors,
        "findings": [asdict(finding) for finding in findings],
        "losses": [asdict(change) for change in losses],
    }


def _verdict(errors: int, losses: int) -> str:
    if errors:
        return f"refused, {errors} problem{'s' if errors > 1 else ''}"
    return f"ok, and {losses} change{'s' if losses > 1 else ''} would lose messages" if losses else "ok"


def _print(finding: Finding) -> None:
    source = f" [{finding.source}]" if finding.source else ""
    print(wrapped(f"{finding.severity.value} at {finding.path}: {finding.found}; {finding.limit}{source}", "  "))
    if finding.instead:
        print(wrapped(f"instead: {finding.instead}", "    "))
