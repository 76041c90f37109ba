"""What every server owes whoever sends it anything: nothing is left open, and nothing of its own fails."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator

__all__ = ["sound"]

# Real seconds for a server to see that a client has hung up.
BOUND = 20.0


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@contextlib.contextmanager
def sound(left: int = 0) -> Iterator[None]:
    """Fail where the block logs an error, or leaves more descriptors open than it found, but for `left`."""
    errors, before = _Errors(), _descriptors()
    logging.getLogger().addHandler(errors)
    try:
        yield
        end = time.monotonic() + BOUND
        while _descriptors() > before + left and time.monotonic() < end:
            time.sleep(0.01)
        assert _descriptors() <= before + left, "connections are left open"
    finally:
        logging.getLogger().removeHandler(errors)
    assert errors.found == []


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))
