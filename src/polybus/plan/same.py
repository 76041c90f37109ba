"""When two values mean the same, though they are written differently: a plan's, and a cloud's answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from polybus.plan.values import Json
from polybus.topology.open import Open

__all__ = [
    "ANY",
    "Same",
    "at_least_on",
    "documents",
    "durations",
    "expiries",
    "flag",
    "flags",
    "loosely",
    "loosened",
    "numbers",
    "parsed",
    "seconds",
    "tags",
    "texts",
    "within",
]

Same: TypeAlias = Callable[[Any, Any], bool]


ANY = "*"
"""Planned for what only the stack's configuration says, such as the function behind a name: anything is the same."""


def texts(planned: Any, found: Any) -> bool:
    """Compare as they stand; nothing is the same as an empty text, and anything as what is left open."""
    return planned == ANY or isinstance(planned, Open) or str(planned or "") == str(found or "")


def flag(value: Any) -> bool:
    """Read a boolean as APIs write it; what isn't set is off."""
    return str(value).lower() == "true"


def flags(planned: Any, found: Any) -> bool:
    return flag(planned) == flag(found)


def at_least_on(planned: Any, found: Any) -> bool:
    """Take what is on where it was planned to be off, and not the other way round."""
    return bool(planned != "on" or found == "on")


def numbers(default: float) -> Same:
    """Compare numbers, or texts of such; what isn't set is the cloud's default."""

    def alike(planned: Any, found: Any) -> bool:
        return float(default if planned is None else planned) == float(default if found is None else found)

    return alike


def seconds(default: str) -> Same:
    """Compare durations such as "604800s"; what isn't set is the cloud's default."""

    def alike(planned: Any, found: Any) -> bool:
        return _seconds(planned or default) == _seconds(found or default)

    return alike


def durations(planned: Any, found: Any) -> bool:
    """Compare tables of durations."""
    return _all_seconds(planned) == _all_seconds(found)


def expiries(planned: Any, found: Any) -> bool:
    """Compare expiration policies: one without a time says never, none at all is the cloud's default."""
    if planned is None or found is None:
        return planned is found
    return bool((planned.get("ttl") or "") == (found.get("ttl") or ""))


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def _all_seconds(value: Any) -> dict[str, float]:
    return {name: _seconds(text) for name, text in (value or {}).items()}


def tags(planned: Any, found: Any) -> bool:
    """Look for the planned ones alone: the stack's configuration, and others, may add more."""
    there = found or {}
    return all(there.get(key) == value for key, value in (planned or {}).items())


def documents(planned: Any, found: Any) -> bool:
    """Compare JSON whose lists have no order; nothing is the same as an empty object."""
    return bool(_canonical(parsed(planned)) == _canonical(parsed(found)))


def loosely(planned: Any, found: Any) -> bool:
    """Compare documents in which one value is the same as a list of it, and "5" the same as 5."""
    return bool(_canonical(loosened(planned)) == _canonical(loosened(found)))


def within(planned: Any, found: Any) -> bool:
    """Look for what was planned of a document alone: the cloud fills in all the rest."""
    return _within(loosened(planned), loosened(found))


def loosened(value: Any) -> Any:
    """Read a document, or the JSON text of one, in the one form in which `loosely` compares; for showing it."""
    return _loose(parsed(value))


def parsed(value: Any) -> Any:
    """Read a document, or the JSON text of one; nothing for an empty one."""
    if isinstance(value, Json):
        return value.value or None
    return json.loads(value) or None if isinstance(value, str) and value else value or None


def _loose(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _loose(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_loose(item) for item in value]
        return items[0] if len(items) == 1 else items
    if value is None:
        return None
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return sorted((_canonical(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def _within(planned: Any, found: Any) -> bool:
    if isinstance(planned, Mapping) and isinstance(found, Mapping):
        return all(key in found and _within(item, found[key]) for key, item in planned.items())
    return bool(planned == found)
