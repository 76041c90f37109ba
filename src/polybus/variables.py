"""The environment variables that polybus reads, and names that are nearly one of them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BINDING", "DEBUG", "OTEL", "REQUIRED", "VARIABLES", "misspelt"]

BINDING = "POLYBUS_BINDING"
REQUIRED = "POLYBUS_REQUIRE_BINDING"
OTEL = "POLYBUS_OTEL"
DEBUG = "POLYBUS_DEBUG"

VARIABLES = (BINDING, REQUIRED, OTEL, DEBUG)
"""All that a service or the command line reads; docs/configuration.md says what each does."""

# Of names that share this much (difflib's ratio) one is a slip of the other: a letter or two too many, too few, or
# swapped. The nearest two of ours share 0.72.
_NEAR = 0.85


def misspelt(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables whose names are nearly one that polybus reads, each with the one that was meant.

    A name is no slip where the one that was meant is set as well.
    """
    # Slips fall anywhere in the name, but hardly ever leave nothing of its first and last letters in their place.
    candidates = [name for name in environ if _may_be_ours(name.upper()) and name not in VARIABLES]
    if not candidates:
        return {}
    import difflib

    near = {name: difflib.get_close_matches(name.upper(), VARIABLES, 1, _NEAR) for name in candidates}
    return {name: found[0] for name, found in near.items() if found and found[0] not in environ}


def _may_be_ours(name: str) -> bool:
    return (name[:1] == "P" and ("BUS" in name or "BINDING" in name)) or name.startswith("POLY")
