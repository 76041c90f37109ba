"""What every local server shares: its life cycle, its address, and running it beside a test."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol, TypeVar

S = TypeVar("S", bound="LocalServer")
T = TypeVar("T")

__all__ = ["LocalServer", "ThreadedServer", "free_port", "running", "running_in_thread"]

LOOPBACK = "127.0.0.1"


class LocalServer(Protocol):
    """One cloud's server on a loopback port.

    Constructors take keyword arguments `host` (default 127.0.0.1), `port` (0: any free one), `data` (a folder, or None
    for memory only) and `clock`; nothing is opened before `start`.
    """

    @property
    def cloud(self) -> str:
        """The cloud that it stands in for: `aws`, `azure` or `gcp`."""

    @property
    def host(self) -> str:
        """The address that it listens on."""

    @property
    def port(self) -> int:
        """The port that it listens on; the real one once it is started."""

    def env(self) -> Mapping[str, str]:
        """Return the environment variables by which the cloud's own tools reach it; only once it is started."""

    async def start(self) -> None:
        """Load what `data` holds and listen; raise OSError where the port is taken."""

    async def stop(self) -> None:
        """End every connection, make `data` durable and free the port; may be called twice."""


@asynccontextmanager
async def running(server: S) -> AsyncIterator[S]:
    """Run `server` on this event loop for the length of the block."""
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class ThreadedServer:
    """Runs a server on an event loop of its own, in a thread, so that it outlives a test's loop."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"local-{server.cloud}", daemon=True)

    def start(self) -> None:
        """Start the thread and the server, and return once it listens; raise what the server's start raises."""
        self._thread.start()
        self.call(self.server.start)

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: object) -> T:
        """Run a coroutine function on the server's own loop and return its result; blocks this thread."""
        future: concurrent.futures.Future[T] = asyncio.run_coroutine_threadsafe(function(*args), self._loop)
        return future.result()

    def stop(self) -> None:
        """Stop the server, end what is left on its loop, and end the thread."""
        self.call(self.server.stop)
        self.call(self._cancel_leftovers)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_leftovers(self) -> None:
        leftovers = asyncio.all_tasks() - {asyncio.current_task()}
        for task in leftovers:
            task.cancel()
        await asyncio.gather(*leftovers, return_exceptions=True)
        await self._loop.shutdown_default_executor()


@contextmanager
def running_in_thread(server: S) -> Iterator[S]:
    """Run `server` in a thread of its own for the length of the block."""
    threaded = ThreadedServer(server)
    threaded.start()
    try:
        yield server
    finally:
        threaded.stop()


def free_port(host: str = LOOPBACK) -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
