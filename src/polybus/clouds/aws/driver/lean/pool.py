"""Connections to one endpoint that are used again and again, up to so many at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from polybus.clouds.aws.driver.lean.connection import Connection

__all__ = ["Pool"]


class Pool:
    """Up to `most` connections of one loop; who asks for more waits, first come, first served."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], most: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._most = most
        self._used = 0
        self._idle: list[Connection] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._generation = 0
        self._closed = False

    @property
    def open(self) -> int:
        """How many connections there are, in use or not."""
        return self._used + len(self._idle)

    async def acquire(self) -> Connection:
        """Return a connection for one request, and no other's until that was answered; raise NotConnected."""
        if self._used < self._most:
            self._used += 1
        else:
            await self._turn()
        while self._idle:
            connection = self._idle.pop()  # the one that was used last is the likeliest to be alive
            if connection.is_fresh():
                return connection
        generation = self._generation
        try:
            connection = await self._connect()
        except BaseException:
            self._free_place()
            raise
        connection.generation = generation
        connection.freed = self._freed
        return connection

    async def _turn(self) -> None:
        """Wait until somebody hands on a place."""
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free_place()  # it was handed on to one who doesn't want it any more
            raise

    def discard(self) -> None:
        """Use no connection again that is open now: where one died without a word, the others may be as dead."""
        self._generation += 1
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()

    def close(self) -> None:
        """Close what is idle now, and the rest as it gets free."""
        self._closed = True
        self.discard()

    def _freed(self, connection: Connection) -> None:
        if not connection.usable:
            pass
        elif self._closed or connection.generation != self._generation:
            connection.abort()
        else:
            self._idle.append(connection)
        self._free_place()

    def _free_place(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the place changes hands
                return
        self._used -= 1
