"""When a server has what it was asked for: the same in other words is no difference, as for the real providers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

__all__ = ["as_given"]

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def as_given(given: Any, found: Any) -> Any:
    """Return what was given where the server has the same, and otherwise what it has.

    Of tables only what was given is looked at: the rest is the server's defaults.
    """
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return {key: as_given(value, found.get(key)) for key, value in given.items()}
    if isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        return [as_given(*both) for both in zip(given, found, strict=True)]
    same = _meaning(given) == _meaning(found) or not (given or found)
    return given if same else _plain(found)


def _meaning(value: Any) -> Any:
    """Reduce a value to what it says: a policy to its content, a duration to its length, a path to its last name."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return value
    with suppress(ValueError):
        return json.loads(value)
    duration = _DURATION.fullmatch(value)
    if duration and any(duration.groups()):
        days, hours, minutes, seconds = (float(part or 0) for part in duration.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    return value.rpartition("/")[2] if value.startswith("projects/") else value


def _plain(found: Any) -> Any:
    """Write a value as a state can have it."""
    if not isinstance(found, timedelta):
        return found
    seconds = f"{found // timedelta(seconds=1)}.{found.microseconds:06}"
    return f"PT{seconds.rstrip('0').rstrip('.')}S"
