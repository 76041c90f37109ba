"""What outlives the suite: processes that tests started, and what they left in the folder for temporary files."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_MARK = "POLYBUS_TEST_RUN"
# Seconds: an interpreter with a cloud's SDK takes one or two to end on a busy machine.
PATIENCE = 10.0


class Leftovers:
    """Marks a run by an environment variable and a folder for temporary files, which all that it starts inherits."""

    def __init__(self) -> None:
        self._before = (os.environ.get("TMPDIR"), tempfile.tempdir)
        self._folder = Path(tempfile.mkdtemp(prefix="polybus-suite-"))
        os.environ[_MARK] = str(self._folder)
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._folder)

    def found(self) -> list[str]:
        """Return a line for each process that still runs, and each file or folder that isn't pytest's own.

        What was told to end may take a moment for it.
        """
        until = time.monotonic() + PATIENCE
        while (processes := list(self._processes())) and time.monotonic() < until:
            time.sleep(0.1)
        return [*processes, *self._files()]

    def _processes(self) -> Iterator[str]:
        mark = f"{_MARK}={self._folder}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes().split(b"\0")
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:  # it ended just now, or isn't ours
                continue
            # A process that ended and waits for its parent has no words; pytest-xdist's workers end with the run.
            if mark in environment and int(process.name) != os.getpid() and words and "execnet" not in words:
                yield f"process {process.name}: {words[:200]}"

    def _files(self) -> Iterator[str]:
        for path in sorted(self._folder.iterdir()):
            if not path.name.startswith("pytest-of-"):
                yield f"left in the folder for temporary files: {path.name}"

    def clear(self, *, keep: bool) -> None:
        """Remove the folder, unless it is to be looked at."""
        os.environ.pop(_MARK, None)
        if self._before[0] is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = self._before[0]
        tempfile.tempdir = self._before[1]
        if not keep:
            shutil.rmtree(self._folder, ignore_errors=True)
