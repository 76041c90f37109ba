"""`polybus check`: what clouds refuse, before anything is created or paid for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import note, print_json
from polybus.cli.text import wrapped

if TYPE_CHECKING:
    from polybus.plan.findings import Finding

__all__ = ["command"]


def command(
    topology: options.TopologyFile = None,
    cloud: options.Cloud = options.CloudName.ALL,
    stack: options.Stack = "",
    notes: Annotated[bool, typer.Option("--notes/--no-notes", help="Show what is only done differently.")] = True,
    json: options.Json = False,
) -> None:
    """Say whether each cloud can realise a topology.

    Exits with 1 where a cloud refuses something, and names the place in the file, the limit and what works instead.
    """
    from polybus.plan.check import check
    from polybus.plan.findings import Severity
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
    findings = {name: check(declared, name, stack=stack) for name in cloud.clouds}
    errors = {name: sum(finding.severity is Severity.ERROR for finding in found) for name, found in findings.items()}
    if json:
        clouds = {
            name: {"ok": not errors[name], "findings": [asdict(it) for it in found]} for name, found in findings.items()
        }
        print_json({"topology": declared.source, "ok": not any(errors.values()), "clouds": clouds})
    else:
        for name, found in findings.items():
            print(f"{name}: {_verdict(errors[name])}")
            for finding in found:
                if notes or finding.severity is Severity.ERROR:
                    _print(finding)
    if any(errors.values()):
        if not json:
            note(f"polybus: {declared.source}: refused by {', '.join(name for name in errors if errors[name])}")
        raise typer.Exit(1)


def _verdict(errors: int) -> str:
    return f"refused, {errors} problem{'s' if errors > 1 else ''}" if errors else "ok"


def _print(finding: Finding) -> None:
    source = f" [{finding.source}]" if finding.source else ""
    print(wrapped(f"{finding.severity.value} at {finding.path}: {finding.found}; {finding.limit}{source}", "  "))
    if finding.instead:
        print(wrapped(f"instead: {finding.instead}", "    "))
