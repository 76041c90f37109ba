"""The rig of the Google backend: google-cloud-pubsub, against the local Pub/Sub server in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import grpc
import msgspec
from google.api_core import exceptions as google
from google.auth import exceptions as auth
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from polybus.binding import Binding, Entity, Kind
from polybus.clouds.gcp.limits import GCP
from polybus.clouds.gcp.local import realise
from polybus.clouds.gcp.plan.resources import GcpPlan, GcpSettings, plan
from polybus.errors import FaultKind
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import ThreadedServer
from polybus.plan.check import check
from polybus.testing.rig import BaseRig, Late, Refusal
from polybus.topology.model import Topology

PROJECT = "conformance"

# Seconds after which a look at dead letters finds none: this server hands over at once whatever it has.
LOOK = 2.0


class GcpRig(BaseRig):
    name = "gcp"
    refuses = frozenset(Refusal)
    max_message = GCP.default_message_bytes

    letters_are_copies = True
    foreign_attributes = MappingProxyType({"awsRequestId": "1", "content:type": "x", "with space": "y"})
    foreign_key = "customer 7"

    def __init__(self) -> None:
        super().__init__()
        self._server: ThreadedServer | None = None
        self._channel: grpc.Channel | None = None

    async def start(self) -> str:
        """Start the server; return its HOST:PORT."""
        server = PubsubServer(clock=self.clock, project=PROJECT)
        self._server = ThreadedServer(server)
        self._server.start()
        return f"{server.host}:{server.port}"

    def plan(self, topology: Topology) -> GcpPlan:
        """Plan what `realise` makes."""
        return plan(topology, GcpSettings(project=PROJECT))

    async def realise(self, topology: Topology) -> Binding:
        endpoint = await self.start()
        self._channel = grpc.insecure_channel(endpoint)
        planned = self.plan(topology)
        made = await asyncio.to_thread(realise, planned, endpoint=endpoint, project=PROJECT)
        return msgspec.structs.replace(made, settings={**made.settings, "endpoint": endpoint, "look": LOOK})

    async def drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
        await self.end()

    async def end(self) -> None:
        """Stop the server."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    def check(self, topology: Topology) -> Sequence[str]:
        return [f"{finding.path}: {finding.found}" for finding in check(topology, "gcp") if finding.severity == "error"]

    def late(self, source: Entity) -> Late:
        """Say what Google's guide says of ack ids: their end is kept to on exactly-once subscriptions alone."""
        return Late.MAY_WORK

    def errors(self) -> Sequence[tuple[Exception, FaultKind]]:
        return (
            (google.ServiceUnavailable("down"), FaultKind.UNAVAILABLE),
            (google.DeadlineExceeded("late"), FaultKind.TIMEOUT),
            (google.ResourceExhausted("quota"), FaultKind.THROTTLED),
            (google.InternalServerError("oops"), FaultKind.INTERNAL),
            (google.Aborted("conflict"), FaultKind.UNAVAILABLE),
            (google.NotFound("no such topic"), FaultKind.NOT_FOUND),
            (google.PermissionDenied("no"), FaultKind.DENIED),
            (google.Unauthenticated("who"), FaultKind.UNAUTHENTICATED),
            (google.InvalidArgument("bad"), FaultKind.INVALID),
            (auth.TransportError("no route"), FaultKind.UNAVAILABLE),
            (auth.DefaultCredentialsError("none found"), FaultKind.UNAUTHENTICATED),
        )

    def astray(self, binding: Binding) -> Binding:
        return msgspec.structs.replace(binding, settings={**binding.settings, "endpoint": "127.0.0.1:1"})

    def publisher(self) -> PublisherClient:
        return PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))

    def subscriber(self) -> SubscriberClient:
        return SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))

    async def publish_foreign(
        self, target: Entity, body: bytes, attributes: Mapping[str, str], ordering_key: str | None
    ) -> None:
        topic = target.address if target.kind is Kind.TOPIC else target.options["topic"]
        client = self.publisher()
        message: dict[str, Any] = {"data": body, "attributes": dict(attributes), "ordering_key": ordering_key or ""}
        await asyncio.to_thread(client.publish, request={"topic": topic, "messages": [message]})

    async def receive_foreign(self, source: Entity) -> tuple[bytes, Mapping[str, str]]:
        client = self.subscriber()

        def receive() -> tuple[bytes, Mapping[str, str]]:
            found = client.pull(subscription=source.address, max_messages=1, timeout=self.patience)
            [received] = found.received_messages
            client.acknowledge(subscription=source.address, ack_ids=[received.ack_id])
            return received.message.data, dict(received.message.attributes)

        return await asyncio.to_thread(receive)
