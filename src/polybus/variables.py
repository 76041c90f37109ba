"""The environment variables that polybus reads, and names that are nearly one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["BINDING", "DEBUG", "EXPLAINED", "OTEL", "REQUIRED", "SEED", "VARIABLES", "Variable", "misspelt"]

BINDING = "POLYBUS_BINDING"
REQUIRED = "POLYBUS_REQUIRE_BINDING"
OTEL = "POLYBUS_OTEL"
DEBUG = "POLYBUS_DEBUG"
SEED = "POLYBUS_CONFORMANCE_SEED"

VARIABLES = (BINDING, REQUIRED, OTEL, DEBUG)
"""All that a service or the command line reads."""


class Variable(NamedTuple):
    """What a variable may be set to, and what it does, in words."""

    values: str
    meaning: str


EXPLAINED: Mapping[str, Variable] = {
    BINDING: Variable(
        "a path, JSON, where a stack keeps it, or `embedded`", "chooses the binding: where the topology was realised"
    ),
    REQUIRED: Variable(
        "`1`, `true`",
        "refuses the embedded backend unless it is asked for; `polybus run --require-binding` sets it",
    ),
    OTEL: Variable("`1`, `true`", "tells OpenTelemetry what each bus does; `polybus run --otel` sets it"),
    DEBUG: Variable("`1`", "is `polybus --debug` for each command: tracebacks and the whole log"),
    "POLYBUS_CONTROL_URL": Variable("an address", "is told by `polybus local up --control`: where the control face is"),
    "POLYBUS_CONTROL_TOKEN": Variable("a token", "is told with it: what requests to the control face carry"),
    SEED: Variable("a number", "the order of the conformance suite's tests; the pytest plugin hands it to its workers"),
}
"""Every variable whose name begins with POLYBUS_, for the reference."""

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
