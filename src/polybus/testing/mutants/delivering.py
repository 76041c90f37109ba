"""Mutants of the clauses on delivering."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock
from polybus.driver import (
    Ack,
    AdminDriver,
    ConsumerDriver,
    Driver,
    LeaseUntil,
    Nack,
    Outgoing,
    Peeked,
    Prepared,
    PublisherDriver,
    Received,
    Settlement,
    ToDeadLetters,
)
from polybus.errors import Fault
from polybus.testing.mutants.mutant import Bend, Mutant
from polybus.testing.proxy import AdminProxy, ConsumerProxy, DriverProxy, PublisherProxy
from polybus.topology.filters import parse

__all__ = ["DELIVERING"]


class _Consumer(ConsumerProxy):
    def __init__(self, inner: ConsumerDriver[Any], source: Entity, clock: Clock) -> None:
        super().__init__(inner)
        self.source = source
        self.clock = clock
        self.stopped = False

    async def stop(self) -> Sequence[Received[Any]]:
        self.stopped = True
        return await self.inner.stop()

    async def settle_only(
        self, settlements: Sequence[Settlement[Any]], keep: Callable[[Settlement[Any]], bool]
    ) -> Sequence[Fault | None]:
        """Forward those that pass, and say of the others that they are done."""
        kept = [each for each in settlements if keep(each)]
        answers = iter(await self.inner.settle_batch(kept) if kept else ())
        return [next(answers) if keep(each) else None for each in settlements]


def _consuming(proxy: type[_Consumer]) -> Bend:
    def bend(driver: Driver, clock: Clock) -> Driver:
        class Bent(DriverProxy):
            def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
                return proxy(inner, source, clock)

        return Bent(driver)

    return bend


def _operating(proxy: type[AdminProxy]) -> Bend:
    class Bent(DriverProxy):
        def admin(self, inner: AdminDriver) -> AdminDriver:
            return proxy(inner)

    return lambda driver, clock: Bent(driver)


class _ForgetsNacks(_Consumer):
    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return await self.settle_only(settlements, lambda each: not isinstance(each, Nack))


class _ForgetsAcks(_Consumer):
    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return await self.settle_only(settlements, lambda each: not isinstance(each, Ack))


class _ForgetsExtensions(_Consumer):
    async def extend_batch(self, received: Sequence[Received[Any]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        return [LeaseUntil(self.clock.monotonic() + seconds)] * len(received)


class _BelievesInEndlessLeases(_Consumer):
    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        batch = await self.inner.receive_batch(count, wait=wait)
        return [msgspec.structs.replace(each, lease_until=math.inf) for each in batch]


class _IgnoresDelays(_Consumer):
    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return await self.inner.settle_batch(
            [Nack(each.received) if isinstance(each, Nack) else each for each in settlements]
        )


class _CountsNothing(_Consumer):
    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        batch = await self.inner.receive_batch(count, wait=wait)
        return [msgspec.structs.replace(each, attempt=1) for each in batch]


class _BuriesNothing(_Consumer):
    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return await self.inner.settle_batch(
            [Ack(each.received) if isinstance(each, ToDeadLetters) else each for each in settlements]
        )


class _BuriesWithoutReason(_Consumer):
    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return await self.inner.settle_batch(
            [
                ToDeadLetters(each.received, "Failed") if isinstance(each, ToDeadLetters) else each
                for each in settlements
            ]
        )


class _RetriesWhatDoesNotDecode(_Consumer):
    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return await self.inner.settle_batch(
            [
                Nack(each.received) if isinstance(each, ToDeadLetters) and each.reason == "DecodeError" else each
                for each in settlements
            ]
        )


class _LosesLettersAttributes(AdminProxy):
    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        peeked = await self.inner.peek(entity, count, after)
        for each in peeked:
            object.__setattr__(each, "message", msgspec.structs.replace(each.message, attributes={}))
        return peeked


class _FiltersItself(_Consumer):
    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        batch = await self.inner.receive_batch(count, wait=wait)
        text = WANTED.get(self.source.name)
        passing = [each for each in batch if text is None or parse(text).matches(each.message.attributes)]
        await self.inner.settle_batch([Ack(each) for each in batch if each not in passing])
        return passing


class _SharesLeases(_Consumer):
    """What one consumer holds, the next gets too."""

    held: ClassVar[dict[str, list[tuple[ConsumerProxy, Received[Any]]]]] = {}

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        held = self.held.setdefault(self.source.address, [])
        others = [each for owner, each in held if owner is not self]
        if others:
            held[:] = [(owner, each) for owner, each in held if owner is self]
            return others
        batch = await self.inner.receive_batch(count, wait=wait)
        held += [(self, each) for each in batch]
        return batch


class _KeepsNoOrder(_Consumer):
    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        batch = await self.inner.receive_batch(count, wait=wait)
        return [msgspec.structs.replace(each, group=None) for each in batch]


class _KeepsWhatItHolds(_Consumer):
    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return await self.settle_only(settlements, lambda each: not (self.stopped and isinstance(each, Nack)))


class _DropsTheLastReceive(_Consumer):
    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        batch = await self.inner.receive_batch(count, wait=wait)
        return () if self.stopped else batch


class _ReturnsToEveryone(DriverProxy):
    def admin(self, inner: AdminDriver) -> AdminDriver:
        driver = self.inner

        class Bent(AdminProxy):
            async def open_return(self, source: Entity) -> PublisherDriver[Any]:
                if source.topic is None:
                    return await self.inner.open_return(source)
                topic = msgspec.structs.replace(source, kind=Kind.TOPIC, name=source.topic, address=source.topic)
                return await driver.open_publisher(topic)

        return Bent(inner)


class _ForgetsMoves(PublisherProxy):
    def prepare(self, outgoing: Outgoing) -> Prepared[Any] | Fault:
        return self.inner.prepare(msgspec.structs.replace(outgoing, moves=0))


class _ReturnsUnderTheSameId(AdminProxy):
    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        return _ForgetsMoves(await self.inner.open_return(source))


class _RejectsForeigners(_Consumer):
    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        batch = await self.inner.receive_batch(count, wait=wait)
        foreign = [each for each in batch if each.message.content_type is None]
        await self.inner.settle_batch([ToDeadLetters(each, "NotOurs") for each in foreign])
        return [each for each in batch if each.message.content_type is not None]


WANTED: dict[str, str] = {}


def _unfiltered(binding: Binding) -> Binding:
    WANTED.update({name: each.filter for name, each in binding.subscriptions.items() if each.filter is not None})
    open_ones = {name: msgspec.structs.replace(each, filter=None) for name, each in binding.subscriptions.items()}
    return msgspec.structs.replace(binding, subscriptions=open_ones)


def _everlasting(binding: Binding) -> Binding:
    queues = {name: msgspec.structs.replace(each, retention=1e9) for name, each in binding.queues.items()}
    return msgspec.structs.replace(binding, queues=queues)


DELIVERING = (
    Mutant("D1", "what is nacked stays leased", store=_consuming(_ForgetsNacks)),
    Mutant("D1", "messages never expire", binding=_everlasting),
    Mutant("D2", "leases are not extended", store=_consuming(_ForgetsExtensions)),
    Mutant("D2", "the loss of a lease is not noticed", bus=_consuming(_BelievesInEndlessLeases)),
    Mutant("D3", "acks are forgotten", store=_consuming(_ForgetsAcks)),
    Mutant("D4", "delays of nacks are dropped", store=_consuming(_IgnoresDelays)),
    Mutant("D5", "attempts are not counted", store=_consuming(_CountsNothing)),
    Mutant("D6", "what fails too often is dropped", store=_consuming(_BuriesNothing)),
    Mutant("D6", "dead letters lose their attributes", store=_operating(_LosesLettersAttributes)),
    Mutant("D7", "the reason is lost", store=_consuming(_BuriesWithoutReason)),
    Mutant("D8", "filters pass everything", binding=_unfiltered),
    Mutant("D8", "the consumer filters", bus=_consuming(_FiltersItself), binding=_unfiltered),
    Mutant("D9", "two consumers hold one message", store=_consuming(_SharesLeases)),
    Mutant("D10", "messages of a key are handed out together", bus=_consuming(_KeepsNoOrder)),
    Mutant("D11", "what doesn't decode is retried for ever", store=_consuming(_RetriesWhatDoesNotDecode)),
    Mutant("D12", "a drain keeps what it holds", store=_consuming(_KeepsWhatItHolds)),
    Mutant("D12", "a drain drops what a receive call brings", bus=_consuming(_DropsTheLastReceive)),
    Mutant("D13", "redrive publishes to every subscription", store=lambda driver, clock: _ReturnsToEveryone(driver)),
    Mutant("D13", "redrive repeats the dedup id", store=_operating(_ReturnsUnderTheSameId)),
    Mutant("D14", "what has no polybus attributes is rejected", store=_consuming(_RejectsForeigners)),
)
