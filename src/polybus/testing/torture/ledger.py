"""The ledger: one file to which every process appends what it did, and of which polybus knows nothing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Entry", "Ledger", "read"]


class Entry(NamedTuple):
    """One line: when (seconds of the machine's monotonic clock, one for all processes), who, what, and of what."""

    at: float
    who: str
    what: str
    of: tuple[Any, ...]


class Ledger:
    """Appends lines; each is one `write` to a file opened with O_APPEND, so that lines of processes never mix.

    A line that returned is kept whatever becomes of the process: the kernel has it.
    """

    def __init__(self, path: Path, who: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._who = who

    def note(self, what: str, *of: Any) -> None:
        """Append one line."""
        line = json.dumps([time.monotonic(), self._who, what, *of], separators=(",", ":"))
        os.write(self._file, f"{line}\n".encode())

    def close(self) -> None:
        """Free the file."""
        os.close(self._file)


def read(path: Path, offset: int = 0) -> Iterator[tuple[Entry, int]]:
    """Yield the whole lines from `offset` on, each with the offset after it."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            at, who, what, *of = json.loads(line)
            yield Entry(at, who, what, tuple(of)), offset
