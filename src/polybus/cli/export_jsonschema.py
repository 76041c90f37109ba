"""`polybus export jsonschema`: what messages are, as files that other programs, and a later check, read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import note, print_json

if TYPE_CHECKING:
    from polybus.contracts.load import Contract

__all__ = ["command"]


def command(
    topology: options.TopologyFile = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Write NAME.json for each there, and not to stdout."),
    ] = None,
) -> None:
    """Print the JSON Schema of the messages of each topic and queue that declares one.

    A folder of them, kept in the repository, is what `polybus check --against FOLDER` compares with.
    """
    from polybus.contracts.topology import required
    from polybus.topology.file import load

    named = required(load(options.find_topology(topology)))
    if out is None:
        print_json({name: contract.schema for name, contract in named.items()})
    else:
        _write(named, out)


def _write(named: dict[str, Contract], out: Path) -> None:
    from polybus.contracts.kept import text_of, written

    out.mkdir(parents=True, exist_ok=True)
    for name, contract in named.items():
        path = out / written(name, contract)
        path.write_text(text_of(contract), encoding="utf-8")
        note(f"polybus: wrote {path}")
