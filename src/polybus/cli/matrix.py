"""`polybus matrix`: what each backend was measured to do, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import note, print_json
from polybus.errors import ConfigError

if TYPE_CHECKING:
    from polybus.testing.matrix import Results

__all__ = ["command"]


def command(
    results: Annotated[Path, typer.Option("--results", help="What a run of the suite measured.")] = Path(
        "docs/matrix.json"
    ),
    write: Annotated[
        Path | None, typer.Option("--write", help="A document with markers to put the table between.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show what each backend was measured to do.

    The numbers are a run of the conformance suite's: `pytest tests/conformance --polybus-matrix docs/matrix.json`.
    With --write the table goes between `<!-- matrix -->` and `<!-- /matrix -->` of a document, such as a README.
    """
    from polybus.testing import matrix

    measured = matrix.load(results)
    if not measured.backends:
        raise ConfigError(
            f"{results}: nothing is measured; polybus's own results are docs/matrix.json in its repository, "
            f"and a run of the suite makes them: pytest tests/conformance --polybus-matrix {results}"
        )
    if json:
        print_json(measured)
    elif write is None:
        typer.echo(matrix.markdown(measured), nl=False)
    if write is not None:
        _write(write, measured)


def _write(document: Path, measured: Results) -> None:
    from polybus.testing import matrix

    try:
        text = document.read_text(encoding="utf-8")
        document.write_text(matrix.replace(text, measured), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{document}: {error.strerror or error}") from None
    except ValueError as error:
        raise ConfigError(f"{document}: {error}") from None
    note(f"wrote the table of {', '.join(measured.backends)} to {document}")
