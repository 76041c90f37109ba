"""The page of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

from polybus.cli import main
from tools.reference.markdown import table

__all__ = ["page"]

_HEAD = """\
# The command line

{about}

`polybus COMMAND --help` prints what stands here. `polybus --install-completion` has the shell complete commands,
options and names of clouds.
"""


def page() -> str:
    """Return the page."""
    root: Any = typer.main.get_command(main.build(lambda name: True))
    about = inspect.cleandoc(main.__doc__ or "").partition("\n\n")[2]
    sections = (section for name in root.commands for section in _command(f"polybus {name}", root.commands[name]))
    return "\n".join([_HEAD.format(about=" ".join(about.split())), _options("polybus", root), *sections])


def _command(name: str, command: Any) -> Iterator[str]:
    help_ = inspect.cleandoc(command.help or "")
    usage = command.make_context(name, [], resilient_parsing=True)
    line = " ".join(command.get_usage(usage).removeprefix("Usage: ").split())
    yield f"## {name}\n\n{_paragraphs(help_)}\n\n```text\n{line}\n```\n"
    yield _options(name, command)
    for inner in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {inner[0]}", inner[1])


def _options(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    rows = [[_written(record[0]), _defaulted(record[1])] for record in records if record and "--help" not in record[0]]
    return table(["argument or option", "meaning"], rows) if rows else ""


def _written(signature: str) -> str:
    """Return `--lease <str>` as code."""
    return f"`{signature}`"


def _defaulted(help_: str) -> str:
    """Return an option's help, its default as code."""
    text = re.sub(r"  \[(default|env var): \(?([^\]]*?)\)?\]$", r" (\1: `\2`)", help_)
    return text.replace("  [required]", " Needed.")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
