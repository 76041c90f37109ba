"""`polybus tail`: look at messages without taking them from anybody."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options
from polybus.cli.output import note, print_json_line

if TYPE_CHECKING:
    from polybus.binding import Entity
    from polybus.bus.bus import Bus
    from polybus.driver import AdminDriver, Peeked
    from polybus.message import Message

__all__ = ["command"]

_POLL = 0.5
"""Seconds between looks with --follow: soon enough for a person who watches, and two calls a second for the cloud."""

_PAGE = 100


def command(
    source: Annotated[str, typer.Argument(help="A subscription, a queue, or a topic that has a tap.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until interrupted.")] = False,
    limit: Annotated[int | None, options.number("--limit", help="Stop after so many.", show_default=False)] = None,
    wait: Annotated[str, typer.Option("--wait", help="Without --follow, when a tap counts as read.")] = "2s",
    json: options.Json = False,
    binding: options.Binding = None,
) -> None:
    """Show messages without taking them from anybody.

    A subscription declared with `tap = true` is there to be read, so what tail shows of it is gone afterwards. Anything
    else is only peeked at, where the backend can: nothing changes. Elsewhere it is refused.
    """
    seconds = options.duration(wait, "--wait")
    asyncio.run(_tail(source, binding, None if follow else seconds, limit, json=json))


async def _tail(source: str, binding: str | None, wait: float | None, limit: int | None, *, json: bool) -> None:
    async with options.connect(binding) as bus:
        entity = _choose(bus, source)
        if entity.name != source:
            note(f"reading {entity.name}, the tap of {source}")
        left = itertools.count(limit - 1, -1) if limit is not None else itertools.repeat(1)
        shown = False

        def show(message: Message) -> bool:
            """Print a message, and tell whether there may be more."""
            nonlocal shown
            shown = True
            _print(message, json=json)
            return next(left) > 0

        await (_read_tap if entity.tap else _peek)(bus, entity, wait, show)
        if not shown:
            note(f"nothing waits in {entity.name}")


def _choose(bus: Bus, source: str) -> Entity:
    """Return what may be looked at; raise where there is no way that takes nothing from anybody."""
    from polybus.binding import Kind
    from polybus.bus.rights import Checker
    from polybus.errors import ConfigError, UnsupportedFeature
    from polybus.feature import Feature

    known = Checker(bus.binding, None)
    entity = known.operated(source)
    if entity.kind is Kind.TOPIC:
        taps = [found for found in bus.binding.subscriptions_of(entity) if found.tap]
        if not taps:
            feeds = [found.name for found in bus.binding.subscriptions_of(entity)]
            looked_at = [name for name in feeds if Feature.PEEK in bus.features(name)]
            instead = f"; or tail a subscription of it: {', '.join(looked_at)}" if looked_at else ""
            raise ConfigError(f"topic {source!r} has no tap: {_declare_tap(source)}{instead}")
        return taps[0]
    known.source(source)
    if not entity.tap and Feature.PEEK not in bus.features(source):
        raise UnsupportedFeature(
            f"{bus.backend} has no PEEK: at $.{entity.kind.value}s.{source}; "
            f"tail would take messages from its consumers. Instead {_declare_tap(entity.topic or 'TOPIC')}"
        )
    return entity


def _declare_tap(topic: str) -> str:
    return f'declare [subscriptions.{topic}-tap] with topic = "{topic}" and tap = true, and tail that'


async def _read_tap(bus: Bus, entity: Entity, wait: float | None, show: Callable[[Message], bool]) -> None:
    async with bus.consume(entity.name, concurrency=1) as deliveries:
        coming = aiter(deliveries)
        while True:
            following = asyncio.ensure_future(anext(coming))
            done, _ = await asyncio.wait({following}, timeout=wait)
            if not done:
                following.cancel()
                return
            async with following.result() as delivery:
                more = show(delivery.message)
            if not more:
                return


async def _peek(bus: Bus, entity: Entity, wait: float | None, show: Callable[[Message], bool]) -> None:
    from polybus.bus.bus import connection_of

    after: str | None = None
    while True:
        page = await connection_of(bus).call(_page(entity, after))
        for peeked in page:
            after = peeked.position
            if not show(peeked.message):
                return
        if page:
            continue
        if wait is not None:
            return
        await bus.clock.sleep(_POLL)


def _page(entity: Entity, after: str | None) -> Callable[[AdminDriver], Awaitable[Sequence[Peeked]]]:
    return lambda admin: admin.peek(entity, _PAGE, after)


def _print(message: Message, *, json: bool) -> None:
    from polybus.cli.messages import as_json, body_text

    if json:
        print_json_line(as_json(message))
        return
    facts: dict[str, Any] = dict(sorted(message.attributes.items()))
    if message.ordering_key is not None:
        facts["key"] = message.ordering_key
    named = " ".join(f"{name}={value}" for name, value in facts.items())
    print(f"{options.moment(message.published_at)}  {message.id}  {named}\n  {body_text(message.body)}", flush=True)
