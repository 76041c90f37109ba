"""What providers say of a resource beforehand: what they refuse of it, what differs, what takes another one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any

from pulumi.runtime.rpc import UNKNOWN

from polybus.errors import PolybusError
from polybus.plan.facts import refused as refused_by
from polybus.plan.planning import OwnName, immutable, planning_of_type
from polybus.provision.cloud import Provider
from polybus.registry import each

__all__ = ["Properties", "changed", "fixed", "forces", "refused", "takes"]

Properties = dict[str, Any]


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the properties that differ; one that isn't known yet does."""
    return [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key) or _unknown(new.get(key))]


def forces(type_: str, key: str, old: Properties, new: Properties, configured: Mapping[str, Any]) -> bool:
    """Say whether a property that differs takes another resource.

    What one of them doesn't say is as the provider is configured, and otherwise off.
    """
    before, after = (given.get(key, configured.get(key)) for given in (old, new))
    if before == after or not (before or after):
        return False
    planning = planning_of_type(type_) if key in old and key in new else None
    knows_better = None if planning is None else planning.replaces.get(type_)
    told = None if knows_better is None else knows_better(_snake(key), _snaked(old[key]), _snaked(new[key]))
    return key in (fixed(type_) or ()) if told is None else told


def refused(type_: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give each property that the provider refuses before it asks the cloud, and what is wrong with it."""
    planning = planning_of_type(type_)
    if planning is None:
        return
    own, facts = planning.names.get(type_), planning.facts.get(type_)
    wrong = None if own is None else _misnamed(own, given)
    if wrong is not None:
        yield wrong
    if facts is not None:
        yield from ((_camel(path), problem) for path, problem in refused_by(facts, _snaked(given)))


def _misnamed(own: OwnName, given: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the property that names a resource, and what is wrong with it; None where the cloud takes the name."""
    key = _camel(own.argument)
    name = given.get(key)
    if name is None:  # the provider would make one up
        return key, "it needs an explicit name"
    known = isinstance(name, str) and name != UNKNOWN
    if not known or own.accepts(name, ordered=bool(own.ordered_suffix) and name.endswith(own.ordered_suffix)):
        return None
    return key, f"found {name!r}; allowed: {own.rule.allowed}"


def fixed(type_: str) -> frozenset[str] | None:
    """Give the properties that a resource keeps for its life, by the engine's names; None for a type no plan has."""
    try:
        return frozenset(_camel(name) for name in immutable(type_))
    except KeyError:
        return None


def takes(type_: str, key: str) -> bool:
    """Say whether a property, by the engine's name, is one that the provider's SDK can be given."""
    package = type_.partition(":")[0]
    for cloud in each("provider"):
        provider: Provider = cloud.load("provider")
        if provider.planning.provider == package:
            try:
                made = provider.sdk.resource(type_)
            except PolybusError:
                return False
            return _snake(key) in signature(made._internal_init).parameters
    return False


def _unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def _snaked(value: Any) -> Any:
    """Give a value with the names inside of it as plans have them, and what isn't known yet as `...`."""
    if isinstance(value, Mapping):
        return {_snake(key): _snaked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_snaked(item) for item in value]
    return ... if value == UNKNOWN else value
