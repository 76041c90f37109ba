"""`polybus outbox`: what an outbox holds, and what to do about what can't be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from polybus.cli import options
from polybus.cli.output import console, note, print_json, table
from polybus.errors import ConfigError

if TYPE_CHECKING:
    from polybus.outbox.store import Store

__all__ = ["DATABASE", "TABLE", "app", "with_store"]

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

DATABASE = Annotated[
    str,
    typer.Argument(metavar="DATABASE", help="sqlite:///FILE, postgresql://..., or env:NAME for a variable's value."),
]
TABLE = Annotated[str, typer.Option("--table", help="The outbox's table, where it has a name of its own.")]
_Ids = Annotated[
    list[str] | None, typer.Option("--id", help="Only this message, by its id; can be repeated.", show_default=False)
]
_All = Annotated[bool, typer.Option("--all", help="All that were refused for good.")]


@app.command("list")
def list_(
    database: DATABASE,
    every: Annotated[bool, typer.Option("--all", help="What merely waits, too.")] = False,
    limit: Annotated[int, options.number("--limit", help="Show at most so many, the oldest first.")] = 100,
    table_name: TABLE = "polybus_outbox",
    json: options.Json = False,
) -> None:
    """List messages that could not be sent, the oldest first, with the reason of each.

    A message that the backend refused for good is "failed", and holds up its ordering key; one that is "retrying" is
    tried again by the relay.
    """
    kept = with_store(database, table_name, lambda store: store.kept(limit, every=every))
    if json:
        print_json(kept)
        return
    if not kept:
        note("the outbox is empty" if every else "nothing in the outbox failed")
        return
    shown = table("id", "target", "key", "state", "since", "attempts", "reason", right=("attempts",))
    for each in kept:
        since = options.moment(each.created_at if each.failed_at is None else each.failed_at)
        shown.add_row(
            each.id, each.target, each.ordering_key or "", each.state, since, str(each.attempts), each.reason or ""
        )
    console().print(shown)


@app.command()
def retry(database: DATABASE, ids: _Ids = None, every: _All = False, table_name: TABLE = "polybus_outbox") -> None:
    """Have messages sent again that were refused, once what was wrong is mended."""
    chosen = _chosen(ids, every)
    count = with_store(database, table_name, lambda store: store.retry(chosen))
    _tell(count, "to be sent again", chosen)


@app.command()
def discard(
    database: DATABASE,
    ids: _Ids = None,
    every: _All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    table_name: TABLE = "polybus_outbox",
) -> None:
    """Delete messages of the outbox for good, unsent; what comes after them on their ordering keys is sent."""
    chosen = _chosen(ids, every)
    if not yes:
        _ask(f"Delete {'all that failed' if chosen is None else f'{len(chosen)} of the outbox'} for good?")
    count = with_store(database, table_name, lambda store: store.discard(chosen))
    _tell(count, "deleted", chosen)


def with_store(database: str, table_name: str, work: Callable[[Store], Awaitable[T]]) -> T:
    """Run one piece of work on the outbox of a database; raise ConfigError, without its URL, where that fails."""
    from polybus.outbox.failures import in_words
    from polybus.outbox.opening import open_store

    async def run() -> T:
        store = open_store(database, table_name)
        try:
            await store.check()
            return await work(store)
        finally:
            await store.aclose()

    try:
        return asyncio.run(run())
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a database raises
        raise ConfigError(f"the outbox's database: {in_words(error)}") from None


def _chosen(ids: list[str] | None, every: bool) -> list[str] | None:
    if bool(ids) == every:
        raise options.refuse("give the ids of messages, or --all", "--id")
    return ids or None


def _tell(count: int, what: str, chosen: list[str] | None) -> None:
    if count:
        note(f"{count} {what}")
    elif chosen is None:
        note("nothing in the outbox failed")
    else:
        raise ConfigError("the outbox has no such message that isn't being sent; `polybus outbox list --all` shows all")


def _ask(question: str) -> None:
    import sys

    if not sys.stdin.isatty():
        raise options.refuse("it deletes them for good, so it asks; here only --yes can answer", "--yes")
    typer.confirm(question, abort=True, err=True)
