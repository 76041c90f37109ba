"""Noticing that a driver doesn't keep to its interface: one answer for each item, each of the kinds that there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["odd_answers"]


def odd_answers(answers: object, count: int, kinds: Any) -> str | None:
    """Say what is wrong with a driver's answers for `count` items; None where nothing is."""
    if not isinstance(answers, Sequence):
        return repr(answers)
    if len(answers) != count:
        return f"{len(answers)} answers"
    odd: list[object] = [each for each in answers if not isinstance(each, kinds)]
    return f"a {type(odd[0]).__qualname__} among its answers" if odd else None
