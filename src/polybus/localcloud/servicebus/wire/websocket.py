"""AMQP over a WebSocket (OASIS, "AMQP WebSocket Binding"): its binary messages hold what a socket would carry."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from polybus.localcloud.servicebus.wire.connection import Connection
from polybus.localcloud.servicebus.wire.host import Host

__all__ = ["PATH", "converse"]

PATH = "/$servicebus/websocket"
PROTOCOLS = ("AMQPWSB10", "amqp")  # the service's own, and the registered one
FAREWELL = 1.0  # seconds that a peer has to answer a close before its connection is ended; a local one needs none
HIGH_WATER = 256 * 1024  # bytes that wait to be written before deliveries pause; asyncio's own for TLS is the same size


async def converse(host: Host, request: web.Request) -> web.WebSocketResponse:
    """Serve one AMQP connection inside a WebSocket until either side ends it."""
    socket = web.WebSocketResponse(protocols=PROTOCOLS, timeout=FAREWELL)
    await socket.prepare(request)
    transport = _Transport(socket, request)
    connection = Connection(host)
    connection.connection_made(transport)
    writer = asyncio.create_task(transport.write_all(connection))
    try:
        while not transport.is_closing():
            await transport.readable.wait()
            message = await socket.receive()
            if message.type is not WSMsgType.BINARY:
                break
            connection.data_received(message.data)
    finally:
        transport.close()
        await asyncio.gather(writer, return_exceptions=True)
        connection.connection_lost(None)
    return socket


class _Transport(asyncio.Transport):
    """A WebSocket as a connection sees it; written by a task of its own, which closes it in the end."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        super().__init__()
        self.readable = asyncio.Event()
        self.readable.set()
        self._socket = socket
        self._request = request
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._some = asyncio.Event()
        self._closing = False

    async def write_all(self, connection: Connection) -> None:
        """Write until it is closed and all is written."""
        paused = False
        try:
            while True:
                await self._some.wait()
                self._some.clear()
                if self._size > HIGH_WATER:
                    paused = True
                    connection.pause_writing()
                while self._waiting:
                    data = self._waiting.popleft()
                    await self._socket.send_bytes(data)
                    self._size -= len(data)
                if paused:
                    paused = False
                    connection.resume_writing()
                if self._closing and not self._waiting:
                    await self._socket.close(code=WSCloseCode.OK)
                    return
        except ConnectionError:
            self._closing = True
            self.readable.set()

    def write(self, data: Any) -> None:
        if not self._closing:
            self._waiting.append(bytes(data))
            self._size += len(data)
            self._some.set()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        self.readable.set()
        self._some.set()

    def abort(self) -> None:
        self._waiting.clear()
        if (below := self._request.transport) is not None:
            below.abort()
        self.close()

    def pause_reading(self) -> None:
        self.readable.clear()

    def resume_reading(self) -> None:
        self.readable.set()
