"""A signal that comes before there is anything to drain."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from polybus.app.last_resort import LastResort

__all__ = ["Early"]

# Seconds for the interpreter's exit, which waits for threads that a service began as it was imported.
_EXIT = 10.0


class Early:
    """Ends the process, with exit code 0, at a SIGTERM that comes while services are imported; once `over`, it doesn't.

    The system's own handling does nothing for the first process of a container, which was stopped in vain then, and
    killed in the middle of its work half a minute later.
    """

    def __init__(self, end: LastResort) -> None:
        self._end = end
        self._before: object = None
        self._asked = False
        self.over = False

    def __enter__(self) -> Early:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raise SystemExit where it was raised before, and a module that was imported made something else of it."""
        if self._asked:
            raise SystemExit(0)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.over:
            return
        self._asked = True
        self._end.code = 0
        self._end.begin(_EXIT)
        raise SystemExit(0)
