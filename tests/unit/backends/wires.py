"""A way to a local server that can fail as networks do: silently."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from .listening import listening


class Wire:
    """A TCP proxy on the test's own event loop.

    `freeze` makes the connections that are open carry nothing any more, in either direction, without ending them: what
    a network does that forgot them. `hold` keeps what comes until `release`. New connections work all the time, unless
    `closed` is set.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.made = 0
        self.closed = False
        self._target = port
        self._live: set[_Connection] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def freeze(self) -> None:
        for connection in self._live:
            connection.frozen = True

    def hold(self) -> None:
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Wire]:
        async with listening(self._accept, self._tasks) as self.port:
            yield self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.made += 1
        connection = _Connection()
        connection.frozen = self.closed
        self._live.add(connection)
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(
                self._carry(reader, onward_writer, connection), self._carry(onward_reader, writer, connection)
            )
        finally:
            self._live.discard(connection)
            for one in (writer, onward_writer):
                one.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, connection: _Connection) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                await self._flowing.wait()
                if not connection.frozen:
                    target.write(data)
                    await target.drain()
        if not connection.frozen:
            target.close()


class _Connection:
    frozen = False
