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
        """Return both; raises RuntimeError where no call was made yet."""
        if self._publisher is None or self._subscriber is None:
            raise RuntimeError("the Pub/Sub clients are made by the first call on the bus; there was none yet")
        return self._publisher, self._subscriber

    async def _make(self) -> None:
        async with self._lock:
            if self._publisher is not None:
                return
            endpoint = self.endpoint
            if endpoint is not None:
                channel = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
                self._subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
                self._publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
                return
            # In a thread: it reads files, and may ask the metadata server of the machine.
            scopes = SubscriberGrpcAsyncIOTransport.AUTH_SCOPES
            credentials, _ = await asyncio.to_thread(google.auth.default, scopes=scopes)
            self._subscriber = SubscriberAsyncClient(credentials=credentials)
            self._publisher = PublisherAsyncClient(credentials=credentials)

    async def close(self) -> None:
        """Close the connections; no call is under way."""
        for client in (self._publisher, self._subscriber):
            if client is not None:
                await client.transport.close()  # type: ignore[no-untyped-call]
