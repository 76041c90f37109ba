"""Durations and sizes, as people write them."""

from __future__ import annotations

import re
from functools import lru_cache

from polybus.durations import parse_duration

__all__ = ["SIZE_PATTERN", "format_duration", "format_size", "parse_duration", "parse_size"]

_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
SIZE_PATTERN = r"(\d+) ?(B|kB|KB|MB|KiB|MiB)"
_SIZE = re.compile(SIZE_PATTERN)
_SIZES = {"B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "KiB": 1_024, "MiB": 1_048_576}


@lru_cache(maxsize=1_024)
def format_duration(seconds: float) -> str:
    """Write seconds as `parse_duration` reads them, in the largest units that fit: 5400 is "1h30m"."""
    left = round(seconds * 1000)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, round(size * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int | None:
    """Read "256KiB", "1MB" or "900B" as bytes; None when it is none of these."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) * _SIZES[found[2]] if found else None


def format_size(size: int) -> str:
    """Write bytes as `parse_size` reads them, in the largest unit that leaves a whole number."""
    for unit in ("MiB", "MB", "KiB", "KB"):
        if size >= _SIZES[unit] and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return f"{size}B"
