"""`polybus outputs`: what a stack exports, its binding above all."""

from __future__ import annotations

import sys

from polybus.cli import options, stack
from polybus.cli.output import console, table

__all__ = ["command"]

BINDING = "polybus"
"""The output that stacks/__main__.py exports the binding as."""


def command(name: stack.Name, folder: stack.Folder = None, json: options.Json = False) -> None:
    """Print what a stack exports.

    With --json it is the binding alone, as services read it: `polybus outputs STACK --json > polybus.binding.json`.
    Secrets are never shown.
    """
    found = stack.find_folder(folder, name)
    import msgspec

    from polybus.binding import Binding
    from polybus.errors import BindingError
    from polybus.provision import automation

    outputs = automation.outputs(name, found)
    if not json:
        shown = table("output", "value")
        for output, value in outputs.items():
            shown.add_row(output, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        console().print(shown)
        return
    if BINDING not in outputs:
        raise BindingError(f"stack {name!r} has no output {BINDING!r}; `polybus up {name}` makes it")
    binding = Binding.from_json(msgspec.json.encode(outputs[BINDING]), source=f"stack {name}")
    sys.stdout.write(binding.to_json())
