"""Threads for calls that block: made as they are needed, ended when idle, and never in the way of the process's end."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from polybus.errors import BusClosed

__all__ = ["Threads"]

T = TypeVar("T")

# Seconds after which a thread that nothing is asked of ends: longer than the longest poll (20 s), so that a consumer
# keeps its thread from one poll to the next.
IDLE = 60.0


class Threads(Executor):
    """Up to `most` daemon threads.

    The standard library's executor makes the interpreter wait at its end for every call that is under way, which a
    server that doesn't answer can draw out. After a fork it would queue for threads that aren't there: this one
    raises BusClosed.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._idle = 0
        self._threads = 0
        self._closed = False

    @property
    def threads(self) -> int:
        """How many there are now."""
        return self._threads

    @property
    def forked(self) -> bool:
        """Whether this is another process than the one that made it."""
        return os.getpid() != self._process

    def check(self) -> None:
        """Raise BusClosed in a process that was forked: the threads aren't in it, and the connections its parent's."""
        if self.forked:
            raise BusClosed("this process was forked from the one that connected: connect again here")

    def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.check()  # first: a lock may have been held by a thread that the fork left behind
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise BusClosed("closed")
            self._work.append((future, lambda: call(*args, **kwargs)))
            if self._idle < len(self._work) and self._threads < self._most:
                self._start()
            self._changed.notify()
        return future

    def stand_in(self, call: Future[Any]) -> None:
        """Let another thread take the place of the one with this call, which nobody waits for, until that ends.

        Or as many calls as there are threads, to a server that doesn't answer, would hold up all that come after them.
        """
        if call.done():
            return
        with self._changed:
            self._most += 1
            if self._work:
                self._start()
        call.add_done_callback(self._end_stand_in)

    def _end_stand_in(self, _: Future[Any]) -> None:
        with self._changed:
            self._most -= 1

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Take no more calls; those that are under way end by themselves, those that haven't begun are cancelled."""
        if self.forked:
            return
        with self._changed:
            self._closed = True
            left, self._work = self._work, deque()
            self._changed.notify_all()
        for future, _ in left:
            future.cancel()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            future, call = item
            if future.set_running_or_notify_cancel():
                try:
                    answer = call()
                except BaseException as error:  # noqa: BLE001 - it is whoever waits for the call that it concerns
                    future.set_exception(error)
                else:
                    future.set_result(answer)
                    del answer
            del item, future, call

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._work or self._closed or self._threads > self._most, IDLE)
            self._idle -= 1
            if self._work and self._threads <= self._most:
                return self._work.popleft()
            self._threads -= 1
            if self._work:
                self._changed.notify()  # the turn was this thread's, which is one too many now
            return None
