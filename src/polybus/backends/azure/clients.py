"""azure-servicebus's clients, made once, the senders that publishers share, and the links that are being closed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceiveMode, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from polybus.binding import Entity, Kind
from polybus.errors import BindingError

__all__ = ["DEAD_LETTERS", "SUBSCRIPTIONS", "Clients", "Sender", "connection_string"]

CONNECTION_STRING = "AZURE_SERVICEBUS_CONNECTION_STRING"
# The certificate of a local server's management API.
CA_FILE = "AZURE_SERVICEBUS_CA_FILE"

SUBSCRIPTIONS = "/Subscriptions/"
DEAD_LETTERS = "/$DeadLetterQueue"

# The library reads a link in turns of this many seconds. While a receive call waits for messages, the answer to a
# settlement that comes in its turn is noticed at the end of one: so this is what an ack takes on an idle link. A turn
# that brings nothing costs about 0.1 ms of processor time (measured), so 0.5 % at this length.
TURN = 0.02
# How long an attach waits for a session to become available, in seconds: the service's own longest is 65.
ACCEPT = 60.0


def connection_string(environ: Mapping[str, str]) -> str | None:
    """Return a local server's connection string from the environment, or None where there is none.

    Raises BindingError for one of a real namespace: those are reached by identities, never by keys.
    """
    text = environ.get(CONNECTION_STRING)
    if not text:
        return None
    parts = {
        name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in text.split(";"))
    }
    if parts.get("usedevelopmentemulator", "").lower() != "true":
        raise BindingError(
            f"{CONNECTION_STRING}: it doesn't say UseDevelopmentEmulator=true, so it is a real namespace's; polybus "
            "reaches those with DefaultAzureCredential and keeps no keys: unset it"
        )
    return text


class Sender:
    """One link to a topic or queue, and whose turn it is: the library can't send two batches at once on one link."""

    def __init__(self, link: ServiceBusSender) -> None:
        self.link = link
        self.turn = asyncio.Lock()
        self.batch_bytes = 0


class Clients:
    """What one driver connects with. A link of the library is a connection of its own, and opening one takes 0.5 s."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._connection_string = connection_string(os.environ)
        self._ca_file = os.environ.get(CA_FILE) if self._connection_string else None
        self._namespace = settings.get("namespace")
        if self._connection_string is None and not self._namespace:
            raise BindingError(
                f"the azure backend needs settings.namespace in the binding, the host name of the Service Bus "
                f"namespace, or a local server's {CONNECTION_STRING}"
            )
        self._bus: ServiceBusClient | None = None
        self._credential: Any = None
        self._administration: Any = None
        self._senders: dict[str, Sender] = {}
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def bus(self) -> ServiceBusClient:
        """The client; nothing is connected yet."""
        if self._bus is None:
            # The bus retries, per message and within the publisher's deadline (contract, P5).
            options: dict[str, Any] = {"retry_total": 0, "user_agent": "polybus"}
            if self._connection_string is not None:
                self._bus = ServiceBusClient.from_connection_string(self._connection_string, **options)
            else:
                self._bus = ServiceBusClient(str(self._namespace), self._identity(), **options)
        return self._bus

    @property
    def administration(self) -> Any:
        """The client of the management API, whose calls need the right to manage."""
        if self._administration is None:
            from azure.servicebus.aio.management import ServiceBusAdministrationClient

            if self._connection_string is not None:
                options = {"transport": _trusting(self._ca_file)} if self._ca_file else {}
                self._administration = ServiceBusAdministrationClient.from_connection_string(
                    self._connection_string, retry_total=0, **options
                )
            else:
                self._administration = ServiceBusAdministrationClient(
                    str(self._namespace), self._identity(), retry_total=0
                )
        return self._administration

    def _identity(self) -> Any:
        if self._credential is None:
            from azure.identity.aio import DefaultAzureCredential

            self._credential = DefaultAzureCredential()
        return self._credential

    # Links -----------------------------------------------------------------------------------------------------------

    async def sender(self, target: Entity) -> Sender:
        """Return the open sender to a topic or queue; it is shared, and closed with the driver."""
        async with self._opening:
            sender = self._senders.get(target.address)
            if sender is None:
                topic = target.kind is Kind.TOPIC
                link = self.bus.get_topic_sender(target.address) if topic else self.bus.get_queue_sender(target.address)
                await link.__aenter__()
                sender = Sender(link)
                sender.batch_bytes = (await link.create_message_batch()).max_size_in_bytes
                self._senders[target.address] = sender
            return sender

    def receiver(self, source: Entity, *, delete: bool = False) -> ServiceBusReceiver:
        """Return a receiver of a subscription, a queue or their dead letters, to be opened and closed by the caller."""
        return self._receiver(source, {}, delete=delete)

    def session(self, source: Entity, *, wait: float = ACCEPT, delete: bool = False) -> ServiceBusReceiver:
        """Return a receiver that, when opened, takes the next session that has messages and no owner.

        It waits `wait` seconds for one.
        """
        options = {"session_id": NEXT_AVAILABLE_SESSION, "max_wait_time": wait}
        return self._receiver(source, options, delete=delete)

    def _receiver(self, source: Entity, options: dict[str, Any], *, delete: bool) -> ServiceBusReceiver:
        options["socket_timeout"] = TURN
        options["receive_mode"] = (
            ServiceBusReceiveMode.RECEIVE_AND_DELETE if delete else ServiceBusReceiveMode.PEEK_LOCK
        )
        address = source.address
        if source.kind is Kind.DEAD_LETTERS:
            address = address.removesuffix(DEAD_LETTERS)
            options["sub_queue"] = ServiceBusSubQueue.DEAD_LETTER
        topic, divided, subscription = address.partition(SUBSCRIPTIONS)
        if divided:
            return self.bus.get_subscription_receiver(topic, subscription, **options)
        return self.bus.get_queue_receiver(address, **options)

    # Ending ----------------------------------------------------------------------------------------------------------

    def close_soon(self, link: Any) -> None:
        """Close a link without waiting for it: the library takes up to a second for it, most of it asleep."""
        task = asyncio.get_running_loop().create_task(_close(link))
        self.finish(task)

    def finish(self, task: asyncio.Task[Any]) -> None:
        """Let a task end by itself; `aclose` waits for it."""
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all links and clients."""
        for sender in self._senders.values():
            self.close_soon(sender.link)
        self._senders.clear()
        while self._closing:
            await asyncio.wait(self._closing)
        for client in (self._administration, self._bus, self._credential):
            if client is not None:
                await client.close()


def _trusting(ca_file: str) -> Any:
    """Return an HTTP transport that trusts a certificate; the management client takes one since 7.15.

    Raises BindingError where the file isn't there: as it is read with the first request, that would look like a
    namespace which can't be reached.
    """
    if not os.path.isfile(ca_file):
        raise BindingError(
            f"{CA_FILE}: {ca_file}: No such file or directory; it is a local server's, which has ended: "
            "`polybus local up --cloud azure`, and then `polybus local env` anew"
        )
    from azure.core.pipeline.transport import AioHttpTransport

    return AioHttpTransport(connection_verify=ca_file)


async def _close(link: Any) -> None:
    """Close a link; a connection that is broken already can't be closed in order, and needs not be."""
    import logging

    try:
        await link.close()
    except Exception as error:  # noqa: BLE001 - whatever breaks here, the link is not used any more
        logging.getLogger("polybus").debug("closing %s failed: %r", link, error)
