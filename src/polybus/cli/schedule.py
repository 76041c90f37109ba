"""`polybus schedule`: messages that are due later."""

from __future__ import annotations

from typing import Annotated

import typer

from polybus.cli import options
from polybus.cli.outbox import DATABASE, TABLE, with_store
from polybus.cli.output import console, note, print_json, table
from polybus.errors import ConfigError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    database: DATABASE,
    limit: Annotated[int, options.number("--limit", help="Show at most so many, the soonest first.")] = 100,
    table_name: TABLE = "polybus_outbox",
    json: options.Json = False,
) -> None:
    """List what is scheduled, the soonest first."""
    later = with_store(database, table_name, lambda store: store.later(limit))
    if json:
        print_json(later)
        return
    if not later:
        note("nothing is scheduled")
        return
    shown = table("id", "target", "key", "due", "bytes", right=("bytes",))
    for each in later:
        shown.add_row(each.id, each.target, each.ordering_key or "", options.moment(each.due_at), str(each.bytes))
    console().print(shown)


@app.command()
def cancel(
    database: DATABASE,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The ids that scheduling gave.")],
    table_name: TABLE = "polybus_outbox",
) -> None:
    """Cancel scheduled messages."""
    count = with_store(database, table_name, lambda store: store.cancel(ids))
    if not count:
        raise ConfigError("nothing is scheduled by that id: it was published, or cancelled before")
    note(f"cancelled {count}")
