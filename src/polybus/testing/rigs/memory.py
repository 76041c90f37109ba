"""The rig of the backend in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from polybus.backends.embedded import DEFAULT_MAX_SIZE
from polybus.backends.memory import MemoryDriver, Store
from polybus.binding import Binding, Entity, Kind
from polybus.driver import Ack, Outgoing, Prepared
from polybus.message import Message
from polybus.plan.local import local_binding
from polybus.testing.rig import BaseRig
from polybus.topology.model import Topology

__all__ = ["MemoryRig"]


class MemoryRig(BaseRig):
    """A store of its own, which all drivers of the binding share."""

    name = "memory"
    max_message = DEFAULT_MAX_SIZE
    patience = 5.0

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()

    async def realise(self, topology: Topology) -> Binding:
        binding = local_binding(topology, backend="memory")
        return msgspec.structs.replace(binding, settings={"store": self.store})

    async def drop(self) -> None:
        """Do nothing: the store goes with the rig."""

    def check(self, topology: Topology) -> Sequence[str]:
        """Find nothing: what a topology can say, this backend can do."""
        return ()

    async def publish_foreign(
        self, target: Entity, body: bytes, attributes: Mapping[str, str], ordering_key: str | None
    ) -> None:
        """Put it into the store as it is; the store gives it an id, as a cloud does."""
        publisher = await MemoryDriver(self.store, self.clock).open_publisher(target)
        prepared = publisher.prepare(Outgoing(Message(body, attributes, ordering_key)))
        assert isinstance(prepared, Prepared)
        await publisher.publish_batch([prepared])

    async def receive_foreign(self, source: Entity) -> tuple[bytes, Mapping[str, str]]:
        assert source.kind is not Kind.TOPIC
        consumer = await MemoryDriver(self.store, self.clock).open_consumer(source, prefetch=1, concurrency=1)
        [received] = await consumer.receive_batch(1, wait=10.0)
        await consumer.settle_batch([Ack(received)])
        return received.message.body, received.message.attributes
