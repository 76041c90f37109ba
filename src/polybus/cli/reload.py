"""`polybus run --reload`: a child process that is started again whenever a source file changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from polybus.cli.output import note
from polybus.signals import heeded

__all__ = ["snapshot", "supervise"]

_POLL = 0.5
"""Seconds between looks at the files. A look at a thousand of them takes about 10 ms (os.scandir, ext4), so this costs
2% of a core; a person who saves a file and turns to the terminal doesn't notice it."""

_WATCHED = (".py", ".toml")
_SKIPPED = ("node_modules", "__pycache__", "site-packages")


def supervise(arguments: Sequence[str] | None = None, *, folder: Path | None = None) -> int:
    """Run this command line again without --reload, anew after each change below the working directory.

    A child that has ended by itself, after a mistake in the code, is started again at the next change. Returns the
    child's exit code once a signal ends it all.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    given.remove("--reload")
    stopped = threading.Event()
    child = _Child(given)

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            child.signal()  # once more: it cancels its handlers, as it would without us
        stopped.set()

    for number in heeded(signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    seen = snapshot(folder or Path.cwd())
    child.start()
    while not stopped.wait(_POLL):
        now = snapshot(folder or Path.cwd())
        if now != seen:
            changed = sorted(path for path, stamp in {*now.items()} ^ {*seen.items()})
            note(f"polybus: {changed[0]} changed, starting again")
            seen = now
            child.stop()
            if not stopped.is_set():
                child.start()
    return child.stop()


class _Child:
    def __init__(self, arguments: Sequence[str]) -> None:
        self._command = (sys.executable, "-m", "polybus.cli.main", *arguments)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # In a session of its own, so that Ctrl-C reaches it once, through us, and not twice.
        self._process = subprocess.Popen(self._command, start_new_session=True)  # noqa: S603 - our own command line

    def signal(self) -> None:
        """Tell it to end: the first time it drains, the second it cancels its handlers."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Have it drain, and return its exit code: 128 and the signal's number where another one than ours ended it."""
        assert self._process is not None  # noqa: S101 - start comes first
        self.signal()
        code = self._process.wait()
        if code == -signal.SIGTERM:
            return 0  # it was told to end before it was there to drain
        return code if code >= 0 else 128 - code


def snapshot(folder: Path) -> dict[str, int]:
    """Return when each source file below a folder was last changed, in nanoseconds; hidden folders are left out."""
    return dict(_stamps(str(folder)))


def _stamps(folder: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # it went away while we looked; the next look sees that
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _stamps(entry.path)
        elif entry.name.endswith(_WATCHED):
            try:
                yield entry.path, entry.stat().st_mtime_ns
            except OSError:
                continue
