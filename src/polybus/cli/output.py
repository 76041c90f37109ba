"""What commands print: tables for people, JSON for scripts; results on stdout, all else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["console", "counting", "note", "notes", "print_json", "print_json_line", "table"]

_PLAIN_WIDTH = 160
"""Columns for what is no terminal: enough for our widest table, so that `grep` finds whole cells."""


def console() -> Console:
    """Return the console of stdout; it keeps to NO_COLOR and writes no colour to what is no terminal."""
    return _console(stderr=False)


def notes() -> Console:
    """Return the console of stderr, for progress and remarks."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    return Console(stderr=stderr, highlight=False, markup=False, width=width)


def note(text: str) -> None:
    """Print a remark to stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), flush=True)


def print_json_line(value: Any) -> None:
    """Print a value as JSON on one line, at once."""
    import msgspec

    print(msgspec.json.encode(value).decode(), flush=True)


def table(*columns: str, title: str | None = None, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns named in `right` hold numbers."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show on stderr how many of `total` are done while the block runs; give the function that adds to it.

    It is gone when the block ends, and isn't there at all on what is no terminal.
    """
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes(), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
