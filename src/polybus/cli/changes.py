"""What a changed topology would do on each cloud, for `polybus plan --diff` and `polybus check --against`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from polybus.cli.output import console, table
from polybus.cli.text import wrapped

if TYPE_CHECKING:
    from polybus.plan.diff import Change, Edit
    from polybus.topology.model import Topology

__all__ = ["ADVICE", "changes_between", "print_changes", "print_losses"]

ADVICE = (
    "drain it first (`polybus stats`, `polybus dead-letter redrive`), or declare it under a new name beside the old; "
    "--allow-replace accepts the loss"
)


def changes_between(old: Topology, new: Topology, cloud: str, stack: str) -> list[Change]:
    """Compare the plans of two topologies for a cloud; raises UnsupportedFeature where it refuses one of them."""
    from polybus.plan.diff import diff
    from polybus.plan.table import sample

    before, after = (sample(topology, cloud, stack=stack).resources for topology in (old, new))
    return diff(before, after)


def print_changes(cloud: str, changes: Sequence[Change]) -> None:
    """Print a table, and below it what would be lost."""
    if not changes:
        print(f"{cloud}: no changes")
        return
    shown = table("action", "resource", "from", "name", "what changes", title=f"{cloud}: {_summary(changes)}")
    for change in changes:
        edits = "\n".join(_text(edit) for edit in change.edits)
        shown.add_row(change.action.value, change.kind, change.logical, change.physical, edits)
    console().print(shown)
    print_losses(changes)


def print_losses(changes: Iterable[Change]) -> None:
    """Print one line for each change that loses messages."""
    for change in changes:
        if change.loses:
            name = f" {change.physical}" if change.physical else ""
            print(
                wrapped(f"{change.action.value} of {change.kind}{name} ($.{change.logical}) loses {change.loses}", "  ")
            )


def _text(edit: Edit) -> str:
    from polybus.plan.table import cut

    forces = " (can't be changed in place)" if edit.forces else ""
    return f"{edit.property}: {cut(edit.old) or 'not set'} -> {cut(edit.new) or 'not set'}{forces}"


def _summary(changes: Sequence[Change]) -> str:
    counts: dict[str, int] = {}
    for change in changes:
        counts[change.action.value] = counts.get(change.action.value, 0) + 1
    return ", ".join(f"{count} to {action}" for action, count in counts.items())
