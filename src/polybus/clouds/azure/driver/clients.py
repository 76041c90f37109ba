"""azure-servicebus's clients, made once, the senders that publishers share, and the links that are being closed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceiveMode, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from polybus.binding import Entity, Kind
from polybus.clouds.azure.driver.bounds import ANSWER, CLOSE
from polybus.clouds.azure.driver.credentials import Identity
from polybus.clouds.azure.driver.leases import Skew
from polybus.clouds.azure.driver.links import Links, close
from polybus.clouds.azure.driver.network import CONNECTION_STRING, Network, connection_string
from polybus.clouds.azure.driver.senders import Sender
from polybus.errors import BindingError

__all__ = ["ACCEPT", "DEAD_LETTERS", "SUBSCRIPTIONS", "Clients", "Sender"]

SUBSCRIPTIONS = "/Subscriptions/"
DEAD_LETTERS = "/$DeadLetterQueue"

# The library reads a link in turns of this many seconds. While a receive call waits for messages, the answer to a
# settlement that comes in its turn is noticed at the end of one: so this is what an ack takes on an idle link. A turn
# that brings nothing costs about 0.1 ms of processor time (measured), so 0.5 % at this length.
TURN = 0.02
# How long an attach waits for a session to become available, in seconds: the service's own longest is 65. A dead
# connection is noticed where that is over, and each costs a new connection, which half a minute makes cheap.
ACCEPT = 30.0
# Longer than any call of ours that has an end of its own (bounds.py): what the library cleans up after that.
LAST_RESORT = ACCEPT + 2 * ANSWER
# The management API's calls, in seconds (azure-core's own: 300 each).
HTTP_TIMEOUTS = {"connection_timeout": ANSWER, "read_timeout": ANSWER}


class Clients:
    """What one driver connects with. A link of the library is a connection of its own: five exchanges to open one."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._connection_string = connection_string(os.environ)
        self._network = Network(settings, local=self._connection_string is not None)
        self._namespace = settings.get("namespace")
        if self._connection_string is None and not self._namespace:
            raise BindingError(
                f"the azure backend needs settings.namespace in the binding, the host name of the Service Bus "
                f"namespace, or a local server's {CONNECTION_STRING}"
            )
        self.links = Links()
        self.skew = Skew()
        self._bus: ServiceBusClient | None = None
        self._identity: Any = Identity()
        self._administration: Any = None
        self._senders: dict[str, Sender] = {}

    @property
    def bus(self) -> ServiceBusClient:
        """The client; nothing is connected yet."""
        if self._bus is None:
            # The bus retries, per message and within the publisher's deadline (contract, P5).
            options = {"retry_total": 0, "try_timeout": LAST_RESORT, "user_agent": "polybus", **self._network.amqp()}
            if self._connection_string is not None:
                self._bus = ServiceBusClient.from_connection_string(self._connection_string, **options)
            else:
                self._bus = ServiceBusClient(str(self._namespace), self._identity, **options)
        return self._bus

    @property
    def administration(self) -> Any:
        """The client of the management API, whose calls need the right to manage."""
        if self._administration is None:
            from azure.servicebus.aio.management import ServiceBusAdministrationClient

            options = {"retry_total": 0, **HTTP_TIMEOUTS, **self._network.management()}
            if self._connection_string is not None:
                self._administration = ServiceBusAdministrationClient.from_connection_string(
                    self._connection_string, **options
                )
            else:
                self._administration = ServiceBusAdministrationClient(str(self._namespace), self._identity, **options)
        return self._administration

    # Links -----------------------------------------------------------------------------------------------------------

    async def sender(self, target: Entity) -> Sender:
        """Return the open sender to a topic or queue; it is shared, and closed with the driver."""
        sender = self._senders.get(target.address)
        if sender is None:
            sender = Sender(target.name, lambda: self._sender(target), self.links)
            self._senders[target.address] = sender
        await sender.open()
        return sender

    def _sender(self, target: Entity) -> ServiceBusSender:
        if target.kind is Kind.TOPIC:
            return self.bus.get_topic_sender(target.address)
        return self.bus.get_queue_sender(target.address)

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
        if self._network.turns:
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

    async def aclose(self) -> None:
        """Close all links and clients; those that don't answer are left to themselves after some seconds."""
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()
        await self.links.aclose()
        clients = [client for client in (self._administration, self._bus, self._identity) if client is not None]
        await asyncio.gather(*(close(client, CLOSE / 2) for client in clients))
