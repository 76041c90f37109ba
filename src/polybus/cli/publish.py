"""`polybus publish`: one message, the same many times, or a file of them."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from polybus.cli import options
from polybus.cli.output import note, print_json

if TYPE_CHECKING:
    from polybus.bus.bus import Bus
    from polybus.cli.messages import Line
    from polybus.errors import Fault
    from polybus.message import Message, Sent

__all__ = ["command"]

_CHUNK = 1_000
"""Messages handed to the publisher at once: ten of the largest batches that a cloud takes (Google: 1,000; SQS: 10)
keep it busy, and a file of any length is never in memory as a whole."""

_SHOWN = 10
"""Failures that are printed; with --json all are."""


@dataclass(slots=True)
class _Outcome:
    """What became of the messages; `ids` holds the first of them, `failed` the number of the line with each fault."""

    published: int
    ids: list[str]
    failed: list[tuple[int, Fault]]


def command(
    target: Annotated[str, typer.Argument(help="A topic or queue.")],
    body: Annotated[str | None, typer.Argument(help="The body; `-` reads it from stdin.", show_default=False)] = None,
    *,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", "-a", metavar="NAME=VALUE", help="An attribute; can be repeated.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="The ordering key.", show_default=False)] = None,
    delay: Annotated[str, typer.Option("--delay", help="How long to hold it back, such as 30s or 5m.")] = "0s",
    content_type: Annotated[
        str | None, typer.Option("--content-type", help="By default what the body looks like.", show_default=False)
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", metavar="FILE", help='JSON lines, each {"body": ..., "attributes": {}, ...}; `-` is stdin.'
        ),
    ] = None,
    count: Annotated[int, options.number("--count", help="Publish it this many times.")] = 1,
    json: options.Json = False,
    binding: options.Binding = None,
) -> None:
    """Publish messages to a topic or queue.

    Exits with 0 when the backend has durably accepted every one. Messages that failed are named with the reason, by
    their line in a file; the others were published.
    """
    if (body is None) == (file is None):
        raise typer.BadParameter("give either a body or --file", param_hint="BODY")
    seconds = options.duration(delay, "--delay")
    lines: Iterable[tuple[int, Line]]
    if file is not None:
        _refuse_with_file(attribute, key, content_type, seconds, count)
        lines = _from_file(file)
    else:
        line = _one(body or "", options.attributes(attribute), key, content_type, seconds)
        lines = enumerate(itertools.repeat(line, count), start=1)
    outcome = asyncio.run(_publish(target, lines, binding, total=None if file else count))
    _tell(outcome, json=json)
    if outcome.failed:
        raise typer.Exit(1)


def _refuse_with_file(
    attribute: list[str] | None, key: str | None, content_type: str | None, seconds: float, count: int
) -> None:
    given = {"--attribute": attribute, "--key": key, "--content-type": content_type, "--delay": seconds}
    wrong = [name for name, value in given.items() if value] + ["--count"] * (count != 1)
    if wrong:
        raise typer.BadParameter("not with --file, whose lines say it each for itself", param_hint=wrong[0])


def _one(given: str, attributes: dict[str, str], key: str | None, content_type: str | None, seconds: float) -> Line:
    from polybus.cli.messages import Line, guess_content_type
    from polybus.message import Message

    body = sys.stdin.buffer.read() if given == "-" else given.encode("utf-8", "surrogateescape")
    return Line(Message(body, attributes, key, content_type=content_type or guess_content_type(body)), seconds)


def _from_file(name: str) -> Iterator[tuple[int, Line]]:
    if name == "-":
        return _read(sys.stdin.buffer, "stdin")
    for _ in _read_file(name):
        pass  # a first pass, so that a malformed line is found before anything is published
    return _read_file(name)


def _read_file(name: str) -> Iterator[tuple[int, Line]]:
    with open(name, "rb") as stream:
        yield from _read(stream, name)


def _read(stream: BinaryIO, name: str) -> Iterator[tuple[int, Line]]:
    from polybus.cli.messages import read_line
    from polybus.errors import ConfigError

    for number, text in enumerate(stream, start=1):
        if not text.strip():
            continue
        try:
            yield number, read_line(text)
        except ValueError as error:
            raise ConfigError(f"{name}: at line {number}: {error}") from None


async def _publish(target: str, lines: Iterable[tuple[int, Line]], binding: str | None, total: int | None) -> _Outcome:
    from polybus.bus.rights import Checker
    from polybus.cli.output import counting

    outcome = _Outcome(0, [], [])
    remaining = iter(lines)
    async with options.connect(binding) as bus:
        Checker(bus.binding, None).target(target)
        with counting("published", total) as advance:
            while chunk := list(itertools.islice(remaining, _CHUNK)):
                # One call for each run of equal delays: ordering keys rely on the order of the lines.
                for delay, run in itertools.groupby(chunk, key=lambda line: line[1].delay):
                    await _publish_run(bus, target, list(run), delay, outcome)
                advance(len(chunk))
    return outcome


async def _publish_run(bus: Bus, target: str, run: list[tuple[int, Line]], delay: float, outcome: _Outcome) -> None:
    from polybus.errors import Fault

    messages = [line.message for _, line in run]
    results: Iterable[Sent | Fault]
    if delay:
        results = await asyncio.gather(*(_publish_late(bus, target, message, delay) for message in messages))
    else:
        results = await bus.publish_many(target, messages, outcomes=True)
    for (number, _), result in zip(run, results, strict=True):
        if isinstance(result, Fault):
            outcome.failed.append((number, result))
            continue
        outcome.published += 1
        if len(outcome.ids) < _CHUNK:
            outcome.ids.append(result.id)


async def _publish_late(bus: Bus, target: str, message: Message, delay: float) -> Sent | Fault:
    from polybus.errors import PublishFailed
    from polybus.message import Sent

    try:
        return Sent(await bus.publish(target, message, delay=delay))
    except PublishFailed as error:
        return error.outcomes[0]


def _tell(outcome: _Outcome, *, json: bool) -> None:
    if json:
        failed = [
            {"line": number, "kind": fault.kind.value, "code": fault.code, "detail": fault.detail}
            for number, fault in outcome.failed
        ]
        print_json({"published": outcome.published, "ids": outcome.ids, "failed": failed})
        return
    if outcome.published == 1:
        print(outcome.ids[0])
    elif outcome.published:
        note(f"published {outcome.published} messages")
    for number, fault in outcome.failed[:_SHOWN]:
        note(f"polybus: message {number}: {fault}")
    if outcome.failed:
        more = f", {len(outcome.failed) - _SHOWN} more than shown" if len(outcome.failed) > _SHOWN else ""
        note(f"polybus: {len(outcome.failed)} not published{more}")
