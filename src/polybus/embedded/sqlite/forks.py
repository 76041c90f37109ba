"""What a fork of the process must not happen in the middle of.

SQLite keeps account of its locks in memory, and a fork copies the account but not the locks: a child that opens a file
which its parent has open believes that it holds locks which it does not hold, and loses or crashes on what others do
then. A fork while another thread is inside SQLite leaves its mutexes locked in the child for ever. So before a fork
all that is under way is finished and every file is closed; the parent opens it again at its next use.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Holder", "busy", "register"]

# Longer than a transaction waits for another process's lock: only a disk that doesn't answer takes that long.
_PATIENCE = 20.0


class Holder(Protocol):
    """What has a file open."""

    def pause(self, patience: float) -> None:
        """Finish what is under way, close the file, and begin nothing until `resume`; not, after `patience` seconds."""

    def resume(self) -> None:
        """Go on."""


class _Forks:
    """The files that this process has open, and whether it is forking."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything: in a child nothing is open, and no thread but this one is left."""
        self.holders: weakref.WeakSet[Holder] = weakref.WeakSet()
        self._paused: list[Holder] = []
        self._changed = threading.Condition()
        self._reads = 0
        self._forking = False

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        with self._changed:
            while self._forking:
                self._changed.wait()
            self._reads += 1
        try:
            yield
        finally:
            with self._changed:
                self._reads -= 1
                self._changed.notify_all()

    def before(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._forking and not self._reads, _PATIENCE)
            self._forking = True
        self._paused = list(self.holders)
        for holder in self._paused:
            holder.pause(_PATIENCE)

    def after(self) -> None:
        for holder in self._paused:
            holder.resume()
        self._paused = []
        with self._changed:
            self._forking = False
            self._changed.notify_all()


_forks = _Forks()


def register(holder: Holder) -> None:
    """Have a holder of a file paused while the process forks; to be called within `busy`."""
    _forks.holders.add(holder)


def busy() -> contextlib.AbstractContextManager[None]:
    """Keep a fork waiting while a connection is made, read from and closed."""
    return _forks.busy()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forks.before, after_in_parent=_forks.after, after_in_child=_forks.begin_anew)
