"""All the gRPC services on one port."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc

from polybus.clock import Clock
from polybus.localcloud.events import Events
from polybus.localcloud.pubsub import limits
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.delivery import Delivery
from polybus.localcloud.pubsub.iam_service import IamService
from polybus.localcloud.pubsub.journal import MessageJournal
from polybus.localcloud.pubsub.publisher import Publisher
from polybus.localcloud.pubsub.push import Pushes
from polybus.localcloud.pubsub.schema_service import SchemaService
from polybus.localcloud.pubsub.streaming import streaming_pull
from polybus.localcloud.pubsub.subscriber import Subscriber
from polybus.localcloud.pubsub.wire import Context, Faults, Method, service
from polybus.localcloud.store import Store

if TYPE_CHECKING:
    from polybus.localcloud.pubsub.rest import RestFace

__all__ = ["Service"]

_OPTIONS = (
    ("grpc.max_receive_message_length", limits.RECEIVE_BYTES),
    ("grpc.max_send_message_length", -1),
    # Clients ask whether the connection is alive as often as they ask Google, every 30 s; gRPC's own server takes more
    # than two such pings in five minutes without a call for abuse, and ends the connection.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    # As Google's front ends have it: what is over waits for one of the others to end.
    ("grpc.max_concurrent_streams", 100),
    # A client that is gone without a word is noticed within 40 s, or its streams would go on getting what is published.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Two servers on one port would share its connections between them.
    ("grpc.so_reuseport", 0),
)


class Service:
    """One running server; for the event loop that starts it."""

    # How long calls that are under way get to end when the server stops, in seconds. Streams and waiting pulls are
    # ended by the server itself; what is left takes as long as a write to disk.
    GRACE = 1.0

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        enforce_iam: bool,
        stream_seconds: float,
        events: Events | None = None,
    ) -> None:
        self.faults = Faults()
        self.faults.clock = clock
        self._journal = MessageJournal(store)
        self.catalog = self._catalog = Catalog(clock, self._journal, enforce_iam=enforce_iam, events=events)
        self._pushes = Pushes(self._catalog)
        self._ports: list[Callable[[grpc.aio.Server], object]] = []
        self._stream_seconds = stream_seconds
        self._methods: dict[str, Method] = {}
        self._handlers = self._build()
        self._rest: tuple[RestFace, str, int] | None = None
        self._server: grpc.aio.Server | None = None

    @property
    def retained_messages(self) -> int:
        return self._journal.messages

    def secure(self, host: str, port: int, key: bytes, certificate: bytes) -> int:
        """Listen with TLS too, once it is started; return the port; raise OSError where it is taken."""
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        bound = _bound(host, port, lambda where: self._listener().add_secure_port(where, credentials))
        self._ports.append(lambda server: server.add_secure_port(f"{host}:{bound}", credentials))
        return bound

    def _listener(self) -> grpc.aio.Server:
        if self._server is None:
            self._server = grpc.aio.server(options=_OPTIONS)
            self._server.add_generic_rpc_handlers(self._handlers)
        return self._server

    async def start(self, host: str, port: int) -> int:
        """Load what the store holds and listen; return the port."""
        self._catalog.load()
        server = self._listener()
        try:
            bound = _bound(host, port, server.add_insecure_port)
        except OSError:
            await self.stop()
            raise
        self._ports.append(lambda server: server.add_insecure_port(f"{host}:{bound}"))
        await server.start()
        for subscription in self._catalog.subscriptions.values():
            self._pushes.serve(subscription)
        return bound

    def _build(self) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
        catalog, faults = self._catalog, self.faults
        publisher, schemas, policies = Publisher(catalog), SchemaService(catalog), IamService(catalog)
        subscriber, delivery = Subscriber(catalog, self._pushes), Delivery(catalog)

        async def stream(initial: bytes, context: Context) -> None:
            await streaming_pull(catalog, initial, context, self._stream_seconds)

        for part in (publisher, subscriber, delivery, schemas, policies):
            self._methods.update(part.methods())
        return (
            service(faults, publisher.NAME, publisher.methods()),
            service(faults, subscriber.NAME, {**subscriber.methods(), **delivery.methods()}, {"StreamingPull": stream}),
            service(faults, schemas.NAME, schemas.methods()),
            service(faults, policies.NAME, policies.methods()),
        )

    async def cut(self) -> None:
        """Break every connection, and listen anew on the same ports."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)
        listener = self._listener()
        for listen in self._ports:
            listen(listener)
        await listener.start()
        if self._rest is not None:
            face, host, port = self._rest
            await face.stop()
            await face.start(host, port)

    async def start_rest(self, host: str, port: int) -> int:
        """Serve the same over HTTP; return the port; raise OSError where it is taken."""
        from polybus.localcloud.pubsub.rest import RestFace

        face = RestFace(self.faults, self._methods)
        bound = await face.start(host, port)
        self._rest = face, host, bound
        return bound

    async def stop(self) -> None:
        """End every call, make everything durable and free the port."""
        await self._pushes.close()
        self._catalog.stop()
        if self._rest is not None:
            await self._rest[0].stop()
        if self._server is not None:
            await self._server.stop(self.GRACE)
        # Requests that came in meanwhile may have armed timers of their own.
        self._catalog.stop()
        await self._journal.close()


def _bound(host: str, port: int, add: Callable[[str], int]) -> int:
    """Have a server listen, and return the port; raise OSError where it is taken."""
    try:
        return add(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(errno.EADDRINUSE, f"Can't listen on {host}:{port}: {error}") from error
