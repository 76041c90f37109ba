"""`polybus refresh`: bring a stack's state to what there is."""

from __future__ import annotations

from polybus.cli import laptop, options, stack
from polybus.cli.output import note
from polybus.cli.preview import done, tell

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
    tell(name, counts, done, json=json)
