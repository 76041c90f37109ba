"""Wildcards of policies: `*` stands for any text, `?` for one character."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["wildcard"]


# Policies of one server name some hundreds of patterns; 4,096 keeps a conformance run's all without growing for ever.
@lru_cache(maxsize=4096)
def wildcard(pattern: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile a pattern, to be matched against the whole of a text."""
    escaped = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile(escaped, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
