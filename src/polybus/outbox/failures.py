"""What is told of a database's errors."""

from __future__ import annotations

__all__ = ["in_words"]


def in_words(error: BaseException) -> str:
    """Return an error's type and first line, without the statement and its values, which are the caller's own data."""
    origin: BaseException = getattr(error, "orig", None) or error
    lines = str(origin).splitlines()
    return f"{type(origin).__name__}: {lines[0]}" if lines else type(origin).__name__
