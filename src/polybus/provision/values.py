"""A plan's values as Pulumi's: every reference becomes the output of the child that it names.

And Pulumi's as a plan's: what a setting has of another resource's outputs is planned as something that is known later.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pulumi

from polybus.errors import ConfigError
from polybus.plan.later import Later, known
from polybus.plan.values import Join, Json, Ref

__all__ = ["deferred", "folded", "whole"]


def folded(value: Any, find: Callable[[Ref], pulumi.Output[Any]], text: Callable[[str], Any] = str) -> Any:
    """Replace references by outputs, at any depth, and every text by what `text` makes of it.

    Mappings and lists stay plain, with outputs as leaves: what is known stays known in a preview.
    """
    if isinstance(value, Ref):
        return find(value)
    if isinstance(value, Later):
        return _awaited(value)
    if isinstance(value, Join):
        return pulumi.Output.concat(*(folded(part, find, text) for part in value.parts))
    if isinstance(value, Json):
        # As compact as clouds give it back: some providers compare it as text.
        return pulumi.Output.json_dumps(folded(value.value, find, text), separators=(",", ":"))
    if isinstance(value, Mapping):
        return {key: folded(item, find, text) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [folded(item, find, text) for item in value]
    return text(value) if isinstance(value, str) else value


def _awaited(value: Later) -> pulumi.Output[Any]:
    """Give what becomes of a setting; what is wrong with it fails the update, in polybus's words."""

    def made(found: Any) -> Any:
        try:
            return value.made(found)
        except ConfigError as error:
            raise pulumi.RunError(str(error)) from error

    output: pulumi.Output[Any] = value.source.apply(made)
    return output


def deferred(settings: Any, fields: Iterable[str], cloud: str, hold: Callable[[Any], None]) -> Any:
    """Replace outputs in a cloud's settings by what the plan knows later, at any depth.

    `fields` are those that may have outputs; raises ConfigError for one anywhere else, and for a table that is one as a
    whole: which entries there are has to be known before the first resource. `hold` raises ConfigError for settings
    that the cloud wouldn't take; what becomes known is held to it too.
    """
    if not dataclasses.is_dataclass(settings) or isinstance(settings, type):
        return settings
    allowed, changed = frozenset(fields), {}
    for field in dataclasses.fields(settings):
        value, path = getattr(settings, field.name), f"{cloud} settings: {field.name}"
        if _is_output(value) and str(field.type).startswith(("Mapping", "tuple")):
            raise ConfigError(f"{path}: found an output as a whole; allowed: single values that are outputs")
        found = _deferred(value, path, open_=field.name in allowed)
        if found is not value:
            changed[field.name] = found
    if not changed:
        return settings
    planned = dataclasses.replace(settings, **changed)

    def check(name: str, found: Any) -> None:
        hold(known(planned, {name: found}))

    return _checked(planned, check)


def _checked(value: Any, check: Callable[[str, Any], None]) -> Any:
    """Give everything that is known later its check, at any depth."""
    if isinstance(value, Later):
        return dataclasses.replace(value, check=partial(check, value.name))
    if isinstance(value, Mapping):
        return {key: _checked(item, check) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_checked(item, check) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: _checked(getattr(value, one.name), check) for one in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    return value


def _is_output(value: Any) -> bool:
    return isinstance(value, pulumi.Output) or inspect.isawaitable(value)


def _deferred(value: Any, path: str, *, open_: bool) -> Any:
    if isinstance(value, Later):
        return value
    if _is_output(value):
        if not open_:
            raise ConfigError(
                f"{path}: found an output of another resource; allowed: a value that is known before the first resource"
            )
        # Of a coroutine once: it can't be awaited by each that needs it.
        source = value if isinstance(value, pulumi.Output) else pulumi.Output.from_input(value)
        return Later(path.rpartition(": ")[2], source)
    if isinstance(value, Mapping):
        found = {key: _deferred(item, f"{path}.{key}", open_=open_) for key, item in value.items()}
        return found if any(found[key] is not value[key] for key in found) else value
    if isinstance(value, (list, tuple)):
        items = tuple(_deferred(item, f"{path}[{at}]", open_=open_) for at, item in enumerate(value))
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        new = {name: _deferred(part, f"{path}.{name}", open_=open_) for name, part in parts.items()}
        different = {name: part for name, part in new.items() if part is not parts[name]}
        return dataclasses.replace(value, **different) if different else value
    return value


def whole(value: Any) -> Any:
    """Write whole numbers as such again, at any depth: across a wire of Pulumi's every number is a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value
