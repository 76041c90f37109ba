"""`polybus import`: what exists already becomes a stack's own, without being replaced."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from polybus.cli import options, stack
from polybus.cli.output import note

__all__ = ["command"]


def command(
    name: stack.Name,
    entries: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ENTRY]...", help="Topics, subscriptions, queues; by default all.", show_default=False),
    ] = None,
    *,
    folder: stack.Folder = None,
    account: Annotated[
        str | None,
        typer.Option("--account", help="The account, subscription or project that they are in.", show_default=False),
    ] = None,
    dead_letters: Annotated[bool, typer.Option("--dead-letters", help="Their dead letters exist too.")] = False,
    deployed: Annotated[
        bool, typer.Option("--deployed", help="The stack has been deployed: its component is there.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the file here, and not to stdout.", show_default=False)
    ] = None,
) -> None:
    """Write a file to take over what exists already.

    It is for `pulumi import --file`. Queues, topics and subscriptions get the ids of what is there under the plan's
    names, or under names of your own (`[queues.jobs.aws] name = "..."`), and the names and parents of the program's
    resources. Nothing is asked of a cloud or changed. What has `existing` stays its owner's.
    """
    found = stack.project_folder(folder)
    import polybus.provision  # noqa: F401 - raises MissingExtra, which says what to install
    from polybus.provision.importing import import_file

    project = stack.project_name(found) if deployed else None
    made = import_file(name, found, entries or (), account=account, letters=dead_letters, deployed=project)
    if out is None:
        sys.stdout.write(made.text)
    else:
        try:
            out.write_text(made.text)
        except OSError as error:
            raise options.refuse(f"{out}: {error.strerror or error}", "--out") from None
    where = str(out) if out is not None else "FILE"
    note(
        f"polybus: {len(made.resources)} to import; the next update makes or sets: {', '.join(made.made) or 'nothing'}"
    )
    note(f"polybus: then: pulumi import --stack {name} --file {where} --generate-code=false --protect=false")
    note(f"polybus: and before `polybus up {name}`: `polybus preview {name}` must replace none of them")
