"""The clouds' limits as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from polybus.registry import built_in
from polybus.topology.limits import DAY, CloudLimits, Count, NameRule, Range
from polybus.topology.quantities import format_duration, format_size

__all__ = ["CLOUDS", "LIMITS", "shown", "source"]

CLOUDS: Final = tuple(cloud.name for cloud in built_in("planning"))
LIMITS: Final[Mapping[str, CloudLimits]] = {
    name: getattr(import_module(f"polybus.clouds.{name}.limits"), name.upper()) for name in CLOUDS
}

# Of the fields that are ranges and no sizes, those that are lengths of time; all others count.
_TIMES = frozenset(
    [
        "lease",
        "retention",
        "dead_letter_retention",
        "delay",
        "topic_retention",
        "extension",
        "long_poll",
        "duplicate_window",
    ]
)
_FOREVER = 100 * 365 * DAY
"""Longer than this is a limit for the sake of the cloud's own types."""

_NONE = {
    "delay": "no delays",
    "dead_letter_retention": "until purged",
}
"""What None means of a field."""


def shown(field: str, value: object) -> str:
    """Return a limit in words, with its unit by its field's name."""
    match value:
        case None:
            return _NONE.get(field, "no limit of its own")
        case NameRule():
            return value.allowed
        case Count():
            return _one(field, value.most)
        case Range() if value.least == value.most:
            return _one(field, value.most)
        case Range():
            most = "any" if field in _TIMES and value.most > _FOREVER else _one(field, value.most)
            return f"{_one(field, value.least)} to {most}"
        case tuple():
            return ", ".join(_one(field, each) for each in value)
        case int() | float():
            return _one(field, value)
        case _:
            raise TypeError(f"{field}: {value!r} has no words yet: say in {__name__} how it is shown")


def source(value: object) -> str:
    """Return the code of the document that a limit comes from; "" where it is derived."""
    return str(getattr(value, "source", ""))


def _one(field: str, value: float) -> str:
    if field in _TIMES:
        return format_duration(value)
    return format_size(round(value)) if "bytes" in field else f"{value:,.0f}"
