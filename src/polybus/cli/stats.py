"""`polybus stats`: what waits where."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import console, print_json, print_json_line, table

if TYPE_CHECKING:
    from rich.table import Table

    from polybus.binding import Entity
    from polybus.bus.bus import Bus
    from polybus.driver import Stats

__all__ = ["command"]

_COUNTS = ("waiting", "leased", "delayed", "dead")


def command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Subscriptions and queues; by default all.", show_default=False)
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until interrupted.")] = False,
    every: Annotated[str, typer.Option("--every", help="How often, with --watch.")] = "2s",
    json: options.Json = False,
    binding: options.Binding = None,
) -> None:
    """Count what waits in subscriptions and queues.

    A dash stands for what the cloud doesn't tell. With --watch, --json prints one line of JSON each time.
    """
    seconds = options.duration(every, "--every")
    if seconds < 0.1:
        raise options.refuse("at least 100ms: each round asks the backend for every name", "--every")
    asyncio.run(_stats(names or [], binding, seconds if watch else None, json=json))


async def _stats(names: list[str], binding: str | None, every: float | None, *, json: bool) -> None:
    from polybus.bus.rights import Checker

    async with options.connect(binding) as bus:
        chosen = names or [entity.name for entity in _sources(bus)]
        known = Checker(bus.binding, None)
        for name in chosen:
            known.source(name)
        if every is None:
            _print(await _read(bus, chosen), json=json)
        elif json:
            while True:
                print_json_line(_plain(await _read(bus, chosen)))
                await bus.clock.sleep(every)
        else:
            await _watch(bus, chosen, every)


def _sources(bus: Bus) -> list[Entity]:
    binding = bus.binding
    entities = [*binding.queues.values(), *binding.subscriptions.values()]
    return [entity for entity in entities if entity.consumable]


async def _read(bus: Bus, names: list[str]) -> dict[str, Stats]:
    found = await asyncio.gather(*(bus.stats(name) for name in names))
    return dict(zip(names, found, strict=True))


async def _watch(bus: Bus, names: list[str], every: float) -> None:
    from rich.live import Live

    with Live(console=console(), auto_refresh=False) as live:
        while True:
            live.update(_table(await _read(bus, names)), refresh=True)
            await bus.clock.sleep(every)


def _print(found: dict[str, Stats], *, json: bool) -> None:
    if json:
        print_json(_plain(found))
    else:
        console().print(_table(found))


def _plain(found: dict[str, Stats]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(stats) for name, stats in found.items()}


def _table(found: dict[str, Stats]) -> Table:
    from polybus.topology.quantities import format_duration

    shown = table("name", *_COUNTS, "oldest", right=(*_COUNTS, "oldest"))
    for name, stats in found.items():
        counts = (getattr(stats, count) for count in _COUNTS)
        oldest = "-" if stats.oldest_age is None else format_duration(round(stats.oldest_age))
        shown.add_row(name, *("-" if count is None else str(count) for count in counts), oldest)
    return shown
