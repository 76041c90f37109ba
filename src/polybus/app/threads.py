"""Threads for handlers that block: as many as are needed, and one more for each that doesn't come back."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

__all__ = ["Call", "ThreadPool"]


class Call(msgspec.Struct, eq=False):
    """One call in a thread. `began` is when it was handed over, by the clock of whoever made it."""

    label: str
    began: float
    run: Callable[[], Any]
    done: Callable[[Any, BaseException | None], None]
    thread: str = ""
    context: contextvars.Context = msgspec.field(default_factory=contextvars.copy_context)


class ThreadPool:
    """Runs calls in daemon threads; for one event loop.

    A call never waits for a thread: it takes one that is idle, or a new one. Whoever calls bounds how many run. The
    threads are daemons, and none of concurrent.futures, since the interpreter joins that one's at its exit: a call that
    never returns would keep the process.
    """

    def __init__(self, name: str, keep: int) -> None:
        self._name = name
        self._keep = keep
        self._numbers = itertools.count(1)
        self._idle: list[queue.SimpleQueue[Call | None]] = []
        self._closed = False
        self.running: dict[Call, None] = {}
        """What runs now, the oldest first."""

    def start(self, call: Call) -> None:
        """Run a call in a thread; `call.done` gets what came of it, on the event loop.

        Raises RuntimeError where the system gives no further thread: then it has not begun.
        """
        if self._idle:
            jobs = self._idle.pop()
        else:
            jobs = queue.SimpleQueue()
            loop = asyncio.get_running_loop()
            name = f"{self._name}-{next(self._numbers)}"
            threading.Thread(target=self._work, args=(loop, jobs), name=name, daemon=True).start()
        self.running[call] = None
        jobs.put(call)

    def close(self) -> None:
        """Let idle threads end, and the others once their call returns; waits for none."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)

    def _work(self, loop: asyncio.AbstractEventLoop, jobs: queue.SimpleQueue[Call | None]) -> None:
        name = threading.current_thread().name
        while (call := jobs.get()) is not None:
            call.thread = name
            result: Any = None
            error: BaseException | None = None
            try:
                result = call.context.run(call.run)
            except StopIteration as stop:  # a coroutine can't raise it on
                error = RuntimeError("the handler raised StopIteration")
                error.__cause__ = stop
            except BaseException as raised:  # noqa: BLE001 - it is told to whoever waits
                error = raised
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more, and this thread ends
                loop.call_soon_threadsafe(self._over, jobs, call, result, error)
                del call, result, error  # nothing of it is kept while the thread is idle
                continue
            return

    def _over(self, jobs: queue.SimpleQueue[Call | None], call: Call, result: Any, error: BaseException | None) -> None:
        del self.running[call]
        if self._closed or len(self._idle) >= self._keep:
            jobs.put(None)
        else:
            self._idle.append(jobs)
        call.done(result, error)
