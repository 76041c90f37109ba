"""The senders that publishers share: one link to each topic or queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusSender
from azure.servicebus.amqp import AmqpAnnotatedMessage
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusCommunicationError,
    ServiceBusConnectionError,
)

from polybus.clouds.azure.driver.bounds import ANSWER, bounded
from polybus.clouds.azure.driver.links import Links

__all__ = ["Sender"]

# Bytes a second that a way to Service Bus carries at the least (8 Mbit/s): a large message may take so much longer.
SLOWEST = 1_000_000
# After one of these nothing more is sent on a link: its connection is gone, or an answer may come late and be taken for
# another's.
_BROKEN = (
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusCommunicationError,
    ServiceBusConnectionError,
    OSError,
)


class Sender:
    """One link to a topic or queue, and whose turn it is: the library can't send two batches at once on one."""

    def __init__(self, name: str, make: Callable[[], ServiceBusSender], links: Links) -> None:
        self.batch_bytes = 0
        self._name = name
        self._make = make
        self._links = links
        self._turn = asyncio.Lock()
        self._link: ServiceBusSender | None = None

    async def open(self) -> None:
        """Open the link unless it is; raise what the library raises."""
        if self._link is None:
            async with self._turn:
                await self._ready()

    async def send(self, messages: Sequence[ServiceBusMessage | AmqpAnnotatedMessage], size: int) -> None:
        """Send a batch of `size` bytes, which is accepted or refused as a whole; raise what the library raises.

        Raises Late where no answer came, or the link's way is blocked; the next call has a new connection.
        """
        async with self._turn:
            link = await self._ready()
            seconds = ANSWER + size / SLOWEST
            try:
                await bounded(_send(link, messages, seconds), seconds, f"sending to {self._name!r}")
            except (asyncio.CancelledError, *_BROKEN):
                self._drop(link)
                raise

    async def _ready(self) -> ServiceBusSender:
        if self._link is None:
            link = self._make()
            await self._links.open(link)
            self.batch_bytes = (await link.create_message_batch()).max_size_in_bytes
            self._link = link
        return self._link

    def _drop(self, link: ServiceBusSender) -> None:
        self._link = None
        self._links.close_soon(link)

    def close(self) -> None:
        """Close the link, without waiting for it."""
        if self._link is not None:
            self._drop(self._link)


async def _send(
    link: ServiceBusSender, messages: Sequence[ServiceBusMessage | AmqpAnnotatedMessage], seconds: float
) -> None:
    if len(messages) == 1:
        # A message of Premium may be larger than any batch.
        await link.send_messages(messages[0], timeout=seconds)
        return
    batch = await link.create_message_batch()
    for message in messages:
        batch.add_message(message)
    await link.send_messages(batch, timeout=seconds)
