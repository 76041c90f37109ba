"""Planning what a topology leaves open, before a stack fills it in: by stand-ins, which nobody gets to see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from polybus.errors import ConfigError
from polybus.plan.values import Resource, rewritten
from polybus.topology.model import Queue, Topic, Topology
from polybus.topology.open import Open, Place, filled, has_password, problem

if TYPE_CHECKING:
    from polybus.plan.planning import Planning

__all__ = ["by_environment", "held", "shown", "spelled", "standing_in", "where"]

T = TypeVar("T")


def where(value: Open) -> str:
    """Say what fills in an open text."""
    if value.source == "env":
        return f"the environment variable {value.key}"
    return f"polybus:values.{value.key}, or polybus:secrets.{value.key}, of the stack's configuration"


def held(topology: Topology, place: Place, text: str, *, secret: bool = False) -> str:
    """Return what fills in a place; raises ConfigError where it hasn't the place's form.

    What isn't a secret may have no password in it either, and a secret isn't shown.
    """
    allowed = problem(place.form, text)
    found = "a secret" if secret else repr(text)
    if allowed is None and has_password(text) and not secret:
        found, allowed = "a URL with a name or password in it", f"one without, or polybus:secrets.{place.value.key}"
    if allowed is not None:
        what = where(place.value)
        raise ConfigError(f"{topology.source}: at {place.path}: {what}: found {found}; allowed: {allowed}")
    return text


def by_environment(topology: Topology) -> Topology:
    """Fill in what variables of this environment say; what isn't set stays open."""

    def fill(place: Place) -> str:
        found = os.environ.get(place.value.key) if place.value.source == "env" else None
        return place.value if not found else held(topology, place, found)

    return filled(topology, fill)


def standing_in(topology: Topology, planning: Planning, settings: Any) -> tuple[Topology, Mapping[str, str]]:
    """Return a topology that can be planned though some of it is open, and what to show for what stands in.

    What is adopted has to have the form of an address, since others are made of it; any other text is planned as it is.
    """
    standing = planning.standing
    if standing is None:
        return topology, {}
    named: dict[str, str] = {}

    def fill(place: Place) -> str:
        if place.form != "existing" or standing is None:
            return place.value
        entry: Topic | Queue = topology.topics[place.name] if "topics" in place.path else topology.queues[place.name]
        found = standing(entry, settings)
        named.update(dict.fromkeys(planning.forms(found), str(place.value)))
        return found

    return filled(topology, fill), named


def shown(resources: Iterable[Resource], named: Mapping[str, str]) -> tuple[Resource, ...]:
    """Return resources with what they are to show in place of what stands in."""
    return tuple(replace(one, properties=spelled(dict(one.properties), named)) for one in resources)


def spelled(value: T, named: Mapping[str, str]) -> T:
    """Write a text, or all texts inside of a value, with what is to be shown in place of what stands in."""

    def change(text: str) -> str:
        for standing, name in named.items():
            text = text.replace(standing, name)
        return text

    found: T = rewritten(value, change) if named else value
    return found
