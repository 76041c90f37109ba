"""`polybus refresh`: bring a stack's state to what there is."""

from __future__ import annotations

import sys

from polybus.cli import laptop, options, stack
from polybus.cli.output import note, print_json
from polybus.cli.preview import done

__all__ = ["command"]


def command(
    name: stack.Name,
    folder: stack.Folder = None,
    local: laptop.Local = False,
    state: laptop.State = None,
    json: options.Json = False,
) -> None:
    """Bring a stack's state to what there is.

    Needs the pulumi CLI, whose own lines are shown. What is on the cloud stays as it is; the next `polybus up` mends
    what has drifted.
    """
    laptop.hold(local, state)
    show = note if json else print
    if local:
        project = stack.project_folder(folder)
        with laptop.opened(name, project, state, begin=False) as at:
            counts = at.stack.refresh(show)
    else:
        found = stack.find_folder(folder, name)
        from polybus.provision import automation

        counts = automation.refresh(name, found, show=show)
    if json:
        print_json({"stack": name, "changes": counts})
    else:
        print(f"{name}: {done(counts)}")
    sys.stdout.flush()
