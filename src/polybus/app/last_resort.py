"""The end of a process whose drain doesn't come to one."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from contextlib import suppress

from polybus.app.watchdog import innermost

__all__ = ["LastResort"]

_log = logging.getLogger("polybus.app")

# Seconds for the last words: whoever hangs may hold the lock of the log.
_LAST_WORDS = 1.0


class LastResort:
    """Ends this process when a drain is over its time: for whoever owns the process, which a library doesn't.

    A loop that a handler blocks never drains; a thread that isn't a daemon, or belongs to asyncio's own executor, is
    joined at the interpreter's exit. `code` is what the process exits with then, 1 until something else is set.
    """

    def __init__(self) -> None:
        self.code = 1
        self._due: float | None = None

    def begin(self, seconds: float) -> None:
        """End the process `seconds` from now, or when it was to be ended before, if that is sooner.

        May be called from a signal's handler.
        """
        due = time.monotonic() + seconds
        if self._due is None:
            self._due = due
            # Both now: while the interpreter waits at its exit for a thread, Python 3.12 starts no other.
            over = threading.Event()
            words = threading.Thread(target=self._tell, args=(over,), name="polybus last words", daemon=True)
            words.start()
            threading.Thread(target=self._watch, args=(over, words), name="polybus last resort", daemon=True).start()
        else:
            self._due = min(self._due, due)  # seen within a second

    def at_exit(self) -> None:
        """End the process at the interpreter's exit without waiting for handlers' threads that still run.

        A daemon thread that writes while the interpreter is finalized can abort it; what was registered with `atexit`
        since this call has run by then.
        """
        atexit.register(self._leave)

    def _leave(self) -> None:
        if any(thread.name.startswith("polybus ") for thread in _others()):
            _flush()
            os._exit(self.code)

    def _watch(self, over: threading.Event, words: threading.Thread) -> None:
        while self._due is not None and (left := self._due - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
        over.set()
        words.join(_LAST_WORDS)
        os._exit(self.code)

    def _tell(self, over: threading.Event) -> None:
        over.wait()
        frames = sys._current_frames()
        for thread in _others():
            where = innermost(frames.get(thread.ident or 0))
            _log.error("the drain is over its time; thread %r still runs, at %s", thread.name, where)
        _log.error("the process is ended, with exit code %d", self.code)
        _flush()


def _others() -> list[threading.Thread]:
    """Return the threads that run beside this one, the watch's own left out."""
    ours = ("polybus last", "polybus watchdog")
    return [t for t in threading.enumerate() if t is not threading.current_thread() and not t.name.startswith(ours)]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
