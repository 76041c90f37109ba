"""The rig of the Azure backend: azure-servicebus, against the local Service Bus server in a thread of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from azure.core import exceptions as core
from azure.servicebus import ServiceBusMessage
from azure.servicebus import exceptions as bus
from azure.servicebus.aio import ServiceBusClient

from polybus.binding import Binding, Entity, Kind
from polybus.clouds.azure.limits import AZURE
from polybus.clouds.azure.local import realise
from polybus.clouds.azure.plan.resources import AzureSettings, plan
from polybus.errors import FaultKind
from polybus.localcloud.server import ThreadedServer
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.plan.check import check
from polybus.testing.rig import BaseRig, Refusal
from polybus.topology.model import Topology


class AzureRig(BaseRig):
    name = "azure"
    refuses = frozenset({Refusal.ORDERED_TOPIC, Refusal.ORDERED_QUEUE})
    max_message = AZURE.default_message_bytes

    letters_expire = False  # Service Bus keeps them until someone removes them
    letters_keep_time = False  # it moves them itself, and stamps them anew
    foreign_attributes = MappingProxyType({"awsRequestId": "1", "content:type": "x", "with space": "y"})
    foreign_key = "customer 7"

    def __init__(self) -> None:
        super().__init__()
        self._server: ThreadedServer | None = None
        self._connection_string = ""

    async def realise(self, topology: Topology) -> Binding:
        server = ServiceBusServer(clock=self.clock)
        self._server = ThreadedServer(server)
        self._server.start()
        os.environ.update(server.env())
        self._connection_string = server.connection_string()
        return await asyncio.to_thread(
            realise,
            plan(topology, AzureSettings()),
            connection_string=self._connection_string,
            ca_file=server.certificate,
        )

    async def drop(self) -> None:
        if self._server is not None:
            for name in self._server.server.env():
                os.environ.pop(name, None)
            await asyncio.to_thread(self._server.stop)

    def check(self, topology: Topology) -> Sequence[str]:
        findings = check(topology, "azure")
        return [f"{finding.path}: {finding.found}" for finding in findings if finding.severity == "error"]

    def deduplicates(self, target: Entity) -> bool:
        return True

    def errors(self) -> Sequence[tuple[Exception, FaultKind]]:
        return (
            (bus.MessageLockLostError(), FaultKind.LEASE_LOST),
            (bus.SessionLockLostError(), FaultKind.LEASE_LOST),
            (bus.ServiceBusServerBusyError(), FaultKind.THROTTLED),
            (bus.ServiceBusQuotaExceededError(), FaultKind.THROTTLED),
            (bus.MessagingEntityNotFoundError(), FaultKind.NOT_FOUND),
            (bus.ServiceBusAuthorizationError(), FaultKind.DENIED),
            (bus.ServiceBusAuthenticationError(), FaultKind.UNAUTHENTICATED),
            (bus.MessageSizeExceededError(), FaultKind.TOO_LARGE),
            (bus.OperationTimeoutError(), FaultKind.TIMEOUT),
            (bus.ServiceBusConnectionError(), FaultKind.UNAVAILABLE),
            (core.ServiceRequestError("no route"), FaultKind.UNAVAILABLE),
            (ConnectionResetError(104, "Connection reset by peer"), FaultKind.UNAVAILABLE),
        )

    def client(self) -> ServiceBusClient:
        return ServiceBusClient.from_connection_string(self._connection_string)

    async def publish_foreign(
        self, target: Entity, body: bytes, attributes: Mapping[str, str], ordering_key: str | None
    ) -> None:
        message = ServiceBusMessage(
            body, application_properties=dict[str | bytes, Any](attributes.items()) or None, session_id=ordering_key
        )
        async with self.client() as client:
            topic = target.kind is Kind.TOPIC
            sender = client.get_topic_sender(target.address) if topic else client.get_queue_sender(target.address)
            async with sender:
                await sender.send_messages(message)

    async def receive_foreign(self, source: Entity) -> tuple[bytes, Mapping[str, str]]:
        async with (
            self.client() as client,
            client.get_queue_receiver(source.address) as receiver,
        ):
            [message] = await receiver.receive_messages(max_message_count=1, max_wait_time=10)
            await receiver.complete_message(message)
            found = message.application_properties or {}
            attributes = {_text(name): _text(value) for name, value in found.items()}
            return b"".join(message.body), attributes


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
