"""Physical names: readable, deterministic, within a cloud's length, the same whatever else is declared.

A name depends on the bus, the stack and the entry alone, and on the region where a service keeps one set of names for
all regions. Parts are joined with `-`. Where one of them has a `-` of its own, the same text could come from other
parts: there a hash of the parts follows. So it does where a name is cut to a cloud's length. No two buses, stacks and
entries have one name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from polybus.topology.file import DEAD_LETTER_SUFFIX

__all__ = [
    "DEAD_LETTER_SUFFIX",
    "FIFO_SUFFIX",
    "Names",
    "host_name",
    "physical_name",
    "short_hash",
    "stack_in",
    "subscription_tag",
]

FIFO_SUFFIX = ".fifo"

_HASH = 8  # hexadecimal digits: 32 bits tell apart names that are otherwise equal
_HASHED = re.compile(rf"-[0-9a-f]{{{_HASH}}}\Z")


def short_hash(text: str, digits: int = _HASH) -> str:
    """Hash a text to a few hexadecimal digits, the same everywhere and for ever."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def subscription_tag(bus: str, subscription: str) -> str:
    """Give the value of `polybus_to` by which a redriven message reaches this subscription alone (docs/wire.md)."""
    return short_hash(f"{bus}/{subscription}")


def physical_name(*parts: str, longest: int, suffix: str = "", caseless: bool = False) -> str:
    """Join parts with `-` and append a suffix, in at most `longest` characters; empty parts are left out.

    `caseless` tells apart what differs in case alone, for services that don't.
    """
    whole = "-".join(part for part in parts if part)
    if len(whole) + len(suffix) <= longest and _plain(parts, whole, caseless):
        return whole + suffix
    kept = whole[: longest - len(suffix) - _HASH - 1].rstrip("-_.")
    return f"{kept}-{short_hash('/'.join(parts))}{suffix}"


def host_name(*parts: str, longest: int) -> str:
    """Join parts as `physical_name` does, of lower-case letters, digits and `-` alone; other characters cost the hash.

    It is for services whose names are parts of host names.
    """
    whole = "-".join(part for part in parts if part)
    plain = re.sub(r"[^a-z0-9-]", "-", whole.lower())
    if plain == whole:
        return physical_name(*parts, longest=longest, caseless=True)
    return f"{plain[: longest - _HASH - 1].rstrip('-')}-{short_hash('/'.join(parts))}"


def _plain(parts: tuple[str, ...], whole: str, caseless: bool) -> bool:
    """Tell whether a whole name says by itself of which parts it is; one that ends as with a hash doesn't."""
    several = len(parts) > 1 and any("-" in part for part in parts)
    return not several and _HASHED.search(whole) is None and not (caseless and whole != whole.lower())


def stack_in(name: str, bus: str, entry: str) -> str | None:
    """Find the stack that a bus's entry has this physical name in; None where it is cut, or no such name."""
    for whole in (name, _HASHED.sub("", name)):
        middle = whole.removeprefix(f"{bus}-").removesuffix(f"-{entry}")
        stack = "" if whole == f"{bus}-{entry}" else middle
        if physical_name(bus, stack, entry, longest=len(name)) == name:
            return stack
    return None


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one bus in one stack, each within `longest` characters."""

    bus: str
    stack: str
    longest: int

    def of(self, entry: str, *, suffix: str = "") -> str:
        """Name what holds an entry's messages; with a suffix, something else of the entry's."""
        return physical_name(self.bus, self.stack, entry, longest=self.longest, suffix=suffix)

    def dead_letters(self, entry: str, *, suffix: str = "") -> str:
        """Name what holds an entry's dead letters."""
        return self.of(entry, suffix=DEAD_LETTER_SUFFIX + suffix)
