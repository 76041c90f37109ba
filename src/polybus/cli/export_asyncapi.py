"""`polybus export asyncapi`: a topology as an AsyncAPI document."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options

if TYPE_CHECKING:
    from polybus.contracts.payload import Payload
    from polybus.topology.model import Topology

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

    Topics and queues are channels; each right of a service to publish or consume is an operation. Messages whose schema
    is declared have it as their payload.
    """
    import json

    from polybus.catalogue.asyncapi import asyncapi
    from polybus.topology.file import load

    declared = load(options.find_topology(topology))
    document = asyncapi(declared, service=service, version=version, payloads=_payloads(declared))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


def _payloads(declared: Topology) -> dict[str, Payload]:
    """Return the schema of each topic and queue that declares one, as it is within the document."""
    from polybus.contracts.payload import payload_of
    from polybus.contracts.topology import required

    found = {name: payload_of(contract) for name, contract in required(declared).items()}
    return {
        name: payload if payload.format else replace(payload, schema=_within(payload.schema, name))
        for name, payload in found.items()
    }


def _within(schema: Any, name: str) -> Any:
    """Have the references of a schema lead to where it is now."""
    if isinstance(schema, list):
        return [_within(each, name) for each in schema]
    if not isinstance(schema, dict):
        return schema
    root = f"#/components/messages/{name}/payload"
    return {
        word: root + value[1:]
        if word == "$ref" and isinstance(value, str) and value.startswith("#")
        else _within(value, name)
        for word, value in schema.items()
    }
