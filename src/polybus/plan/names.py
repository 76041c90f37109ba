"""Physical names: readable, deterministic, within a cloud's length, the same whatever else is declared.

A name depends on the bus, the stack and the entry alone. One that is too long is cut and carries a hash of the whole,
so that two long names that differ at the end stay two.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from polybus.topology.file import DEAD_LETTER_SUFFIX

__all__ = ["DEAD_LETTER_SUFFIX", "FIFO_SUFFIX", "Names", "physical_name", "short_hash", "subscription_tag"]

FIFO_SUFFIX = ".fifo"

_HASH = 8  # hexadecimal digits: 32 bits tell the few cut names of one bus apart


def short_hash(text: str, digits: int = _HASH) -> str:
    """Hash a text to a few hexadecimal digits, the same everywhere and for ever."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def subscription_tag(bus: str, subscription: str) -> str:
    """Give the value of `polybus_to` by which a redriven message reaches this subscription alone (docs/wire.md)."""
    return short_hash(f"{bus}/{subscription}")


def physical_name(*parts: str, longest: int, suffix: str = "") -> str:
    """Join parts with `-` and append a suffix, in at most `longest` characters; empty parts are left out."""
    whole = "-".join(part for part in parts if part)
    if len(whole) + len(suffix) <= longest:
        return whole + suffix
    kept = whole[: longest - len(suffix) - _HASH - 1].rstrip("-_.")
    return f"{kept}-{short_hash(whole)}{suffix}"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one bus in one stack, each within `longest` characters."""

    bus: str
    stack: str
    longest: int

    def of(self, entry: str, *, suffix: str = "") -> str:
        """Name what holds an entry's messages."""
        return physical_name(self.bus, self.stack, entry, longest=self.longest, suffix=suffix)

    def dead_letters(self, entry: str, *, suffix: str = "") -> str:
        """Name what holds an entry's dead letters."""
        return self.of(entry, suffix=DEAD_LETTER_SUFFIX + suffix)
