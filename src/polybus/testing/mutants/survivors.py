"""The mutants that the suite doesn't catch, and why: what it can't see, said where it can be read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["SURVIVORS"]

SURVIVORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "P1 (sqlite) commits don't wait for the disk": (
            "no process sees whether the disk has what the kernel has: it takes a power cut, or a look at SQLite's own "
            "setting, which is a test of that backend alone"
        ),
        "P5 too few outcomes are taken as they are": (
            "the task that sends stumbles over them then, and what it leaves without an outcome gets a fault all the "
            "same: nobody outside can tell the two apart"
        ),
    }
)
"""By `str(mutant)`."""
