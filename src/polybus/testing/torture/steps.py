"""A clock whose wall time another process can step: eight bytes of a file are its offset."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from polybus.clock import SystemClock

__all__ = ["StepFile", "SteppingClock"]

_OFFSET = struct.Struct("<d")


class StepFile:
    """Holds the offset of one process's wall clock, in seconds."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_OFFSET.pack(0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _OFFSET.size)

    @property
    def offset(self) -> float:
        """By how many seconds the clocks that read it are ahead of the system's."""
        value: float = _OFFSET.unpack_from(self._map)[0]
        return value

    @offset.setter
    def offset(self, seconds: float) -> None:
        _OFFSET.pack_into(self._map, 0, seconds)


class SteppingClock(SystemClock):
    """The machine's clock, its wall time off by what a `StepFile` says; monotonic time is never touched."""

    def __init__(self, file: StepFile) -> None:
        self._file = file

    def time(self) -> float:
        return super().time() + self._file.offset
