"""What answers one short request on each connection, and keeps none of them open once it ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["PATIENCE", "Listener"]

# Seconds for a request and its answer, both of which are short.
PATIENCE = 5.0


class Listener:
    """A subclass starts `_server` with `serve`, says in `respond` what to answer, and ends with `end`."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None] | None] = set()

    async def respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and write its answer; cut off after `PATIENCE` seconds."""
        raise NotImplementedError

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on a new connection, and close it."""
        task = asyncio.current_task()
        self._answering.add(task)
        try:
            # Who goes away, dawdles or talks nonsense is no concern of the service.
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(PATIENCE):
                    await self.respond(reader, writer)
                    await writer.drain()
        finally:
            self._answering.discard(task)
            writer.close()

    async def end(self) -> None:
        """Take no more connections, and cut off those that are being answered."""
        if self._server is None:
            return
        self._server.close()
        # One that dawdles mustn't keep the process: from Python 3.12 on the server waits for it.
        for task in list(self._answering):
            if task is not None:
                task.cancel()
        await self._server.wait_closed()
