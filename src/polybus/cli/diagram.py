"""`polybus diagram`: a topology as a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polybus.cli import options

__all__ = ["command"]


_MERMAID = ("", ".mmd", ".mermaid", ".md", ".txt")


class _Format(StrEnum):
    MERMAID = "mermaid"
    SVG = "svg"


def command(
    topology: options.TopologyFile = None,
    format: Annotated[
        _Format | None,
        typer.Option("--format", help="By default what OUTPUT's name says, else mermaid.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; by default stdout.", show_default=False)
    ] = None,
) -> None:
    """Draw a topology as Mermaid or SVG.

    It has the services, topics, subscriptions with their filters, queues and dead letters.
    Mermaid goes into a Markdown document as it is; SVG opens in a browser.
    """
    from polybus.plan.diagram import mermaid, svg
    from polybus.topology.file import load

    chosen = format or _by_name(output)
    declared = load(options.find_topology(topology))
    text = svg(declared) if chosen is _Format.SVG else mermaid(declared)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


def _by_name(output: Path | None) -> _Format:
    """Return the format that a file's name says; what it says and isn't drawn is refused, not filled with Mermaid."""
    suffix = "" if output is None else output.suffix.lower()
    if suffix == ".svg":
        return _Format.SVG
    if suffix in _MERMAID:
        return _Format.MERMAID
    raise typer.BadParameter(
        f"{output}: {suffix} is not drawn; name it .svg or .mmd, or give --format", param_hint="--output"
    )
