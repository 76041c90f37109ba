"""A backend on the base classes, over the store in memory: it can only poll, and buries by a copy."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec

from polybus.backend import BaseDriver, BasePublisher, Letter, Polled, PollingConsumer
from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.driver import BatchLimits, Nack, Outgoing, Peeked, Prepared, Received, Stats
from polybus.embedded.memory import Store
from polybus.embedded.memory.lines import Entry
from polybus.embedded.memory.source import Source
from polybus.embedded.memory.store import Topic
from polybus.embedded.rules import DEFAULT_MAX_SIZE, features
from polybus.errors import Fault, FaultKind
from polybus.feature import Feature
from polybus.message import Message, Sent
from polybus.testing.rigs import MemoryRig
from polybus.topology.model import Topology

__all__ = ["PolledRig"]

Receipt = tuple[Entry, int]
LOST = Fault(FaultKind.LEASE_LOST, "its lease is over, and it comes again")


class PolledRig(MemoryRig):
    """The topology of the suite in a store of its own, reached by the driver here."""

    name = "polled"  # what is measured of it is not noted as the memory backend's
    foreign_attributes = MappingProxyType({"awsRequestId": "1", "content:type": "x"})
    foreign_key = "customer 7"

    async def realise(self, topology: Topology) -> Binding:
        self.made = await super().realise(topology)
        return self.made

    def driver(self, binding: Binding) -> PolledDriver:
        return PolledDriver(binding, self.clock)

    def deduplicates(self, target: Entity) -> bool:
        return False

    async def publish_foreign(
        self, target: Entity, body: bytes, attributes: Mapping[str, str], ordering_key: str | None
    ) -> None:
        """Publish as what moves: with any names and any key, and here without an id."""
        publisher = await self.driver(self.made).open_publisher(target, returns=True)
        prepared = publisher.prepare(Outgoing(Message(body, attributes, ordering_key)))
        assert isinstance(prepared, Prepared), prepared
        await publisher.publish_batch([prepared])

    def errors(self) -> Sequence[tuple[Exception, FaultKind]]:
        return (
            (Refused("4"), FaultKind.DENIED),
            (Refused("9"), FaultKind.THROTTLED),
            (ConnectionResetError("reset"), FaultKind.UNAVAILABLE),
            (TimeoutError(), FaultKind.TIMEOUT),
        )


class Refused(ConnectionError):
    """As an SDK's own errors are: of a type, some with a code."""


class PolledDriver(BaseDriver):
    name = "memory"
    faults: ClassVar[Mapping[type[BaseException], FaultKind]] = {Refused: FaultKind.DENIED}
    codes: ClassVar[Mapping[str, FaultKind]] = {"9": FaultKind.THROTTLED}

    def __init__(self, binding: Binding, clock: Clock) -> None:
        super().__init__(binding, clock)
        self.store: Store = binding.settings["store"]
        self.store.attach(binding)

    async def open_publisher(self, target: Entity, *, returns: bool = False) -> Publisher:
        there = self.store.topic(target) if target.kind is Kind.TOPIC else self.store.source(target)
        return Publisher(self, target, there, returns=returns)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> Consumer:
        return Consumer(self, source)

    def features(self, entity: Entity) -> Feature:
        return features(entity)

    def code(self, error: Exception) -> str | None:
        return str(error) if isinstance(error, Refused) else None

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        await self.stats(entity)
        return {"address": entity.address}

    async def stats(self, entity: Entity) -> Stats:
        if entity.kind is Kind.TOPIC:
            self.store.topic(entity)
            return Stats()
        return self.store.source(entity).stats(self.clock.monotonic())

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        return self.store.source(entity).peek(count, int(after or 0), self.clock.monotonic())

    async def purge(self, entity: Entity) -> int | None:
        return self.store.source(entity).purge(self.clock.monotonic())


class Publisher(BasePublisher[Message]):
    limits = BatchLimits(count=20, total_bytes=2 * DEFAULT_MAX_SIZE)
    max_size = DEFAULT_MAX_SIZE

    def __init__(self, driver: PolledDriver, target: Entity, to: Topic | Source, *, returns: bool) -> None:
        super().__init__(driver, target, returns=returns)
        self.to = to

    def encode(self, outgoing: Outgoing) -> tuple[Message, int] | Fault:
        message = outgoing.message
        size = len(message.body) + len(message.ordering_key or "")
        size += sum(len(name) + len(value.encode()) for name, value in message.attributes.items())
        identity = message.id or str(uuid.uuid4())
        return msgspec.structs.replace(message, attributes=dict(message.attributes), id=identity), size

    async def publish_batch(self, batch: Sequence[Prepared[Message]]) -> Sequence[Sent | Fault]:
        for each in batch:
            self.publish(each.wire, each.outgoing)
        return [Sent(each.wire.id) for each in batch]

    def publish(self, message: Message, outgoing: Outgoing) -> None:
        now, at = self.clock.monotonic(), self.clock.time()
        if not self.returns or message.published_at is None:
            message = msgspec.structs.replace(message, published_at=at)
        if isinstance(self.to, Topic):
            found = [
                source
                for source, passes in self.to.subscriptions
                if passes is None or passes.matches(message.attributes)
            ]
        else:
            found = [self.to]
        for source in found:
            entry = source.add(message, now, at, outgoing.delay, outgoing.moves)
            if isinstance(outgoing, Letter):
                entry.reason, entry.description = outgoing.reason, outgoing.description
            source.wake()

    @property
    def clock(self) -> Clock:
        return self.driver.clock


class Consumer(PollingConsumer[Receipt]):
    limits = BatchLimits(count=20, total_bytes=DEFAULT_MAX_SIZE)

    def __init__(self, driver: PolledDriver, source: Entity) -> None:
        super().__init__(driver, source)
        self.there = driver.store.source(source)

    async def poll(self, count: int) -> tuple[Sequence[Polled[Receipt]], float | None]:
        now = self.clock.monotonic()
        taken = [self.polled(entry, entry.lease - now) for entry in self.there.take(count, now, self.clock.time())]
        if self.there.line:
            self.there.wake()
        await asyncio.sleep(0)  # as the way to a server takes, in which anything may be called
        if taken:
            return taken, None
        waiter = self.there.wait(now + 3600.0)
        self.there.leave(waiter)
        return [], waiter.due - now

    def polled(self, entry: Entry, lease: float) -> Polled[Receipt]:
        why = (entry.reason, entry.description)
        receipt = (entry, entry.claim)
        return Polled(entry.message, receipt, entry.attempt, entry.moves, *why, str(entry.seq), lease=lease)

    async def wait(self, seconds: float) -> None:
        waiter = self.there.wait(self.clock.monotonic() + seconds)
        try:
            if not self.there.line:  # else it came since the poll
                await waiter.future
        finally:
            self.there.leave(waiter)

    async def ack(self, received: Sequence[Received[Receipt]]) -> Sequence[Fault | None]:
        return [self.settle(each, self.there.ack) for each in received]

    async def nack(self, nacks: Sequence[Nack[Receipt]]) -> Sequence[Fault | None]:
        now = self.clock.monotonic()
        return [
            self.settle(each.received, lambda entry, of=each: self.there.nack(entry, of.delay, of.attempts, now))
            for each in nacks
        ]

    def settle(self, received: Received[Receipt], how: Any) -> Fault | None:
        if not self.holds(received):
            return LOST
        how(received.receipt[0])
        if self.there.line:
            self.there.wake()
        return None

    def holds(self, received: Received[Receipt]) -> bool:
        return self.there.holds(*received.receipt, self.clock.monotonic())

    async def extend(self, received: Sequence[Received[Receipt]], seconds: float) -> Sequence[float | Fault]:
        good = [self.holds(each) for each in received]
        entries = [each.receipt[0] for each, ok in zip(received, good, strict=True) if ok]
        self.there.extend(entries, self.clock.monotonic() + seconds)
        return [seconds if ok else LOST for ok in good]
