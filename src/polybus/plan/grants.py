"""Rights, each once: who may do what on which resource, whoever of the topology asks for it.

Clouds keep a right by these three. Two services that run as one identity would otherwise have two resources for one
right: Azure refuses the second, and on Google the end of either would take it from both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

__all__ = ["merged"]

Right = TypeVar("Right")


def merged(asked: Iterable[tuple[Right, str]]) -> dict[Right, str]:
    """Give each right once, in the order in which they were asked for, with all entries that ask for it as one text."""
    entries: dict[Right, dict[str, None]] = {}
    for right, entry in asked:
        entries.setdefault(right, {})[entry.removeprefix("$.")] = None
    return {right: f"$.{', '.join(names)}" for right, names in entries.items()}
