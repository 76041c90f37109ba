"""`polybus export asyncapi`: a topology as an AsyncAPI document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polybus.cli import options

__all__ = ["command"]


def command(
    topology: options.TopologyFile = None,
    service: Annotated[
        str | None,
        typer.Option("--service", metavar="NAME", help="What this one publishes and consumes.", show_default=False),
    ] = None,
    version: Annotated[str, typer.Option("--version", metavar="TEXT", help="Of the application.")] = "1.0.0",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; by default stdout.", show_default=False)
    ] = None,
) -> None:
    """Print a topology as AsyncAPI 3.0, in JSON.

    Topics and queues are channels; each right of a service to publish or consume is an operation.
    """
    import json

    from polybus.catalogue.asyncapi import asyncapi
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
    document = asyncapi(declared, service=service, version=version)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
