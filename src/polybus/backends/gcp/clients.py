"""Pub/Sub's two clients, made once on the event loop that first calls them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import google.auth
import grpc
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

__all__ = ["EMULATOR", "QUICK", "UPLOAD", "Clients", "call"]

EMULATOR = "PUBSUB_EMULATOR_HOST"

# How long one call may take, in seconds. A publish carries up to 10 MB, for which the library's own client allows 60 s;
# all others are small, and sooner tried again by the bus than waited for.
UPLOAD = 60.0
QUICK = 20.0

# gRPC's default refuses responses over 4 MB, and one message may have 10.
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


async def call(method: Callable[..., Awaitable[Any]], request: Any, resource: str, timeout: float = QUICK) -> Any:
    """Make one call, once; what it raises names the `resource` in a note, which `faults` reads."""
    try:
        return await method(request=request, retry=None, timeout=timeout)
    except Exception as error:
        error.add_note(resource)
        raise


def _credentials() -> Any:
    """Find the application default credentials; blocks."""
    credentials, _ = google.auth.default(scopes=SubscriberGrpcAsyncIOTransport.AUTH_SCOPES)
    return credentials


class Clients:
    """The publisher's and the subscriber's client of one driver, and their channels.

    A channel of grpc.aio belongs to the event loop on which it was made, so both are made at the first call.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._publisher: PublisherAsyncClient | None = None
        self._subscriber: SubscriberAsyncClient | None = None

    @property
    def endpoint(self) -> str | None:
        """HOST:PORT of a server that isn't Google's, and takes anyone."""
        return self._settings.get("endpoint") or os.environ.get(EMULATOR)

    async def publisher(self) -> PublisherAsyncClient:
        if self._publisher is None:
            await self._make()
        return self.made()[0]

    async def subscriber(self) -> SubscriberAsyncClient:
        if self._subscriber is None:
            await self._make()
        return self.made()[1]

    def made(self) -> tuple[PublisherAsyncClient, SubscriberAsyncClient]:
        """Return both, making them here and now if need be; call it on the event loop that uses them."""
        if self._publisher is None or self._subscriber is None:
            return self._connect(None if self.endpoint else _credentials())
        return self._publisher, self._subscriber

    async def _make(self) -> None:
        async with self._lock:
            if self._publisher is None:
                # In a thread: it reads files, and may ask the metadata server of the machine.
                self._connect(None if self.endpoint else await asyncio.to_thread(_credentials))

    def _connect(self, credentials: Any) -> tuple[PublisherAsyncClient, SubscriberAsyncClient]:
        endpoint = self.endpoint
        if endpoint is not None:
            channel = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
            subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
            publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
        else:
            subscriber = SubscriberAsyncClient(credentials=credentials)
            publisher = PublisherAsyncClient(credentials=credentials)
        self._publisher, self._subscriber = publisher, subscriber
        return publisher, subscriber

    async def close(self) -> None:
        """Close the connections; no call is under way."""
        for client in (self._publisher, self._subscriber):
            if client is not None:
                await client.transport.close()  # type: ignore[no-untyped-call]
