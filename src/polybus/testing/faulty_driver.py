"""A driver around any other, that breaks what its `faults` say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from polybus.binding import Entity
from polybus.clock import Clock
from polybus.driver import (
    AdminDriver,
    ConsumerDriver,
    Driver,
    LeaseUntil,
    Outgoing,
    Prepared,
    PublisherDriver,
    Received,
    Settlement,
)
from polybus.errors import Fault, FaultKind
from polybus.message import Sent
from polybus.testing.faults import CRASHED, Faults, InjectedFault, Operation, Try
from polybus.testing.proxy import AdminProxy, ConsumerProxy, DriverProxy, PublisherProxy

__all__ = ["FaultyDriver"]


class FaultyDriver(DriverProxy):
    """Forwards to `inner`, keeps a record and breaks what a test asks for, through `faults`."""

    def __init__(self, inner: Driver, clock: Clock) -> None:
        super().__init__(inner)
        self.faults = Faults(clock)

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        return await self.faults.call(Operation.OPEN, partial(super().open_publisher, target))

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        opening = partial(super().open_consumer, source, prefetch=prefetch, concurrency=concurrency)
        return await self.faults.call(Operation.OPEN, opening)

    def publisher(self, inner: PublisherDriver[Any], target: Entity) -> PublisherDriver[Any]:
        return _Publisher(inner, self.faults)

    def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
        return _Consumer(inner, self.faults, source)

    def admin(self, inner: AdminDriver) -> AdminDriver:
        return _Admin(inner, self.faults)

    def fault(self, error: Exception) -> Fault:
        if self.faults.garbled:
            raise KeyError(type(error))
        return error.fault if isinstance(error, InjectedFault) else self.inner.fault(error)


class _Admin(AdminProxy):
    def __init__(self, inner: AdminDriver, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        return _Publisher(await self.inner.open_return(source), self._faults)


class _Publisher(PublisherProxy):
    def __init__(self, inner: PublisherDriver[Any], faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults

    def prepare(self, outgoing: Outgoing) -> Prepared[Any] | Fault:
        self._faults.prepared.append(outgoing.message.id)
        return self.inner.prepare(outgoing)

    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        if self._faults.is_severed():
            raise InjectedFault(Fault(FaultKind.UNAVAILABLE, CRASHED.detail))
        call = self._faults.calls[Operation.PUBLISH] + 1
        now = self._faults.clock.monotonic()
        self._faults.tries += [Try(prepared.outgoing.message.id, now, call) for prepared in batch]
        return await self._faults.run(
            Operation.PUBLISH, batch, lambda prepared: prepared.outgoing.message, self.inner.publish_batch
        )

    async def aclose(self) -> None:
        await self._faults.call(Operation.CLOSE, self.inner.aclose)


class _Consumer(ConsumerProxy):
    def __init__(self, inner: ConsumerDriver[Any], faults: Faults, source: Entity) -> None:
        super().__init__(inner)
        self._source = source.address
        self._faults = faults

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        call = object()
        self._faults.receiving[call] = self._faults.clock.monotonic()
        try:
            return await self._receive(count, wait)
        finally:
            del self._faults.receiving[call]

    async def _receive(self, count: int, wait: float) -> Sequence[Received[Any]]:
        if self._faults.is_severed():
            await self._faults.clock.sleep(wait)
            return ()

        async def receive() -> Sequence[Received[Any]]:
            received = await self.inner.receive_batch(count, wait=wait)
            self._faults.note_copies(received, self._source)
            return received

        received = await self._faults.call(Operation.RECEIVE, receive)
        if self._faults.is_severed():
            return ()
        self._faults.note_received(received)
        return received

    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        if self._faults.is_severed():
            return [CRASHED] * len(settlements)
        self._faults.asked += settlements
        answers = await self._faults.run(
            Operation.SETTLE, settlements, lambda settlement: settlement.received.message, self.inner.settle_batch
        )
        for settlement, answer in zip(settlements, answers, strict=False):  # fewer, where a test asked for it
            self._faults.note_settled(settlement, answer)
        return answers

    async def extend_batch(self, received: Sequence[Received[Any]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        if self._faults.is_severed():
            return [CRASHED] * len(received)
        answers = await self._faults.run(
            Operation.EXTEND,
            received,
            lambda each: each.message,
            lambda passing: self.inner.extend_batch(passing, seconds),
        )
        for each, answer in zip(received, answers, strict=False):
            self._faults.note_extended(each, answer)
        return answers

    async def stop(self) -> Sequence[Received[Any]]:
        self._faults.stopped += 1
        buffered = await self._faults.call(Operation.STOP, self.inner.stop)
        if self._faults.is_severed():
            return ()
        self._faults.note_copies(buffered, self._source)
        self._faults.note_received(buffered)
        return buffered

    async def aclose(self) -> None:
        await self._faults.call(Operation.CLOSE, self.inner.aclose)
