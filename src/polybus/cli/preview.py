"""`polybus preview`: what an update of a stack would do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from polybus.cli import laptop, options, stack
from polybus.cli.output import note, print_json

__all__ = ["command", "done", "summary", "tell"]


def command(
    name: stack.Name,
    *,
    folder: stack.Folder = None,
    policies: stack.Policies = None,
    local: laptop.Local = False,
    state: laptop.State = None,
    json: options.Json = False,
) -> None:
    """Show what `polybus up` would do to a stack.

    Needs the pulumi CLI, whose own lines are shown. With --json, how many resources would be created, updated, replaced
    and deleted.
    """
    laptop.hold(local, state)
    show = note if json else print
    if local:
        project = stack.project_folder(folder)
        with laptop.opened(name, project, state, begin=True) as at:
            counts = at.stack.preview(show, policies)
    else:
        found = stack.find_folder(folder, name)
        from polybus.provision import automation

        counts = automation.preview(name, found, show=show, policies=policies)
    tell(name, counts, summary, json=json)


def summary(counts: Mapping[str, int]) -> str:
    """Say what a preview counted."""
    found = [f"{count} to {kind}" for kind, count in counts.items() if kind != "same" and count]
    return ", ".join(found) if found else "no changes"


def done(counts: Mapping[str, int]) -> str:
    """Say what became of how many resources."""
    found = [f"{kind} {count}" for kind, count in counts.items() if kind != "same" and count]
    return ", ".join(found) if found else "no changes"


def tell(name: str, counts: Mapping[str, int], said: Callable[[Mapping[str, int]], str], *, json: bool) -> None:
    """Print what was counted of a stack, `said` in words, or as JSON."""
    if json:
        print_json({"stack": name, "changes": counts})
    else:
        print(f"{name}: {said(counts)}")
    sys.stdout.flush()
