"""What a stack fills into what the topology leaves open: `polybus:values`, `polybus:secrets`, the environment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polybus.errors import ConfigError
from polybus.plan.opened import held
from polybus.plan.values import is_mark
from polybus.topology.model import Topology
from polybus.topology.open import Open, Place, filled, places
from polybus.topology.table import nearest

if TYPE_CHECKING:
    from polybus.plan.later import Text

__all__ = ["Filled", "Hidden", "fill"]


@dataclass(frozen=True, slots=True)
class Hidden:
    """A secret of a stack's configuration. `text` of None is one that can't be read here; it is never shown."""

    text: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Filled:
    """A topology with what is known in it.

    `existing` are outputs that are the addresses of topics and queues, `awaited` those that are any other text, by the
    place, and `settings` have the functions.
    """

    topology: Topology
    settings: Any
    existing: Mapping[str, Text]
    awaited: Mapping[Place, Text]


def fill(declared: Topology, cloud: str, values: Mapping[str, Text | Hidden], settings: Any) -> Filled:
    """Fill in what `values` say, by their keys, and the environment.

    A secret is awaited, as outputs are; one that can't be read stays open. Raises ConfigError for everything that is
    open on `cloud` and isn't given, for what hasn't the form of its place, and for values that nothing asks for.
    """
    _hold_keys(declared, values)
    existing: dict[str, Text] = {}
    awaited: dict[Place, Text] = {}
    functions: dict[str, Text] = {}
    missing: list[str] = []
    there = {place.path for place in places(declared.on(cloud))}

    def put(place: Place) -> str:
        value = _value(place.value, values)
        if value is None:
            if place.path in there:
                missing.append(f"{declared.source}: at {place.path}: {_how(place.value)}")
            return place.value
        if place.form == "function":
            # It becomes the name of a function, which the settings have: what one is differs by cloud.
            if not isinstance(value, Hidden) or value.text is not None:
                functions[place.value.key] = _open_handed(value)
            return place.value.key
        if isinstance(value, str):
            return value if is_mark(value) else held(declared, place, value)
        if isinstance(value, Hidden):
            if value.text is None:
                return place.value
            held(declared, place, value.text, secret=True)
        if place.form == "existing":
            existing[place.name] = _open_handed(value)
        else:
            awaited[place] = _open_handed(value)
        return place.value

    topology = filled(declared, put)
    if missing:
        raise ConfigError("\n".join(missing))
    return Filled(topology, _with_functions(settings, functions), existing, awaited)


def _value(what: Open, values: Mapping[str, Text | Hidden]) -> Text | Hidden | None:
    if what.source == "env":
        return os.environ.get(what.key) or None
    return values.get(what.key)


def _open_handed(value: Text | Hidden) -> Text:
    """Make a secret one of Pulumi's, which keeps it."""
    if not isinstance(value, Hidden):
        return value
    import pulumi

    return pulumi.Output.secret(value.text or "")


def _how(what: Open) -> str:
    if what.source == "env":
        return f"open, and the environment variable {what.key} is not set"
    plain, secret = f"--path 'polybus:values.{what.key}'", f"--secret --path 'polybus:secrets.{what.key}'"
    return f"open, and the stack's configuration has no {what.key}: `pulumi config set {plain} ...`, or `{secret} ...`"


def _hold_keys(declared: Topology, values: Mapping[str, object]) -> None:
    """Refuse values that nothing asks for, which are misspelt as a rule."""
    known = dict.fromkeys(place.value.key for place in places(declared) if place.value.source == "config")
    for key in values:
        if key not in known:
            near = nearest(key, known)
            hint = f"; did you mean {near}?" if near else ""
            asked = ", ".join(sorted(known)) or "nothing"
            raise ConfigError(f"values.{key}: nothing in {declared.source} asks for it; asked for: {asked}{hint}")


def _with_functions(settings: Any, functions: Mapping[str, Text]) -> Any:
    if not functions:
        return settings
    if not dataclasses.is_dataclass(settings) or isinstance(settings, type) or not hasattr(settings, "functions"):
        raise ConfigError(f"found the functions {', '.join(functions)}; this cloud calls none")
    return dataclasses.replace(settings, functions={**settings.functions, **functions})
