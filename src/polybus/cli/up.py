"""`polybus up`: create or update a stack."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polybus.cli import laptop, options, stack
from polybus.cli.output import note, print_json
from polybus.cli.preview import summary

__all__ = ["command"]


def command(
    name: stack.Name,
    *,
    folder: stack.Folder = None,
    policies: stack.Policies = None,
    local: laptop.Local = False,
    state: laptop.State = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Don't ask before doing what the preview shows; with --local nobody is asked."
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Create or update a stack with Pulumi.

    Needs the pulumi CLI, whose own lines are shown: first a preview, then, once it is confirmed, the update. Which
    messages a changed topology would lose, `polybus plan --diff` says. With --local it is done on this machine: the
    local cloud goes on running until `polybus local down`, and what it has nothing for is recorded and listed.
    """
    laptop.hold(local, state)
    show = note if json else print
    if local:
        project = stack.project_folder(folder)
        with laptop.opened(name, project, state, begin=True, lasting=True) as at:
            laptop.report(at, at.stack.up(show, policies), json=json)
        return
    found = stack.find_folder(folder, name)
    if not yes and not sys.stdin.isatty():
        raise options.refuse("nobody can be asked here; --yes goes on without", "--yes")
    from polybus.provision import automation

    if not yes:
        counts = automation.preview(name, found, show=show, policies=policies)
        if not typer.confirm(f"{name}: {summary(counts)}. Go on?", err=json):
            raise typer.Exit(1)
    changes = automation.up(name, found, show=show, policies=policies)
    if json:
        print_json({"stack": name, "changes": changes})
        return
    print(f"{name} is up; services read its binding: polybus outputs {name} --json > polybus.binding.json", flush=True)
