"""The local Service Bus server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.clock import Clock, SystemClock
from polybus.localcloud.certificate import Certificate
from polybus.localcloud.server import LOOPBACK
from polybus.localcloud.servicebus.acceptor import Acceptor
from polybus.localcloud.servicebus.api import Entities
from polybus.localcloud.servicebus.config import read_config
from polybus.localcloud.servicebus.entities.journal import EntityJournal
from polybus.localcloud.servicebus.entities.namespace import Namespace
from polybus.localcloud.servicebus.faults import Faults
from polybus.localcloud.servicebus.refusal import Refusal
from polybus.localcloud.servicebus.rights import ROOT_KEY, ROOT_KEY_NAME, Rights
from polybus.localcloud.servicebus.wire.connection import Connection
from polybus.localcloud.servicebus.wire.host import Host
from polybus.localcloud.store import Store

if TYPE_CHECKING:
    from aiohttp import web

    from polybus.localcloud.servicebus.steering import ServiceBusSteering

__all__ = ["ServiceBusServer"]

log = logging.getLogger(__name__)

TLS_PORT = 5671  # of AMQP inside TLS, registered
# Seconds without a byte after which a peer is taken for dead: the service announces four minutes in its open.
IDLE_TIMEOUT = 240.0
# Seconds in which a peer must have opened its connection; opening one takes azure-servicebus about half a second.
HANDSHAKE_TIMEOUT = 20.0
# Seconds after which a link that nothing moved on is detached, as the service does.
LINK_IDLE = 600.0


class ServiceBusServer:
    """Azure Service Bus on a loopback port, for the official SDKs as they are.

    AMQP, with TLS or without, AMQP over a WebSocket, and the management API are all on that one port, and on each of
    `ports`, for clients that can't be told one. `config` is a file in the format of Microsoft's emulator (Config.json),
    `data` a folder in which everything that was accepted survives the process. `management_port` adds a port that
    `env()` tells as the management API's. `idle_timeout`, `handshake_timeout` and `link_idle`, after which a link is
    detached that nothing moved on, are real seconds, whatever the clock.
    """

    def __init__(
        self,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        management_port: int = 0,
        ports: Sequence[int] = (),
        data: Path | None = None,
        clock: Clock | None = None,
        config: Path | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        link_idle: float = LINK_IDLE,
    ) -> None:
        self._host = host
        self._port = port
        self._management_port = management_port
        self._ports = tuple(ports)
        self._config = config
        self._store = Store(data, "servicebus")
        self._journal = EntityJournal(self._store)
        self.rights = Rights()
        self._namespace = Namespace(clock or SystemClock(), self._journal, self.rights.put_entity)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.faults = Faults()
        self.entities = Entities(self._namespace, self._journal, lambda: self._loop)
        self._shared = Host(self._namespace, self.rights, self.faults, idle_timeout, handshake_timeout, link_idle)
        self._acceptor: Acceptor | None = None
        self._http: web.AppRunner | None = None
        self._certificate = Certificate(data, "servicebus")

    @property
    def cloud(self) -> str:
        return "azure"

    @property
    def host(self) -> str:
        return self._host

    @property
    def port(self) -> int:
        return self._port

    @property
    def management_port(self) -> int:
        """The port of the management API; that of AMQP unless another was asked for."""
        return self._management_port or self._port

    @property
    def certificate(self) -> Path:
        """The file by which clients of the management API trust this server.

        Where it keeps no data, only once it is started: the file is in a folder of its own then.
        """
        return self._certificate.path

    @property
    def connections(self) -> int:
        """How many AMQP connections there are."""
        return len(self._shared.connections)

    def connection_string(self, key_name: str = ROOT_KEY_NAME, key: str = ROOT_KEY, *, tls: bool = False) -> str:
        """Return what ServiceBusClient and ServiceBusAdministrationClient take.

        With `tls` it is as a real namespace's, and clients have to trust `certificate`. It names no port where we
        listen on that of AMQP inside TLS: clients go there by themselves, some whatever it says.
        """
        port = "" if tls and TLS_PORT in (self._port, *self._ports) else f":{self._port}"
        emulator = "" if tls else "UseDevelopmentEmulator=true;"
        return f"Endpoint=sb://localhost{port};SharedAccessKeyName={key_name};SharedAccessKey={key};{emulator}"

    def env(self) -> Mapping[str, str]:
        return {
            "AZURE_SERVICEBUS_CONNECTION_STRING": self.connection_string(),
            "AZURE_SERVICEBUS_MANAGEMENT_ENDPOINT": f"https://localhost:{self.management_port}",
            "AZURE_SERVICEBUS_CA_FILE": str(self.certificate),
            "AZURE_SERVICEBUS_TLS_CONNECTION_STRING": self.connection_string(tls=True),
            "AZURE_SERVICEBUS_CA_BUNDLE": str(self._certificate.bundle),
            "AZURE_SERVICEBUS_TRUST_STORE": str(self._certificate.trust_store),
        }

    # -- faults, from any thread

    def fail_next(
        self, where: str, condition: str, count: int = 1, *, entity: str | None = None, description: str | None = None
    ) -> None:
        """Refuse the next `count` operations at `where` with an AMQP condition.

        `where` is connect, token, attach, send, settle, management or http; `entity` a path, None for any.
        """
        self.faults.fail_next(where, condition, count, entity=entity, description=description)

    def cut_next(self, where: str, count: int = 1, *, entity: str | None = None) -> None:
        """Do the next `count` operations at send, settle or management, then cut the connection before the answer."""
        self.faults.cut_next(where, count, entity=entity)

    def cut_connections(self) -> None:
        """Break every AMQP connection at once, whatever is under way."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.abort_connections)

    def abort_connections(self) -> None:
        """Break every AMQP connection at once, on the server's own loop."""
        for connection in list(self._shared.connections):
            connection.abort()

    # -- steering

    def steer(self, clock: Clock) -> ServiceBusSteering:
        """Return how it is steered, and have it run on a clock; once, before it is started."""
        from polybus.localcloud.servicebus.steering import ServiceBusSteering

        self._namespace.clock = clock
        self._store.mirror()
        self._journal.durable = self._store.durable
        return ServiceBusSteering(self, self._namespace, self._store, clock)

    # -- life

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self._store.open()
        self._namespace.load()
        if self._config is not None:
            read_config(self._config, self._namespace)
        await self._store.commit()
        tls = self._certificate.context(self._host)
        http = await self._start_http()
        self._acceptor = Acceptor(
            lambda: Connection(self._shared),
            http,
            tls,
            self._shared.handshake_timeout,
        )
        self._port = self._acceptor.listen(self._host, self._port)
        for other in {self._management_port or self._port, *self._ports} - {self._port}:
            self._acceptor.listen(self._host, other)

    async def _start_http(self) -> Callable[[], asyncio.BaseProtocol]:
        from aiohttp import web

        from polybus.localcloud.servicebus.management.http import application

        runner = self._http = web.AppRunner(application(self._shared), access_log=None)
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - set up above
        return runner.server

    async def stop(self) -> None:
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is not None:
            await acceptor.close()
        for connection in list(self._shared.connections):
            connection.close(Refusal("amqp:connection:forced", "The server is stopping."))
        if self._http is not None:
            await self._http.cleanup()
            self._http = None
        if acceptor is not None:
            await acceptor.abort()
        self._namespace.close(Refusal("amqp:connection:forced", "The server is stopping."))
        await self._journal.settle()
        await self._store.close()
        self._certificate.remove()
        self._loop = None
