"""`polybus diagram`: a topology as a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polybus.cli import options

__all__ = ["command"]


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

    chosen = format or (_Format.SVG if output is not None and output.suffix == ".svg" else _Format.MERMAID)
    declared = load(options.find_topology(topology))
    text = svg(declared) if chosen is _Format.SVG else mermaid(declared)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
