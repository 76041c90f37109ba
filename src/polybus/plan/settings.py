"""What the clouds' settings share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from polybus.errors import ConfigError
from polybus.plan.later import Text
from polybus.plan.values import is_mark
from polybus.topology.model import Push, Subscription, Topology
from polybus.topology.table import nearest

__all__ = ["NOTHING", "Mistake", "check_services", "function_of", "refuse", "with_options"]

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong in a stack's configuration by itself: under which key, what was found, what there may be."""

    key: str
    found: object
    allowed: str


def refuse(cloud: str, mistakes: Iterable[Mistake]) -> None:
    """Raise ConfigError with all that is wrong, if anything is."""
    known = (one for one in mistakes if not is_mark(one.found))
    words = [f"{cloud} {one.key}: found {one.found!r}; allowed: {one.allowed}" for one in known]
    if words:
        raise ConfigError("\n".join(words))


def check_services(topology: Topology, given: Mapping[str, object], where: str) -> None:
    """Refuse stack configuration for services that the topology doesn't declare."""
    for name in given:
        if name not in topology.services:
            near = nearest(name, topology.services)
            hint = f"; did you mean {near}?" if near else ""
            declared = ", ".join(sorted(topology.services)) or "none"
            raise ConfigError(f"{where}: found the service {name!r}; {topology.source} declares: {declared}{hint}")


def function_of(subscription: Subscription, push: Push, functions: Mapping[str, Text], prefix: str) -> Text:
    """Give the function that a push names: as it stands where it begins as the cloud's own, else as configured."""
    function = push.function or ""
    if function.startswith(prefix):
        return function
    if function not in functions:
        configured = ", ".join(sorted(functions)) or "none"
        raise ConfigError(
            f"at $.subscriptions.{subscription.name}.push.function: found {function!r}, which the stack config doesn't "
            f"resolve; configured functions: {configured}; it takes what begins with {prefix!r}"
        )
    return functions[function]


def with_options(properties: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Give properties with those of a pass-through table over them; a table inside another adds to what is planned."""
    both = dict(properties)
    for name, value in options.items():
        planned = both.get(name)
        if isinstance(planned, Mapping) and isinstance(value, Mapping):
            both[name] = with_options(planned, value)
        else:
            both[name] = value
    return both
