"""What every server owes whoever sends it anything: nothing is left open, and nothing of its own fails."""

from __future__ import annotations

import contextlib
import gc
import http.client
import logging
import os
import time
from collections.abc import Iterator

__all__ = ["Kept", "sound"]

# Real seconds for a server to see that a client has hung up.
BOUND = 20.0


class Kept:
    """A connection that is used again until the server says that it closes it; one that just breaks is a failure."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return the status and the body that a request is answered with."""
        self._connection.request(method, path, body, headers)
        with self._connection.getresponse() as response:
            return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # What azure-servicebus leaves to the garbage collector where tests use it: no face has client sessions.
        if not record.getMessage().startswith("Unclosed client session"):
            self.found.append(self.format(record))


@contextlib.contextmanager
def sound(left: int = 0) -> Iterator[None]:
    """Fail where the block logs an error, or leaves more descriptors open than it found, but for `left`."""
    gc.collect()  # what earlier tests left behind says what it has to say now, and not in the block
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
    assert errors.found == [], errors.found


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))
