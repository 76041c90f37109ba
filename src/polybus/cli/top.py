"""`polybus top`: everything of a binding at a glance, for as long as one looks."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options
from polybus.cli.output import console, note, print_json, print_json_line, table

if TYPE_CHECKING:
    from rich.table import Table

    from polybus.bus.bus import Bus
    from polybus.cli.readings import Row, Watch

__all__ = ["command"]

FORMAT = 1

_COUNTS = ("waiting", "in flight", "delayed", "dead")


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Topics, subscriptions and queues; by default all.", show_default=False),
    ] = None,
    *,
    interval: Annotated[str, typer.Option("--interval", help="How often each entry is asked.")] = "2s",
    once: Annotated[bool, typer.Option("--once", help="Look once, and end; with 1 where an entry failed.")] = False,
    json: options.Json = False,
    binding: options.Binding = None,
) -> None:
    """Show everything of a binding at a glance, live.

    That is every topic, subscription, queue and dead-letter queue, until interrupted: what waits, what is being
    handled, the age of the oldest, dead letters, and how fast that grows or shrinks. A dash stands for what the cloud
    doesn't tell; a topic has the sum of its subscriptions. What one entry fails with stands in its row. With --json,
    one line a round, or with --once one document.
    """
    seconds = options.duration(interval, "--interval")
    if seconds < 0.1:
        raise options.refuse("at least 100ms: each round asks the backend for every entry", "--interval")
    failed = asyncio.run(_top(names or [], binding, None if once else seconds, json=json))
    if once and failed:
        raise typer.Exit(1)


async def _top(names: list[str], binding: str | None, every: float | None, *, json: bool) -> bool:
    from polybus.cli.readings import Watch, entries_of

    async with options.connect(binding) as bus:
        chosen = _chosen(bus, names)
        entries = entries_of(bus, lambda name: name in chosen)
        topics = [topic for topic in bus.binding.topics if topic in chosen or _has(bus, topic, chosen)]
        watch = Watch(topics, entries, bus.clock.monotonic)
        try:
            if every is None:
                rows = await watch.round(None)
                _print(bus, rows, json=json)
                return any(row.error for row in rows)
            await _go_on(bus, watch, every, json=json)
        finally:
            watch.close()
    return False


def _chosen(bus: Bus, names: list[str]) -> set[str]:
    """Return the entries that are meant: of a topic all its subscriptions. Raises BindingError for what isn't there."""
    binding = bus.binding
    every = {*binding.topics, *binding.subscriptions, *binding.queues}
    if not names:
        return every
    for name in names:
        binding.entity(name)  # which says what there is
    below = {item.name for item in binding.subscriptions.values() if item.topic in names}
    return below | set(names)


def _has(bus: Bus, topic: str, chosen: set[str]) -> bool:
    return any(item.topic == topic and item.name in chosen for item in bus.binding.subscriptions.values())


async def _go_on(bus: Bus, watch: Watch, every: float, *, json: bool) -> None:
    from rich.live import Live

    with nullcontext() if json else Live(console=console(), auto_refresh=False) as live:
        while True:
            began = bus.clock.monotonic()
            rows = await watch.round(every)
            if live is None:
                print_json_line(_plain(bus, rows))
            else:
                live.update(_table(bus, rows), refresh=True)
            await bus.clock.sleep(max(0.0, began + every - bus.clock.monotonic()))


def _print(bus: Bus, rows: list[Row], *, json: bool) -> None:
    if json:
        print_json(_plain(bus, rows))
        return
    console().print(_table(bus, rows))
    for row in rows:
        if row.error is not None:
            note(f"polybus: {row.kind}{' of' if row.kind == 'dead letters' else ''} {row.name}: {row.error}")


def _plain(bus: Bus, rows: list[Row]) -> dict[str, Any]:
    import time

    entries = [asdict(row) for row in rows]
    return {
        "format": FORMAT,
        "backend": bus.binding.backend,
        "bus": bus.binding.bus,
        "at": time.time(),
        "entries": entries,
    }


def _table(bus: Bus, rows: list[Row]) -> Table:
    title = f"{bus.binding.bus} on {bus.backend}"
    shown = table(
        "", "name", *_COUNTS, "oldest", "per second", "", title=title, right=(*_COUNTS, "oldest", "per second")
    )
    for row in rows:
        counts = (row.waiting, row.leased, row.delayed, row.dead)
        style = "bold" if row.kind == "topic" else "red" if row.kind == "dead letters" and row.waiting else None
        shown.add_row(
            row.kind,
            f"{'  ' if row.topic is not None else ''}{row.name}",
            *("-" if count is None else str(count) for count in counts),
            _age(row.oldest_age),
            "-" if row.rate is None else f"{row.rate:+.1f}",
            row.error or ("no answer" if row.late else ""),
            style=style,
        )
    return shown


def _age(seconds: float | None) -> str:
    from polybus.topology.quantities import format_duration

    return "-" if seconds is None else format_duration(round(seconds))
