"""`polybus route`: which subscriptions a message would reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from polybus.cli import options
from polybus.cli.output import console, note, print_json, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polybus.topology.model import Topology

__all__ = ["command"]


def command(
    target: Annotated[str, typer.Argument(metavar="TOPIC", help="Where the message would be published.")],
    topology: options.TopologyFile = None,
    *,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", "-a", metavar="NAME=VALUE", help="One of its attributes.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Say which subscriptions a message would reach.

    Those of the topic, each with its filter. Nothing is published, and no cloud is asked. Exits with 1 where none would
    get it.
    """
    from polybus.errors import ConfigError
    from polybus.topology.file import load
    from polybus.topology.table import nearest

    declared = load(options.find_topology(topology))
    if target not in declared.topics:
        near = nearest(target, declared.topics)
        hint = f"; did you mean {near}?" if near else ""
        there = ", ".join(declared.topics) or "none"
        raise ConfigError(f"{declared.source}: no topic {target!r}; there are: {there}{hint}")
    given = options.attributes(attribute)
    found = [
        (item.name, "" if item.filter is None else str(item.filter), item.filter is None or item.filter.matches(given))
        for item in declared.subscriptions_of(target)
    ]
    if json:
        keys = ("subscription", "filter", "gets")
        print_json(
            {
                "topic": target,
                "attributes": given,
                "subscriptions": [dict(zip(keys, one, strict=True)) for one in found],
            }
        )
    else:
        shown = table("subscription", "gets it", "filter", title=f"{target}: {_told(given)}")
        for name, filter_, gets in found:
            shown.add_row(name, "yes" if gets else "no", filter_ or "none: everything")
        console().print(shown)
    for line in _slips(declared, target, given):
        note(f"polybus: {line}")
    if not any(gets for *_, gets in found):
        raise typer.Exit(1)


def _told(given: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "no attributes"


def _slips(declared: Topology, topic: str, given: Mapping[str, str]) -> list[str]:
    """Tell of attributes that no filter asks for, where one that is asked for is nearly the same."""
    from polybus.topology.table import nearest

    asked = declared.filter_attributes(topic)
    slips = [(name, nearest(name, asked - given.keys())) for name in given if name not in asked]
    return [f"no filter asks for {name}; did you mean {near}?" for name, near in slips if near]
