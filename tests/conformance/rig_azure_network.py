"""Rigs of the Azure backend that reach it as a real namespace: TLS, WebSockets, a proxy, an identity."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import msgspec
from azure.core.credentials import AccessToken

from polybus.binding import Binding
from polybus.clouds.azure.local import TLS, realise
from polybus.clouds.azure.plan.resources import AzureSettings, plan
from polybus.localcloud.server import ThreadedServer
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.topology.model import Topology

from .rig_azure import AzureRig


class Identity:
    """What DefaultAzureCredential is where there is an identity; a local server takes any token of this form."""

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return AccessToken("eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmVk", int(time.time()) + 3600)

    async def close(self) -> None:
        """Nothing is open."""


class _ByNamespace(AzureRig):
    """Reaches the local server as a namespace: by a name, without a connection string."""

    host = "localhost"
    ports: tuple[int, ...] = ()

    async def realise(self, topology: Topology) -> Binding:
        server = ServiceBusServer(clock=self.clock, host=self.host, ports=self.ports)
        self._server = ThreadedServer(server)
        self._server.start()
        self._identity = patch("azure.identity.aio.DefaultAzureCredential", Identity)
        self._identity.start()
        os.environ.pop("AZURE_SERVICEBUS_CONNECTION_STRING", None)
        self._connection_string = server.connection_string().replace("//localhost", f"//{self.host}")
        binding = await asyncio.to_thread(
            realise,
            plan(topology, AzureSettings()),
            connection_string=self._connection_string,
            ca_file=server.certificate,
        )
        way = {"namespace": self.host, "ca_file": str(server.certificate), **await self.way(server)}
        return msgspec.structs.replace(binding, settings={**binding.settings, **way})

    async def way(self, server: ServiceBusServer) -> dict[str, str]:
        """Return the binding's settings that lead to the server."""
        return {}

    async def drop(self) -> None:
        self._identity.stop()
        await super().drop()


class AzureOverTls(_ByNamespace):
    """AMQP inside TLS, on its own port: clients take no other, so each process has a loopback address of its own."""

    ports = (TLS,)

    def __init__(self) -> None:
        super().__init__()
        number = os.getpid() % 65_000
        self.host = f"127.20.{number // 250}.{number % 250 + 1}"


class AzureOverWebSocket(_ByNamespace):
    """AMQP inside a WebSocket, and the management API, through a proxy that leads every name to the server."""

    async def way(self, server: ServiceBusServer) -> dict[str, str]:
        self._proxy = Proxy(server.port)
        assert self._server is not None
        port = await asyncio.to_thread(self._server.call, self._proxy.start)
        return {"transport": "websocket", "proxy": f"http://localhost:{port}"}

    async def drop(self) -> None:
        assert self._server is not None
        await asyncio.to_thread(self._server.call, self._proxy.stop)
        assert self._proxy.asked <= {"localhost:443"}
        await super().drop()


class Proxy:
    """An HTTP proxy that connects whoever asks for anything with one port here."""

    def __init__(self, port: int) -> None:
        self.asked: set[str] = set()
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen, and return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """End all that goes through it."""
        self._server.close()
        for writer in self._open:
            writer.close()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            asked = (await reader.readuntil(b"\r\n\r\n")).split()
            assert asked[0] == b"CONNECT"
            self.asked.add(asked[1].decode())
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            self._open.add(back)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        self._tasks.discard(task)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
