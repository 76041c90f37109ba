"""`polybus destroy`: delete all that a stack has made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from polybus.cli import laptop, options, stack
from polybus.cli.output import note
from polybus.cli.preview import done, tell

__all__ = ["command"]


def command(
    name: stack.Name,
    *,
    folder: stack.Folder = None,
    local: laptop.Local = False,
    state: laptop.State = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before; with --local nobody is asked.")] = False,
    json: options.Json = False,
) -> None:
    """Delete all that a stack has made.

    Every message that waits and every dead letter goes with it; what is protected refuses. Needs the pulumi CLI, whose
    own lines are shown. The stack's name and configuration stay.
    """
    laptop.hold(local, state)
    counts = _local(name, folder, state, json) if local else _deployed(name, folder, yes, json)
    tell(name, counts, done, json=json)


def _local(name: str, folder: Path | None, state: str | None, json: bool) -> Mapping[str, int]:
    show = note if json else print
    with laptop.opened(name, stack.project_folder(folder), state, begin=False) as at:
        counts = at.stack.destroy(show)
        laptop.binding_file(at.slot, name).unlink(missing_ok=True)
        return counts


def _deployed(name: str, folder: Path | None, yes: bool, json: bool) -> Mapping[str, int]:
    found = stack.find_folder(folder, name)
    if not yes and not sys.stdin.isatty():
        raise options.refuse("nobody can be asked here; --yes goes on without", "--yes")
    if not yes and not typer.confirm(f"{name}: delete all of it, and the messages in it?", err=True):
        raise typer.Exit(1)
    from polybus.provision import automation

    return automation.destroy(name, found, show=note if json else print)
