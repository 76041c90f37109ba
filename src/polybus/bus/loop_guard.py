"""Where a bus belongs: the process and the event loop that it was opened in."""

from __future__ import annotations

import asyncio
import os
import threading

from polybus.errors import BusClosed

__all__ = ["LoopGuard"]


class _Process:
    """Which process this is, without a system call for each question."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = os.getpid()


_here = _Process()


def _forked() -> None:
    _here.number = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class LoopGuard:
    """The process and the loop that something was made in; make it on that loop."""

    __slots__ = ("_loop", "_process", "_thread", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._process = _here.number
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that it was made in."""
        return self._process != _here.number

    def check(self) -> None:
        """Raise BusClosed in a forked child and on another event loop: what it waits for would never come there."""
        if self._process != _here.number:
            raise BusClosed(
                f"{self._what} was opened in process {self._process}, and this is its fork {_here.number}, which has "
                "neither its threads nor its connections: connect here, after the fork"
            )
        # Where it is seldom otherwise this spares asking for the running loop, which before Python 3.12 takes a system
        # call. A loop may also be run by one thread after another (a function's invocations).
        if not self._loop.is_running() or threading.get_ident() != self._thread:
            self._look()

    def _look(self) -> None:
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if not here:
            raise BusClosed(
                f"{self._what} belongs to another event loop, the one that it was opened on: connect on this loop "
                "too, or use polybus.sync, which serves every thread"
            )
        self._thread = threading.get_ident()
