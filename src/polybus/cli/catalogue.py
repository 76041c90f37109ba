"""`polybus catalogue`: a topology as a page for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polybus.cli import options

__all__ = ["command"]


def command(
    topology: options.TopologyFile = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file; by default stdout.", show_default=False)
    ] = None,
) -> None:
    """Write a page that says who publishes what, and who reads it.

    It is one HTML file, without scripts and without anything from elsewhere. What it says of an entry or a service
    beside its settings are the `description` and `owner` of polybus.toml, and the schema where one is declared.
    """
    from polybus.catalogue.page import page
    from polybus.contracts.payload import payload_of
    from polybus.contracts.topology import required
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
    text = page(declared, payloads={name: payload_of(contract) for name, contract in required(declared).items()})
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
