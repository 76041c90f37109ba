"""What the stack's configuration doesn't say: filled in where it is given, else `${NAME}` in the text, and listed.

A list may have an item that is a blank alone: a value with commas is several items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.plan.run.model import BLANK
from polybus.plan.values import Join, Ref, unmarked

__all__ = ["Filler"]


class Filler:
    """Fills blanks; `open` lists those that nobody filled, `used` those that were."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._open: dict[str, None] = {}
        self.used: set[str] = set()

    @property
    def open(self) -> tuple[str, ...]:
        return tuple(self._open)

    def filled(self, value: Any) -> Any:
        """Return a document with its blanks filled, at any depth, in keys too."""
        if isinstance(value, Mapping):
            return {self._text(str(key)): self.filled(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [one for item in value for one in self._several(item)]
        return self._text(value) if isinstance(value, str) else value

    def _several(self, item: Any) -> list[Any]:
        alone = isinstance(unmarked(item), Ref)
        found = self.filled(item)
        return found.split(",") if alone else [found]

    def _text(self, text: str) -> str:
        found = unmarked(text)
        if isinstance(found, Join):
            return "".join(part if isinstance(part, str) else self._one(part) for part in found.parts)
        return self._one(found) if isinstance(found, Ref) else found

    def _one(self, ref: Ref) -> str:
        if ref.resource != BLANK:
            raise TypeError(f"{ref} isn't known, and no blank")
        if ref.output in self._given:
            self.used.add(ref.output)
            return self._given[ref.output]
        self._open[ref.output] = None
        return f"${{{ref.output}}}"
