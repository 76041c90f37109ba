"""The capability table: what the suite measured of each backend.

`pytest tests/conformance --polybus-matrix docs/matrix.json` runs the suite and writes what it measured of the backends
that ran; `polybus matrix` puts `markdown` of that file into the README.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from polybus.feature import Feature
from polybus.testing.clauses import CLAUSES

__all__ = ["NOTES", "Backend", "Results", "load", "markdown", "merge", "note", "note_features", "replace", "save"]

NOTES: Final[dict[str, dict[str, str]]] = {}
"""Of each backend that ran in this process: what its tests noted."""

ORDER: Final = ("memory", "sqlite", "aws", "azure", "gcp")
TITLES: Final = {"memory": "memory", "sqlite": "SQLite", "aws": "AWS", "azure": "Azure", "gcp": "Google"}

_BLOCK = re.compile(r"(<!-- matrix -->\n).*?(<!-- /matrix -->)", re.DOTALL)


FEATURES: Final = (
    # a row's title, the feature and on what, and what to say where it is there and where it isn't
    ("ordering keys", Feature.ORDERING, "serial", "yes", "no"),
    ("delay of a nack", Feature.NACK_DELAY, "jobs", "kept by the backend", "held by the consumer"),
    ("delay of an ordered nack", Feature.NONE, "serial", "held by the consumer", ""),
    ("after an ack", Feature.EXACTLY_ONCE, "jobs", "never again", "may repeat"),
    ("dead letters: looking", Feature.PEEK, "jobs", "without receiving", "leased meanwhile"),
    ("stats: how many wait", Feature.COUNTS, "jobs", "yes", "no"),
    ("stats: age of the oldest", Feature.AGE, "jobs", "yes", "no"),
)


def note(backend: str, row: str, value: str) -> None:
    """Note what was measured of a backend."""
    NOTES.setdefault(backend, {})[row] = value


def note_features(backend: str, features: Callable[[str], Feature], max_message: int) -> None:
    """Note what a backend's driver says of the suite's entities; the suite holds it to what it says."""
    for row, feature, name, there, missing in FEATURES:
        note(backend, row, there if feature in features(name) else missing)
    note(backend, "largest message", _size(max_message))


def _size(count: int) -> str:
    for unit, size in (("MiB", 1024 * 1024), ("KiB", 1024), ("MB", 1_000_000)):
        if count % size == 0:
            return f"{count // size} {unit}"
    return f"{count:,} bytes"


class Backend(msgspec.Struct, frozen=True):
    """What was measured of one backend: of each clause how many tests passed and failed, and what tests noted."""

    passed: Mapping[str, int] = {}
    failed: Mapping[str, int] = {}
    notes: Mapping[str, str] = {}


class Results(msgspec.Struct, frozen=True):
    """What was measured, by backend."""

    backends: Mapping[str, Backend] = {}


def load(path: Path) -> Results:
    """Read results; there are none where the file isn't there."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def save(results: Results, path: Path) -> None:
    """Write results so that the same ones always give the same file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results, order="sorted"), indent=2) + b"\n")


def merge(old: Results, new: Results) -> Results:
    """Return `old` with the backends of `new` instead of its own: those that ran were measured anew."""
    return Results({**old.backends, **new.backends})


def markdown(results: Results) -> str:
    """Return the table: a column for each backend that was measured, a row for each thing that was noted."""
    known = [name for name in ORDER if name in results.backends]
    names = known + sorted(set(results.backends) - set(known))
    backends = [results.backends[name] for name in names]
    rows = [["", *(TITLES.get(name, name) for name in names)], ["---"] * (len(names) + 1)]
    rows.append(["contract: clauses kept", *(_kept(backend) for backend in backends)])
    features = dict.fromkeys(feature for backend in backends for feature in backend.notes)
    rows += [[feature, *(backend.notes.get(feature, "not measured") for backend in backends)] for feature in features]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def replace(text: str, results: Results) -> str:
    """Return a document with the table between its markers `<!-- matrix -->` and `<!-- /matrix -->` brought up to date.

    Raises ValueError where it has no such markers.
    """
    if _BLOCK.search(text) is None:
        raise ValueError("there are no lines <!-- matrix --> and <!-- /matrix --> to put the table between")
    return _BLOCK.sub(lambda found: found.group(1) + markdown(results) + found.group(2), text)


def _kept(backend: Backend) -> str:
    kept = sum(backend.passed.get(clause, 0) > 0 and not backend.failed.get(clause) for clause in CLAUSES)
    return f"{kept} of {len(CLAUSES)}"
