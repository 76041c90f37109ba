"""`polybus outputs`: what a stack exports, its binding above all."""

from __future__ import annotations

import sys

from polybus.cli import laptop, options, stack
from polybus.cli.output import console, table

__all__ = ["command"]


def command(
    name: stack.Name,
    folder: stack.Folder = None,
    local: laptop.Local = False,
    state: laptop.State = None,
    json: options.Json = False,
) -> None:
    """Print what a stack exports.

    With --json it is the binding alone, as services read it: `polybus outputs STACK --json > polybus.binding.json`.
    Secrets are never shown.
    """
    laptop.hold(local, state)
    import msgspec

    from polybus.binding import Binding
    from polybus.errors import BindingError

    if local:
        with laptop.opened(name, stack.project_folder(folder), state, begin=False) as at:
            outputs = at.stack.outputs()
            published = laptop.publish(at, outputs)
            text = b"" if published is None else published.read_bytes()
    else:
        found = stack.find_folder(folder, name)
        from polybus.provision import automation

        outputs = automation.outputs(name, found)
        text = msgspec.json.encode(outputs.get(laptop.OUTPUT))
    if not json:
        shown = table("output", "value")
        for output, value in outputs.items():
            shown.add_row(output, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        console().print(shown)
        return
    if laptop.OUTPUT not in outputs:
        raise BindingError(f"stack {name!r} has no output {laptop.OUTPUT!r}; `polybus up {name}` makes it")
    sys.stdout.write(Binding.from_json(text, source=f"stack {name}").to_json())
