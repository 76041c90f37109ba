"""A TCP relay between the workers and a server, that can reset, stall and swallow what goes through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

__all__ = ["Relay"]

_LOOPBACK = "127.0.0.1"
_CHUNK = 65_536


class _Link:
    """One connection of a client, and the one to the server that it stands for."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = (client, server)
        self.swallowed = False

    def reset(self) -> None:
        for writer in self.writers:
            _reset(writer)


class Relay:
    """Forwards connections to `port` on this machine; for one event loop."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        if self._server is None:
            raise RuntimeError("the relay is not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen on a free loopback port."""
        self._server = await asyncio.start_server(self._accepted, _LOOPBACK, 0)

    async def stop(self) -> None:
        """Reset what is open, and free the port."""
        self.heal()
        self.reset()
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    # Faults ----------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Reset every open connection."""
        for link in list(self._links):
            link.reset()

    def swallow(self) -> None:
        """Let nothing more through any connection that is open now, without a word; new ones work."""
        for link in self._links:
            link.swallowed = True

    def stall(self) -> None:
        """Hold back all bytes until `heal`."""
        self._flowing.clear()

    def refuse(self) -> None:
        """Reset each new connection until `heal`."""
        self._refusing = True

    def heal(self) -> None:
        """Let everything through again, but what was swallowed."""
        self._refusing = False
        self._flowing.set()

    # Forwarding ------------------------------------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection(_LOOPBACK, self._to)
        except OSError:
            _reset(writer)
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        pumps = [
            asyncio.create_task(self._pump(link, reader, far_writer)),
            asyncio.create_task(self._pump(link, far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            link.reset()
            self._links.discard(link)

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flowing.wait()
                if link.swallowed:
                    continue  # read on, so that the sender's system believes that it arrived
                writer.write(data)
                await writer.drain()
            if link.swallowed:
                link.reset()  # one side gave up: the other learns of it only by its own means, from its own system
            else:
                writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close it so that the peer gets a reset: no lingering, nothing sent."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
