"""`polybus dead-letter`: look at what failed, mend it, and put it back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import console, counting, note, print_json, table
from polybus.errors import ConfigError

if TYPE_CHECKING:
    from polybus.bus.bus import Bus
    from polybus.driver import Peeked
    from polybus.message import Message

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

# The characters of a UUID: an id that polybus made is this long, and no other begins with it.
_WHOLE = 36

_Source = Annotated[str, typer.Argument(metavar="SOURCE", help="The subscription or queue that they failed in.")]


@app.command("list")
def list_(
    source: _Source,
    limit: Annotated[int, options.number("--limit", help="Show at most so many, the oldest first.")] = 100,
    json: options.Json = False,
    binding: options.Binding = None,
) -> None:
    """List dead letters, the oldest first, with the reason of each."""
    from polybus.cli.messages import body_text, peeked_as_json

    letters = asyncio.run(_peek(source, binding, limit))
    if json:
        print_json([peeked_as_json(letter) for letter in letters])
        return
    if not letters:
        note(f"no dead letters in {source}")
        return
    shown = table("id", "dead since", "reason", "description", "body")
    for letter in letters:
        row = (letter.message.id, options.moment(letter.at), letter.reason or "", letter.description or "")
        shown.add_row(*row, body_text(letter.message.body, 60))
    console().print(shown)


@app.command()
def show(
    source: _Source,
    id: Annotated[str, typer.Argument(help="The message's id, or the beginning of it.")],
    json: options.Json = False,
    binding: options.Binding = None,
) -> None:
    """Show one dead letter as a whole."""
    from polybus.cli.messages import peeked_as_json

    letter = asyncio.run(_find(source, binding, id))
    if json:
        print_json(peeked_as_json(letter))
        return
    _print_whole(letter)


@app.command()
def redrive(
    source: _Source,
    *,
    id: Annotated[
        list[str] | None, typer.Option("--id", help="Only this one, by its id or the beginning of it; can be repeated.")
    ] = None,
    limit: Annotated[int | None, options.number("--limit", help="At most so many.", show_default=False)] = None,
    set_body: Annotated[
        str | None, typer.Option("--set-body", metavar="TEXT", help="Put it back with this body.", show_default=False)
    ] = None,
    edit_body: Annotated[
        Path | None,
        typer.Option("--edit-body", metavar="FILE", help="Put it back with what FILE holds.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask, where all would be put back.")] = False,
    json: options.Json = False,
    binding: options.Binding = None,
) -> None:
    """Put dead letters back to the subscription or queue that they came from.

    Without `--id` and `--limit` it is all of them, which is asked first. A new body goes with `--id`, since it replaces
    the body of every letter that is put back. Each letter keeps its id, attributes and ordering key. Interrupted, none
    is lost; one may come twice.
    """
    edit = _edit(set_body, edit_body)
    if edit is not None and not id:
        raise typer.BadParameter("a new body needs --id: it would replace that of every letter", param_hint="--id")
    if not id and limit is None and not yes:
        _ask(f"Put every dead letter of {source} back?", "it puts all of them back")
    moved = asyncio.run(_redrive(source, binding, tuple(id or ()), limit, edit))
    if json:
        print_json({"redriven": moved})
    else:
        note(f"put back {moved} to {source}" if moved else f"no dead letters in {source}")


@app.command()
def purge(
    source: _Source,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    json: options.Json = False,
    binding: options.Binding = None,
) -> None:
    """Delete every dead letter, for good."""
    if not yes:
        _ask(f"Delete every dead letter of {source} for good?", "it deletes them for good")
    deleted = asyncio.run(_purge(source, binding))
    if json:
        print_json({"purged": deleted})
    else:
        note(f"deleted {'the' if deleted is None else deleted} dead letters of {source}")


def _ask(question: str, because: str) -> None:
    """Go on where the answer is yes; refuse where nobody is there to answer."""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{because}, so it asks; here only --yes can answer", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)


async def _peek(source: str, binding: str | None, limit: int) -> list[Peeked]:
    async with options.connect(binding) as bus:
        return [letter async for letter in bus.dead_letters(source).peek(limit)]


async def _find(source: str, binding: str | None, id: str) -> Peeked:
    async with options.connect(binding) as bus:
        return (await _find_all(bus, source, (id,)))[0]


async def _find_all(bus: Bus, source: str, ids: Sequence[str]) -> list[Peeked]:
    """Return the letters that the ids, or beginnings of one, stand for; refuse what is none or several."""
    whole = len(ids) == 1 and len(ids[0]) == _WHOLE
    found = await bus.dead_letters(source).find(
        lambda message: message.id.startswith(tuple(ids)), enough=1 if whole else None
    )
    for id in ids:
        meant = {letter.message.id for letter in found if letter.message.id.startswith(id)}
        if not meant:
            raise ConfigError(f"{source} has no dead letter {id!r}; `polybus dead-letter list {source}` shows all")
        if len(meant) > 1:
            raise ConfigError(f"{source} has {len(meant)} dead letters that begin with {id!r}; give more of the id")
    return found


def _print_whole(letter: Peeked) -> None:
    from polybus.cli.messages import as_json

    message = letter.message
    facts = {
        "id": message.id,
        "reason": letter.reason or "not said",
        "description": letter.description or "",
        "dead since": options.moment(letter.at),
        "published": options.moment(message.published_at),
        "ordering key": message.ordering_key or "",
        "content type": message.content_type or "",
        "attributes": "\n".join(f"{name} = {value}" for name, value in sorted(message.attributes.items())),
    }
    shown = table("", "")
    shown.show_header = False
    for name, value in facts.items():
        if value:
            shown.add_row(name, value)
    console().print(shown)
    values = as_json(message)
    print(message.body.decode() if "body" in values else f"{len(message.body)} bytes: {values['body_base64']}")


def _edit(set_body: str | None, edit_body: Path | None) -> Callable[[Message], Message] | None:
    import msgspec

    if set_body is not None and edit_body is not None:
        raise typer.BadParameter("give one of --set-body and --edit-body", param_hint="--set-body")
    if set_body is None and edit_body is None:
        return None
    body = edit_body.read_bytes() if edit_body is not None else (set_body or "").encode("utf-8", "surrogateescape")

    def edit(message: Message) -> Message:
        from polybus.cli.messages import guess_content_type

        return msgspec.structs.replace(message, body=body, content_type=guess_content_type(body))

    return edit


async def _redrive(
    source: str,
    binding: str | None,
    ids: tuple[str, ...],
    limit: int | None,
    edit: Callable[[Message], Message] | None,
) -> int:
    async with options.connect(binding) as bus:
        match: Callable[[Message], bool] | None = None
        if ids:
            found = await _find_all(bus, source, ids)
            wanted = {letter.message.id for letter in found}
            match = lambda message: message.id in wanted  # noqa: E731
            limit = min(limit or len(found), len(found))  # nothing is looked for once they are back
        with counting("put back", limit) as advance:
            done = 0

            def progress(count: int) -> None:
                nonlocal done
                advance(count - done)
                done = count

            return await bus.dead_letters(source).redrive(limit=limit, match=match, edit=edit, progress=progress)


async def _purge(source: str, binding: str | None) -> int | None:
    async with options.connect(binding) as bus:
        return await bus.dead_letters(source).purge()
