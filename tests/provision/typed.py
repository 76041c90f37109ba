"""Whether a value fits what a provider's SDK says that an argument is, at any depth."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi


def misfits(resource: type, arguments: Mapping[str, Any]) -> list[str]:
    """List the arguments of a resource's class whose values aren't of the types that its SDK takes."""
    made: Any = resource
    names = _names(made)
    hints = typing.get_type_hints(made._internal_init, names)
    return [name for name, value in arguments.items() if not fits(value, hints[name], names)]


def fits(value: Any, hint: Any, names: dict[str, Any]) -> bool:
    """Tell whether a value is of a type; an argument may be awaited or an output too, but here all are known."""
    if isinstance(hint, typing.ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        if hint.startswith(("Output[", "pulumi.Output[")):
            return False
        hint = eval(hint, names)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one, names) for one in arguments)
    if not inspect.isclass(origin):
        return _plain(value, hint)
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(fits(one, arguments[1], names) for one in value.values())
    if issubclass(origin, Sequence):
        return isinstance(value, (list, tuple)) and all(fits(one, arguments[0], names) for one in value)
    return False


def _names(of: Any) -> dict[str, Any]:
    """Give what the annotations of a class may name: `pulumi.Input` is a text about pulumi's own Output."""
    return {**vars(pulumi), "T": Any, **vars(inspect.getmodule(of))}


def _plain(value: Any, hint: Any) -> bool:
    if typing.is_typeddict(hint):
        names = _names(hint)
        inner = typing.get_type_hints(hint, names)
        known = isinstance(value, Mapping) and value.keys() <= inner.keys()
        return known and all(fits(one, inner[name], names) for name, one in value.items())
    if hint is float:
        return type(value) in (int, float)
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return value in {one.value for one in hint}
    return type(value) is hint
