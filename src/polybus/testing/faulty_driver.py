"""A driver around any other, that breaks what its `faults` say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polybus.binding import Entity
from polybus.clock import Clock
from polybus.driver import (
    AdminDriver,
    BatchLimits,
    ConsumerDriver,
    Driver,
    LeaseUntil,
    Outgoing,
    Peeked,
    Prepared,
    PublisherDriver,
    Received,
    Settlement,
    Stats,
)
from polybus.errors import Fault, FaultKind
from polybus.feature import Feature
from polybus.message import Sent
from polybus.testing.faults import CRASHED, Faults, InjectedFault, Operation, Try

__all__ = ["FaultyDriver"]


class FaultyDriver:
    """Forwards to `inner`, keeps a record and breaks what a test asks for, through `faults`."""

    def __init__(self, inner: Driver, clock: Clock, faults: Faults | None = None) -> None:
        self.inner = inner
        self.faults = faults or Faults(clock)

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        return _Publisher(await self.inner.open_publisher(target), self.faults)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        inner = await self.inner.open_consumer(source, prefetch=prefetch, concurrency=concurrency)
        return _Consumer(inner, self.faults)

    async def open_admin(self) -> AdminDriver:
        return _Admin(await self.inner.open_admin(), self.faults)

    def features(self, entity: Entity) -> Feature:
        return self.inner.features(entity)

    def fault(self, error: Exception) -> Fault:
        return error.fault if isinstance(error, InjectedFault) else self.inner.fault(error)

    def raw(self, entity: Entity) -> object:
        return self.inner.raw(entity)

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Admin:
    def __init__(self, inner: AdminDriver, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def ping(self) -> None:
        await self._inner.ping()

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        return await self._inner.describe(entity)

    async def stats(self, entity: Entity) -> Stats:
        return await self._inner.stats(entity)

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        return await self._inner.peek(entity, count, after)

    async def purge(self, entity: Entity) -> int | None:
        return await self._inner.purge(entity)

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        return _Publisher(await self._inner.open_return(source), self._faults)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Publisher:
    def __init__(self, inner: PublisherDriver[Any], faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    @property
    def limits(self) -> BatchLimits:
        return self._inner.limits

    def prepare(self, outgoing: Outgoing) -> Prepared[Any] | Fault:
        self._faults.prepared.append(outgoing.message.id)
        return self._inner.prepare(outgoing)

    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        if self._faults.is_severed():
            raise InjectedFault(Fault(FaultKind.UNAVAILABLE, CRASHED.detail))
        call = self._faults.calls[Operation.PUBLISH] + 1
        now = self._faults.clock.monotonic()
        self._faults.tries += [Try(prepared.outgoing.message.id, now, call) for prepared in batch]
        return await self._faults.run(
            Operation.PUBLISH, batch, lambda prepared: prepared.outgoing.message, self._inner.publish_batch
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Consumer:
    def __init__(self, inner: ConsumerDriver[Any], faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    @property
    def limits(self) -> BatchLimits:
        return self._inner.limits

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
        await self._faults.begin(Operation.RECEIVE)
        received = await self._faults.held(Operation.RECEIVE, await self._inner.receive_batch(count, wait=wait))
        if self._faults.is_severed():
            return ()
        self._faults.note_received(received)
        return received

    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        if self._faults.is_severed():
            return [CRASHED] * len(settlements)
        answers = await self._faults.run(
            Operation.SETTLE, settlements, lambda settlement: settlement.received.message, self._inner.settle_batch
        )
        for settlement, answer in zip(settlements, answers, strict=True):
            self._faults.note_settled(settlement, answer)
        return answers

    async def extend_batch(self, received: Sequence[Received[Any]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        if self._faults.is_severed():
            return [CRASHED] * len(received)
        answers = await self._faults.run(
            Operation.EXTEND,
            received,
            lambda each: each.message,
            lambda passing: self._inner.extend_batch(passing, seconds),
        )
        for each, answer in zip(received, answers, strict=True):
            self._faults.note_extended(each, answer)
        return answers

    async def stop(self) -> Sequence[Received[Any]]:
        self._faults.stopped += 1
        buffered = await self._inner.stop()
        if self._faults.is_severed():
            return ()
        self._faults.note_received(buffered)
        return buffered

    async def aclose(self) -> None:
        await self._inner.aclose()
