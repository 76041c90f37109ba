"""Where two values differ: of a long policy only the part that is another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polybus.plan.values import Json

__all__ = ["differing"]


def differing(path: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Give the innermost parts that differ, each by its dotted path, as the one and the other have it.

    What a list has beside the other is one part: lists here are sets, of statements and the like, but for their order.
    """
    one, other = _plain(one), _plain(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            if one.get(key) != other.get(key):
                yield from differing(f"{path}.{key}", one.get(key), other.get(key))
    elif isinstance(one, (list, tuple)) or isinstance(other, (list, tuple)):
        yield from _of_lists(path, _listed(one), _listed(other))
    else:
        yield path, one, other


def _of_lists(path: str, one: Sequence[Any], other: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    left = [(at, item) for at, item in enumerate(one) if item not in other]
    right = [item for item in other if item not in one]
    if len(left) == len(right) == 1:
        [(at, item)] = left
        yield from differing(f"{path}[{at}]", item, right[0])
    elif left or right:
        yield path, [item for _, item in left] or None, right or None
    else:  # the same in another order, or one of them more often
        yield path, list(one), list(other)


def _listed(value: Any) -> Sequence[Any]:
    """Take one item for a list of it, as policies do."""
    if isinstance(value, (list, tuple)):
        return value
    return () if value is None else (value,)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Json) else value
