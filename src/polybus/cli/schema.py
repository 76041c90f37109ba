"""`polybus schema`: the JSON Schema of polybus.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["SCHEMA_FILE", "command", "text"]

SCHEMA_FILE = "polybus.schema.json"
"""What `polybus init` names it; the first line of polybus.toml says so to editors."""


def command(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; by default stdout.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of polybus.toml.

    By it editors complete and check. A file whose first line is `#:schema ./polybus.schema.json` is checked by Taplo,
    and by Even Better TOML for VS Code.
    Write it again after an update of polybus: it has the keys of the version that wrote it.
    """
    if output is None:
        typer.echo(text(), nl=False)
    else:
        output.write_text(text(), encoding="utf-8")


def text() -> str:
    """Return the schema as the file's text."""
    import json

    from polybus.plan.passed import passed_arguments
    from polybus.topology.schema import schema

    return json.dumps(schema(passed_arguments()), indent=2, ensure_ascii=False) + "\n"
