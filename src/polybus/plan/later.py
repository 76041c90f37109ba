"""Settings that are known only while a plan is realised, such as the ARN of a function that the same program makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

__all__ = ["Later", "Text", "known", "once", "spelled"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Later:
    """A setting's value once it is known. `name` says which, `source` is the realiser's own: Pulumi's output.

    `check` raises ConfigError for a value that the cloud wouldn't take; `then` are what is made of it, one by one.
    """

    name: str = field(compare=False)
    source: Any
    then: tuple[Callable[[Any], Any], ...] = ()
    check: Callable[[Any], None] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"<{self.name}>"

    def made(self, found: Any) -> Any:
        """Make of the value what the plan makes of it; raises ConfigError where it isn't what the plan allows."""
        if self.check is not None:
            self.check(found)
        for function in self.then:
            found = function(found)
        return found


if TYPE_CHECKING:
    from pulumi import Input

    Text: TypeAlias = str | Later | Input[str]
else:
    Text: TypeAlias = object
"""A setting that names something: as text, or as an output of a Pulumi program."""


def once(value: Any, then: Callable[[str], T]) -> T | Later:
    """Make something of a setting: now where it is text, and else once it is known.

    What `then` raises is raised now or then. It has to be the same function for the same purpose, never a new one for
    each call: two values made the same way of one output are equal.
    """
    if isinstance(value, Later):
        return replace(value, then=(*value.then, then))
    return then(value)


def spelled(value: Any) -> str:
    """Write a setting as a part of a logical name: what isn't known yet by which setting it is."""
    return value.name.replace(".", "-") if isinstance(value, Later) else str(value)


def known(settings: Any, found: Mapping[str, Any] | None = None) -> Any:
    """Give settings without what isn't known yet, or with what some of it, by its name, turned out to be.

    What can't be without that is left out with it: a table's entry, or what has several parts.
    """
    given = _known(settings, found or {})
    return settings if given is _LEFT_OUT else given


_LEFT_OUT = object()


def _known(value: Any, found: Mapping[str, Any]) -> Any:
    if isinstance(value, Later):
        return found.get(value.name, _LEFT_OUT)
    if isinstance(value, Mapping):
        items = {key: _known(item, found) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not _LEFT_OUT}
    if isinstance(value, tuple):
        return tuple(item for item in (_known(item, found) for item in value) if item is not _LEFT_OUT)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    parts = {each.name: _known(getattr(value, each.name), found) for each in fields(value)}
    missing = [each for each in fields(value) if parts[each.name] is _LEFT_OUT]
    if any(each.default is MISSING and each.default_factory is MISSING for each in missing):
        return _LEFT_OUT
    return type(value)(**{name: part for name, part in parts.items() if part is not _LEFT_OUT})
