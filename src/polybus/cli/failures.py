"""What went wrong, as lines that a person can act on."""

from __future__ import annotations

from polybus.errors import PolybusError

__all__ = ["explain"]


def explain(error: BaseException) -> list[str]:
    """Return what to print for an error: what happened, where, and what to do next, without a traceback.

    An exception group gives the lines of all that is in it, each once. What polybus didn't expect is named by its
    type, with the way to the traceback.
    """
    if isinstance(error, BaseExceptionGroup):
        return list(dict.fromkeys(line for inner in error.exceptions for line in explain(inner)))
    if isinstance(error, PolybusError):
        return str(error).splitlines() or [type(error).__name__]
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return [f"{where}{error.strerror or error}"]
    return [f"unexpected {type(error).__name__}: {error}; `polybus --debug ...` shows where"]
