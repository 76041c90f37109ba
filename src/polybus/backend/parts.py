"""One call for some of the items that were asked for together: what fails in it fails these alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from polybus.errors import Fault, FaultKind

__all__ = ["part"]

T = TypeVar("T")

# What a system may mean by one item of a call: the others are asked for by themselves then.
_OF_ONE = frozenset({FaultKind.INVALID, FaultKind.TOO_LARGE})


async def part(
    call: Callable[[Sequence[T]], Coroutine[Any, Any, Sequence[Fault | None]]],
    items: Mapping[int, T],
    answers: list[Fault | None],
    fault: Callable[[Exception], Fault],
) -> None:
    """Make one call for some items, and put the answers at their places; what fails here fails these alone."""
    if not items:
        return
    try:
        found: Sequence[Fault | None] = await call(list(items.values()))
    except Exception as error:  # noqa: BLE001 - the other kinds have answers of their own
        told = fault(error)
        if told.kind in _OF_ONE and len(items) > 1:  # for one of them, perhaps
            for place, item in items.items():
                await part(call, {place: item}, answers, fault)
            return
        found = [told] * len(items)
    if len(found) != len(items):
        detail = f"the driver gave {len(found)} answers for {len(items)} items; a bug of this backend"
        found = [Fault(FaultKind.INVALID, detail)] * len(items)
    for place, answer in zip(items, found, strict=True):
        answers[place] = answer
