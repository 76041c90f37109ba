"""Noticing that a driver doesn't keep to its interface: one answer for each item, each of the kinds that there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polybus.driver import BatchLimits

__all__ = ["CONSUMER", "PUBLISHER", "wrong_answers", "wrong_part"]

# What is called of each.
PUBLISHER = ("prepare", "publish_batch", "aclose")
CONSUMER = ("receive_batch", "settle_batch", "extend_batch", "stop", "aclose")


def wrong_answers(answers: object, count: int, kinds: Any) -> str | None:
    """Say what is wrong with a driver's answers for `count` items; None where nothing is."""
    if not isinstance(answers, Sequence):
        return repr(answers)
    if len(answers) != count:
        return f"{len(answers)} answers"
    odd: list[object] = [each for each in answers if not isinstance(each, kinds)]
    return f"a {type(odd[0]).__qualname__} among its answers" if odd else None


def wrong_part(part: object, calls: Sequence[str]) -> str | None:
    """Say what is wrong with what a driver gave for a publisher or a consumer; None where nothing is.

    It is asked as it is opened: later it would be met in the middle of what can't be told to anyone, a settlement, or a
    batch that takes nothing of what waits, again and again.
    """
    try:
        missing = next((name for name in calls if not callable(getattr(part, name, None))), None)
        limits: object = None if missing else part.limits  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - a property may raise anything
        return f"a {type(part).__qualname__} whose parts raise {type(error).__qualname__}"
    if missing is not None:
        return f"a {type(part).__qualname__} without {missing}()"
    if not isinstance(limits, BatchLimits) or limits.count < 1:
        return f"a {type(part).__qualname__} with the limits {limits!r}"
    return None
