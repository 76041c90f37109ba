"""A local server beside a benchmark, in a process of its own, and the environment that points at it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["environment", "served"]


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables, and put everything back as it was at the end."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def served(cloud: str) -> Iterator[tuple[str, int]]:
    """Run a cloud's local server in memory, and yield its host and port."""
    command = [sys.executable, "-m", "polybus.localcloud.run", cloud]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            _, host, port = process.stdout.readline().split()
            yield host, int(port)
        finally:
            process.terminate()
