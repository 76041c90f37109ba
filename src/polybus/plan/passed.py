"""The names that tables of a provider's arguments may have, for the schema of polybus.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polybus.plan.planning import Entry, Planning
from polybus.registry import each
from polybus.topology.model import PUSH_KINDS, Push, Queue, Subscription, Topic
from polybus.topology.schema import Arguments

__all__ = ["passed_arguments"]


def _push(kind: str) -> Push:
    address: dict[str, Any] = {kind: "address"}
    return Push(**address)


# What is made for an entry, and so what it takes, depends on who delivers.
_ENTRIES: Mapping[str, tuple[Entry, ...]] = {
    "topics": (Topic("name"),),
    "subscriptions": (
        Subscription("name", "topic"),
        *(Subscription("name", "topic", push=_push(kind)) for kind in PUSH_KINDS),
    ),
    "queues": (Queue("name"),),
}


def passed_arguments() -> Arguments:
    """Return, by kind of entry and cloud, the arguments that any such entry may pass on; none for unknown ones."""
    plannings = {cloud.name: cloud.load("planning") for cloud in each("planning")}
    return {
        kind: {name: found for name, planning in plannings.items() if (found := frozenset(_of(planning, entries)))}
        for kind, entries in _ENTRIES.items()
    }


def _of(planning: Planning, entries: tuple[Entry, ...]) -> Iterator[str]:
    for type_ in {planning.pass_through(entry) for entry in entries} - {None}:
        yield from planning.arguments.get(str(type_), ())
