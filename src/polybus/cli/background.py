"""Starting a process of our own that outlives the command."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from polybus.cli.local_slot import LOOK
from polybus.errors import ConfigError

__all__ = ["started"]

T = TypeVar("T")


def started(command: Sequence[str], ready: Callable[[], T | None], patience: float) -> T:
    """Run a module with arguments in a process of its own until `ready` gives something, and return that.

    Raises ConfigError with what the process said where it ends before, or isn't ready after `patience` seconds.
    """
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        deadline = time.monotonic() + patience
        while True:
            found = ready()
            if found is not None:
                child.returncode = 0  # it is to outlive us: without this, Popen warns that nobody waited for it
                return found
            if child.poll() is not None or time.monotonic() > deadline:
                child.terminate()
                child.wait()
                said.seek(0)
                lines = said.read().decode(errors="replace").splitlines()
                why = "\n".join(line.removeprefix("polybus: ") for line in lines)
                raise ConfigError(why or f"it wasn't ready within {patience:.0f} s")
            time.sleep(LOOK)
