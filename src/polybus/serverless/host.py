"""Keeps an app open from a process's first invocation on, with its bus and lifespan, on one event loop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.app import App
from polybus.app.application import connect_arguments
from polybus.binding import Binding
from polybus.bus.resolve import find
from polybus.clock import Clock, SystemClock
from polybus.errors import BusClosed
from polybus.otel import from_environment
from polybus.serverless.bus import FunctionBus

if TYPE_CHECKING:
    from polybus.topology.model import Topology

__all__ = ["Host"]


class Host:
    """An app that is opened once, by whoever needs it first.

    `source` goes before the app's own. Raises ConfigError at once for a binding that is missing or wrong.
    """

    def __init__(self, app: App, source: Binding | Topology | Path | str | None, clock: Clock | None) -> None:
        self.app = app
        self._given = connect_arguments(app)
        self._found = find(self._given.source if source is None else source)
        self.binding = self._found.binding
        self.clock = clock or self._given.clock or SystemClock()
        self._bus: FunctionBus | None = None
        self._running: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[FunctionBus] | None = None
        self._stop = asyncio.Event()

    async def open(self) -> FunctionBus:
        """Return the bus of the running app; start it the first time, and again after a start that failed."""
        if self._bus is not None:
            return self._bus
        if self._stop.is_set():
            raise BusClosed("the function was closed; it handles nothing more")
        if self._opened is None:
            # A task of its own: what a lifespan enters it must leave in the same task, whichever invocation began it.
            self._opened = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._opened), name="polybus function")
        return await asyncio.shield(self._opened)

    async def _run(self, opened: asyncio.Future[FunctionBus]) -> None:
        try:
            bus = self._connect()
            async with bus, self.app.running(bus=bus):
                self._bus = bus
                opened.set_result(bus)
                await self._stop.wait()
                self._bus = None
        except asyncio.CancelledError:
            if not opened.done():
                self._opened = None
                opened.set_exception(BusClosed("the app's start was cancelled; the next invocation tries again"))
            raise
        except Exception as error:
            if opened.done():
                raise
            self._opened = None
            opened.set_exception(error)

    def _connect(self) -> FunctionBus:
        return FunctionBus(
            self.binding,
            origin=self._found.origin,
            doubt=self._found.doubt,
            service=self._given.service,
            clock=self.clock,
            hooks=tuple(from_environment(self._given.hooks)),
            publisher=self._given.publisher,
            middleware=self._given.middleware,
        )

    async def close(self) -> None:
        """Let handlers finish, leave the app's lifespan and close the bus; it isn't opened again."""
        self._stop.set()
        running, self._running = self._running, None
        if running is not None:
            await running
