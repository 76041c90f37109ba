"""A port of loopback for the length of a block."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

__all__ = ["listening"]


@contextlib.asynccontextmanager
async def listening(
    link: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tasks: Iterable[asyncio.Task[None]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Listen on a free port, which is given, and have `link` serve each connection; end the tasks of all at the end."""
    server = await asyncio.start_server(link, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        ending = list(tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
