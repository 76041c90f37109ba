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
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Write NAME.json, NAME.avsc or NAME.MESSAGE.binpb for each there, and not to stdout.",
        ),
    ] = None,
) -> None:
    """Print the schema of the messages of each topic and queue that declares one.

    It is a JSON Schema, that of a Python type too. An Avro schema stays one, and with --out the versions of it that are
    known beside it are written as well; a Protobuf message is printed as the text of its file, and written compiled.
    A folder of them, kept in the repository, is what `polybus check --against FOLDER` compares with.
    """
    from polybus.contracts.payload import payload_of
    from polybus.contracts.topology import required
    from polybus.topology.file import load

    named = required(load(options.find_topology(topology)))
    if out is None:
        print_json({name: payload_of(contract).schema for name, contract in named.items()})
    else:
        _write(named, out)


def _write(named: dict[str, Contract], out: Path) -> None:
    from polybus.contracts.kept import files_of, stale

    out.mkdir(parents=True, exist_ok=True)
    for name, contract in named.items():
        files = files_of(name, contract)
        for path in list(stale(out, name, files)):
            path.unlink()
            note(f"polybus: removed {path}")
        for each, data in files.items():
            (out / each).write_bytes(data)
            note(f"polybus: wrote {out / each}")
