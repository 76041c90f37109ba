"""What a changed contract breaks, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from polybus.topology.model import Compatibility

__all__ = ["NONE", "Break", "Gap", "Side", "sides_of"]


class Nothing(Enum):
    """The type of NONE."""

    NONE = "none"


NONE: Final = Nothing.NONE
"""Stands for no example, since None is one."""


class Side(Enum):
    """Whose reading a change may break; the value is what the declaration calls the guard against it."""

    NEW_READER = "backward"  # it reads what was published before the change
    OLD_READER = "forward"  # it reads what is published after the change

    @property
    def words(self) -> str:
        return "old messages at new readers" if self is Side.NEW_READER else "new messages at old readers"


@dataclass(frozen=True, slots=True)
class Gap:
    """One place where a reader doesn't take what a writer may send.

    `example` is a message, or the part of one at `place`, that the writer may send and the reader refuses; NONE where
    none is shown. `decided` of False says that the two couldn't be compared there, and may agree.
    """

    rule: str
    place: str
    detail: str
    example: Any = NONE
    decided: bool = True


@dataclass(frozen=True, slots=True)
class Break:
    """A gap of one side."""

    side: Side
    gap: Gap

    def __str__(self) -> str:
        return f"at {self.gap.place}: {self.gap.rule} ({self.side.words}): {self.gap.detail}"


def sides_of(compatibility: Compatibility) -> tuple[Side, ...]:
    """Return the sides that a declared compatibility guards."""
    if compatibility == "none":
        return ()
    return tuple(Side) if compatibility == "full" else (Side(compatibility),)
