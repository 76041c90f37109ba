"""The shape of every cloud's limits, each with its source, and the portable rules for attribute names and keys.

Each cloud's own are its `limits`; [k] is widely documented, and wasn't read again for the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = [
    "DAY",
    "DEAD_LETTER_RESERVE_BYTES",
    "KIB",
    "MAX_NACK_DELAY",
    "MIB",
    "NET_ATTEMPTS",
    "WIDELY_KNOWN",
    "CloudLimits",
    "Count",
    "NameRule",
    "Range",
    "attribute_name_problem",
    "ordering_key_problem",
]

KIB: Final = 1024
MIB: Final = 1024 * KIB
DAY: Final = 86_400.0

DEAD_LETTER_RESERVE_BYTES: Final = 2 * KIB
"""Room that every message keeps free, so that its dead letter still fits with the reason (contract, P4)."""

NET_ATTEMPTS: Final = 20
"""What the cloud's own delivery limit allows above `max_attempts`, for consumers that crash (contract, D6)."""

MAX_NACK_DELAY: Final = 600.0
"""The longest delay of a nack, in seconds (contract, D4)."""

WIDELY_KNOWN: Final = "k"
"""The source of what is widely documented, and wasn't read again for the table."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a cloud allows, both ends included: seconds, bytes or a count, as the field that holds it says."""

    least: float
    most: float
    source: str

    def __contains__(self, value: float) -> bool:
        return self.least <= value <= self.most

    def clamp(self, value: float) -> float:
        """Give the nearest value that is allowed."""
        return min(max(value, self.least), self.most)


@dataclass(frozen=True, slots=True)
class Count:
    """The most that a cloud allows."""

    most: int
    source: str


@dataclass(frozen=True, slots=True)
class NameRule:
    """What a cloud accepts as a physical name; `allowed` says it in words."""

    length: Range
    pattern: str
    allowed: str
    source: str

    def accepts(self, name: str) -> bool:
        """Say whether the cloud takes a name."""
        return len(name) in self.length and re.fullmatch(self.pattern, name) is not None


@dataclass(frozen=True, slots=True)
class CloudLimits:
    """What every cloud limits. Durations are seconds, sizes bytes.

    `attempts` is the cloud's own delivery limit. `delay` of None means that the cloud has no delayed messages.
    `message_bytes` is the smallest and the largest maximum that an entity can have; `default_message_bytes` what it
    gets when nothing is declared. `attribute_count` counts the reserved attribute too.
    """

    cloud: str
    topic_name: NameRule
    subscription_name: NameRule
    queue_name: NameRule
    lease: Range
    retention: Range
    dead_letter_retention: Range | None
    attempts: Range
    delay: Range | None
    message_bytes: Range
    default_message_bytes: int
    attribute_count: Count | None
    attribute_name_bytes: Count | None
    attribute_value_bytes: Count | None
    ordering_key_bytes: Count


_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_RESERVED = ("aws", "amazon", "goog", "polybus")
_KEY = re.compile(r"[!-~]{1,128}")


@lru_cache(maxsize=4096)
def attribute_name_problem(name: object) -> str | None:
    """Say what is wrong with the name of an attribute, or None when every cloud carries it."""
    if not isinstance(name, str):
        return f"attribute name {name!r} is {type(name).__name__}, not str"
    if not _ATTRIBUTE.fullmatch(name):
        return f"attribute name {name!r}: allowed are 1 to 128 of A-Z a-z 0-9 _ . -, a letter or _ first"
    if ".." in name or name.endswith("."):
        return f"attribute name {name!r}: allowed is no .. in it and no . at its end"
    lower = name.lower()
    for word in _RESERVED:
        if lower.startswith(word):
            return f"attribute name {name!r}: names beginning with {word!r}, in any case, are reserved"
    return None


def ordering_key_problem(key: object) -> str | None:
    """Say what is wrong with an ordering key, or None when every cloud carries it.

    Not cached: keys are many, and one match costs less than a lookup that mostly misses.
    """
    if not isinstance(key, str):
        return f"ordering key {key!r} is {type(key).__name__}, not str"
    if _KEY.fullmatch(key):
        return None
    shown = key if len(key) <= 40 else f"{key[:40]}..."
    return f"ordering key {shown!r}: allowed are 1 to 128 printable ASCII characters without spaces"
