"""Notices when something blocks the event loop, and says which handler it was."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

__all__ = ["STALL", "Running", "Watchdog", "innermost"]

_log = logging.getLogger("polybus.app")

# Seconds that the loop may take for one turn. Half a second is ten times what a slow, honest turn takes (decoding 1 MiB
# of JSON: 10 to 50 ms), and well under the shortest lease that anyone should use (10 s on every cloud), so that a
# handler that blocks is known before it costs leases.
STALL = 0.5

# The handler that each task is running now, by name.
Running = MutableMapping["asyncio.Task[Any] | None", str]


class Watchdog:
    """Asks the running loop for a sign of life, from a thread, and logs a warning when none comes in `stall` seconds.

    A stall is told once, with the handler's name and the line that it is at, and again with its length when it is over.
    `executing` names the handler that a task runs; it is called from the watchdog's thread.
    One question each `stall` seconds is two wake-ups a second; a stall shorter than twice `stall` may go unseen.
    """

    def __init__(self, executing: Callable[[asyncio.Task[Any]], str | None], *, stall: float = STALL) -> None:
        self._executing = executing
        self._stall = stall
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Watchdog:
        loop, watched = asyncio.get_running_loop(), threading.get_ident()
        self._stopped.clear()
        self._thread = threading.Thread(target=self._watch, args=(loop, watched), name="polybus watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, loop: asyncio.AbstractEventLoop, watched: int) -> None:
        while not self._stopped.wait(self._stall):
            alive = threading.Event()
            asked = time.monotonic()
            with suppress(RuntimeError):  # the loop was closed without us: there is nothing left to watch
                loop.call_soon_threadsafe(alive.set)
                if not alive.wait(self._stall):
                    self._report(loop, watched)
                    self._await_end(loop, alive, asked)
                continue
            return

    def _await_end(self, loop: asyncio.AbstractEventLoop, alive: threading.Event, asked: float) -> None:
        while not alive.wait(self._stall):
            if self._stopped.is_set() or loop.is_closed():
                return
        _log.warning("the event loop goes on after %.1f s", time.monotonic() - asked)

    def _report(self, loop: asyncio.AbstractEventLoop, watched: int) -> None:
        task = asyncio.current_task(loop)
        handler = self._executing(task) if task is not None else None
        who = f"handler {handler}" if handler else f"task {task.get_name()!r}" if task is not None else "a callback"
        _log.warning(
            "%s has been blocking the event loop for over %g s, at %s; leases may be lost. "
            "Await instead, or make the handler a plain `def`: it then runs in a thread",
            who,
            self._stall,
            innermost(sys._current_frames().get(watched)),
        )


def innermost(frame: FrameType | None) -> str:
    """Return where a thread is: the innermost line outside the standard library, or else the innermost."""
    if frame is None:
        return "an unknown place"
    standard = str(Path(threading.__file__).parent)
    place = frame
    while place.f_code.co_filename.startswith((standard, "<")) and "site-packages" not in place.f_code.co_filename:
        if place.f_back is None:
            place = frame
            break
        place = place.f_back
    return f"{place.f_code.co_filename}:{place.f_lineno} in {place.f_code.co_qualname}"
