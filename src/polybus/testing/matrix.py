"""The capability table: what the suite measured of each backend. Each row is what a test saw, not what a driver says.

`pytest tests/conformance --polybus-matrix docs/matrix.json` runs the suite and writes what it measured of the backends
that ran; `polybus matrix` puts `markdown` of that file into the README.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from polybus.registry import BUILT_IN, find
from polybus.testing.clauses import CLAUSES

__all__ = ["NOTES", "ROWS", "Backend", "Results", "load", "markdown", "merge", "note", "note_size", "replace", "save"]

NOTES: Final[dict[str, dict[str, str]]] = {}
"""Of each backend that ran in this process: what its tests noted."""

_BLOCK = re.compile(r"(<!-- matrix -->\n).*?(<!-- /matrix -->)", re.DOTALL)


ROWS: Final = (
    "ordering keys",
    "delay on topics",
    "delay on ordered topics",
    "delay on queues",
    "delay on ordered queues",
    "delay of a nack",
    "delay of an ordered nack",
    "giving back unhandled, queue",
    "giving back unhandled, ordered queue",
    "a receipt whose lease is over, queue",
    "a receipt whose lease is over, ordered queue",
    "a publish whose answer was lost, topic",
    "a publish whose answer was lost, queue",
    "a publish whose answer was lost, ordered queue",
    "after an ack",
    "looking at what waits",
    "looking at dead letters",
    "stats: how many wait",
    "stats: age of the oldest",
    "purge: how many went",
    "largest message",
)
"""The rows of the table in their order, as tests name them; each is noted by a test that has just seen it."""


def note(backend: str, row: str, value: str) -> None:
    """Note what was measured of a backend."""
    NOTES.setdefault(backend, {})[row] = value


def note_size(backend: str, max_message: int) -> None:
    """Note the largest message that a test got through, and no larger one."""
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
    known = [name for name in BUILT_IN if name in results.backends]
    names = known + sorted(set(results.backends) - set(known))
    backends = [results.backends[name] for name in names]
    rows = [["", *(find(name).title if name in known else name for name in names)], ["---"] * (len(names) + 1)]
    rows.append(["contract: clauses kept", *(_kept(backend) for backend in backends)])
    noted = {row for backend in backends for row in backend.notes}
    ordered = [row for row in ROWS if row in noted] + sorted(noted - set(ROWS))
    rows += [[row, *(backend.notes.get(row, "not measured") for backend in backends)] for row in ordered]
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
