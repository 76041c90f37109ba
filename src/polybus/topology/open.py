"""Texts of a topology that each environment has its own of: left open there, and filled in by a stack.

`{ config = "orders-arn" }` is what the stack's configuration says, `{ env = "ORDERS_ARN" }` a variable of the
environment in which the stack is planned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast

from polybus.topology import model

__all__ = ["FORMS", "HOW", "SOURCES", "Open", "Place", "filled", "has_password", "opened", "places", "problem"]

Source = Literal["config", "env"]

HOW = '{ config = "name" } and { env = "NAME" }, which a stack fills in'

SOURCES: Mapping[str, str] = {"config": "[A-Za-z][A-Za-z0-9_-]{0,99}", "env": "[A-Za-z_][A-Za-z0-9_]{0,99}"}
"""What may fill in a text, each with a pattern of its names."""

FORMS: Mapping[str, tuple[str, str]] = {
    "email": (r"[^@\s]+@[^@\s]+", "an e-mail address"),
    "sms": (r"\+[1-9][0-9]{6,14}", 'a telephone number such as "+447700900123"'),
    "https": (r"https://[^\s/]+\S*", 'a URL that begins with "https://"'),
    "function": (r"\S+", "a function, or a name for the stack config"),
    "forward": (r"\S+", "the name of a queue or topic of this bus"),
    "existing": (r"\S+", "the ARN or id of one to adopt"),
    "notify email": (r"\S+", "an e-mail address"),
    "notify topic": (r"\S+", "the ARN or id of a topic of the cloud's own kind"),
}
"""What a text of each form looks like, and what is allowed in words."""


class Open(str):
    """What is open: as text it names what will fill it in, such as `<config orders-arn>`."""

    __slots__ = ("key", "source")

    source: Source
    key: str

    def __new__(cls, source: Source, key: str) -> Open:
        made = super().__new__(cls, f"<{source} {key}>")
        made.source = source
        made.key = key
        return made

    def __getnewargs__(self) -> tuple[Source, str]:  # type: ignore[override]  # a str has its text alone
        return self.source, self.key

    def __repr__(self) -> str:
        return f"Open({self.source!r}, {self.key!r})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a topology is open, and which form the text there has to have; `name` is the entry's."""

    path: str
    form: str
    value: Open
    name: str


def opened(value: object) -> Open | None:
    """Read what a TOML table leaves open; None for anything else."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    [(source, key)] = value.items()
    good = source in SOURCES and isinstance(key, str) and re.fullmatch(SOURCES[source], key)
    return Open(cast(Source, source), key) if good else None


def problem(form: str, text: str) -> str | None:
    """Say what is allowed where a text isn't of a form; None where it is."""
    pattern, allowed = FORMS[form]
    return None if re.fullmatch(pattern, text) else allowed


def has_password(text: str) -> bool:
    """Tell whether a text is a URL with a name or password in it: everybody who sees a plan would see these."""
    return re.match(r"[a-z]+://[^/?#]*@", text) is not None


def places(topology: model.Topology) -> list[Place]:
    """List where a topology is open, as declared."""
    found: list[Place] = []

    def note(place: Place) -> str:
        found.append(place)
        return place.value

    _mapped(topology, note)
    return found


def filled(topology: model.Topology, fill: Callable[[Place], str]) -> model.Topology:
    """Return a topology whose every open text is what `fill` gives for it, which may be the same."""
    found = _mapped(topology, fill)
    return topology if found == topology else replace(found, origin=topology.origin or topology)


T = TypeVar("T", bound=model.Topic | model.Queue)


def _mapped(topology: model.Topology, fill: Callable[[Place], str]) -> model.Topology:
    return replace(
        topology,
        topics=MappingProxyType({name: _adopted("topics", topic, fill) for name, topic in topology.topics.items()}),
        subscriptions=MappingProxyType({name: _pushed(item, fill) for name, item in topology.subscriptions.items()}),
        queues=MappingProxyType({name: _adopted("queues", queue, fill) for name, queue in topology.queues.items()}),
        alarms=None if topology.alarms is None else _notifying(topology.alarms, fill),
    )


def _adopted(section: str, entry: T, fill: Callable[[Place], str]) -> T:
    if not isinstance(entry.existing, Open):
        return entry
    place = Place(f"$.{section}.{entry.name}.existing", "existing", entry.existing, entry.name)
    return replace(entry, existing=fill(place))


def _pushed(item: model.Subscription, fill: Callable[[Place], str]) -> model.Subscription:
    if item.push is None or not isinstance(item.push.endpoint, Open):
        return item
    kind = item.push.kind
    place = Place(f"$.subscriptions.{item.name}.push.{kind}", kind, item.push.endpoint, item.name)
    changed: dict[str, Any] = {kind: fill(place)}
    return replace(item, push=replace(item.push, **changed))


def _notifying(alarms: model.Alarms, fill: Callable[[Place], str]) -> model.Alarms:
    changed = dict(_notified(alarms.notify, fill))
    return replace(alarms, notify=replace(alarms.notify, **changed)) if changed else alarms


def _notified(notify: model.Notify, fill: Callable[[Place], str]) -> Iterator[tuple[str, Any]]:
    for key, value in (("email", notify.email), ("topic", notify.topic)):
        if isinstance(value, Open):
            yield key, fill(Place(f"$.alarms.notify.{key}", f"notify {key}", value, ""))
