"""`polybus preview`: what an update of a stack would do."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from polybus.cli import options, stack
from polybus.cli.output import note, print_json

__all__ = ["command", "summary"]


def command(
    name: stack.Name,
    folder: stack.Folder = None,
    policies: stack.Policies = None,
    json: options.Json = False,
) -> None:
    """Show what `polybus up` would do to a stack.

    Needs the pulumi CLI, whose own lines are shown. With --json, how many resources would be created, updated, replaced
    and deleted.
    """
    found = stack.find_folder(folder, name)
    from polybus.provision import automation

    counts = automation.preview(name, found, show=note if json else print, policies=policies)
    if json:
        print_json({"stack": name, "changes": counts})
    else:
        print(f"{name}: {summary(counts)}")
    sys.stdout.flush()


def summary(counts: Mapping[str, int]) -> str:
    """Say what a preview counted."""
    done = [f"{count} to {kind}" for kind, count in counts.items() if kind != "same" and count]
    return ", ".join(done) if done else "no changes"
