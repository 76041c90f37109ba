"""`polybus up`: create or update a stack."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polybus.cli import options, stack
from polybus.cli.preview import summary

__all__ = ["command"]


def command(
    name: stack.Name,
    folder: stack.Folder = None,
    policies: stack.Policies = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before doing what the preview shows.")] = False,
) -> None:
    """Create or update a stack with Pulumi.

    Needs the pulumi CLI, whose own lines are shown: first a preview, then, once it is confirmed, the update. Which
    messages a changed topology would lose, `polybus plan --diff` says.
    """
    found = stack.find_folder(folder, name)
    if not yes and not sys.stdin.isatty():
        raise options.refuse("nobody can be asked here; --yes goes on without", "--yes")
    from polybus.provision import automation

    if not yes:
        counts = automation.preview(name, found, show=print, policies=policies)
        if not typer.confirm(f"{name}: {summary(counts)}. Go on?"):
            raise typer.Exit(1)
    automation.up(name, found, show=print, policies=policies)
    print(f"{name} is up; services read its binding: polybus outputs {name} --json > polybus.binding.json", flush=True)
