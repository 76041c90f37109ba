"""A way from any thread into an event loop that runs in another."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from polybus.errors import BusClosed

__all__ = ["Portal"]

T = TypeVar("T")


class Portal:
    """Runs coroutines on one loop for threads that wait for them.

    Every use raises BusClosed after `close`, and in a process that was forked: the loop's thread is not in it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ident: int) -> None:
        self._loop = loop
        self._ident = ident
        self._process = os.getpid()
        self._closed = False
        self._lock = threading.Lock()

    @property
    def forked(self) -> bool:
        """Whether this is another process than the one that the portal was made in."""
        return os.getpid() != self._process

    @property
    def closed(self) -> bool:
        return self._closed

    def submit(
        self, function: Callable[[], Coroutine[Any, Any, T]], *, context: Context | None = None
    ) -> concurrent.futures.Future[T]:
        """Start a coroutine on the loop, within `context`, or a copy of the caller's where None."""
        self._check()
        with self._lock:
            if self._closed:
                raise _closed()
            coroutine = function() if context is None else self._within(context, function)
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[[], Coroutine[Any, Any, T]], *, context: Context | None = None) -> T:
        """Run a coroutine on the loop and return what it returns; it is cancelled when the wait is interrupted."""
        future = self.submit(function, context=context)
        try:
            return self.wait(future)
        except BaseException:
            future.cancel()  # does nothing unless it was this thread that was interrupted
            raise

    @staticmethod
    def wait(future: concurrent.futures.Future[T], timeout: float | None = None) -> T:
        """Wait for what was submitted; raise BusClosed where the portal was closed meanwhile."""
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise _closed() from None

    async def _within(self, context: Context, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._loop.create_task(function(), context=context)

    def _check(self) -> None:
        if self.forked:
            raise BusClosed(
                f"this bus was connected in process {self._process}, and this is its fork {os.getpid()}, which has "
                "neither its thread nor its connections: call polybus.sync.connect() here, after the fork"
            )
        if threading.get_ident() == self._ident:
            raise RuntimeError(
                "a blocking call on the thread of the bus's own event loop would wait for itself for ever; "
                "await the asynchronous bus there"
            )

    def close(self) -> None:
        """Refuse all further calls; those under way go on."""
        with self._lock:
            self._closed = True


class ThreadPortal(Portal):
    """A portal with a loop and a daemon thread of its own: a program that ends without closing it does not hang."""

    def __init__(self) -> None:
        started: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = (
            concurrent.futures.Future()
        )
        self._thread = threading.Thread(target=_run, args=(started,), name="polybus portal", daemon=True)
        self._thread.start()
        loop, self._stop = started.result()
        super().__init__(loop, self._thread.ident or 0)

    def close(self) -> None:
        """Refuse all further calls, cancel those under way, end the loop, and wait for its thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def abandon(self) -> None:
        """End the loop without waiting for it."""
        if not self._closed and not self.forked and not self._loop.is_closed():
            self._closed = True
            self._loop.call_soon_threadsafe(self._stop.set)


def _run(started: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    async def serve() -> None:
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

    asyncio.run(serve())


def _closed() -> BusClosed:
    return BusClosed("the bus is closed; connect again: polybus.sync.connect()")
