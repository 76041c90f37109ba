"""Mutants of the clauses on publishing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import msgspec

from polybus.binding import Entity
from polybus.bus.publisher import Publisher
from polybus.bus.retry import RetryPolicy
from polybus.clock import Clock
from polybus.driver import Driver, Outgoing, Prepared, PublisherDriver
from polybus.errors import Fault, FaultKind
from polybus.message import Sent
from polybus.testing.mutants.editing import edit
from polybus.testing.mutants.mutant import Bend, Mutant
from polybus.testing.proxy import DriverProxy, PublisherProxy

__all__ = ["PUBLISHING"]


def _bend(proxy: type[PublisherProxy]) -> Bend:
    class Bent(DriverProxy):
        def publisher(self, inner: PublisherDriver[Any], target: Entity) -> PublisherDriver[Any]:
            return proxy(inner)

    def bend(driver: Driver, clock: Clock) -> Driver:
        return Bent(driver)

    return bend


class _Forgets(PublisherProxy):
    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        return [Sent(prepared.outgoing.message.id) for prepared in batch]


class _AnswersEarly(PublisherProxy):
    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        self._later = asyncio.create_task(_quietly(self.inner, batch))
        return [Sent(prepared.outgoing.message.id) for prepared in batch]


async def _quietly(inner: PublisherDriver[Any], batch: Sequence[Prepared[Any]]) -> None:
    await inner.publish_batch(batch)


class _FailsTogether(PublisherProxy):
    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        outcomes = await self.inner.publish_batch(batch)
        faults = [outcome for outcome in outcomes if isinstance(outcome, Fault)]
        return faults[:1] * len(batch) if faults else outcomes


class _Strips(PublisherProxy):
    def prepare(self, outgoing: Outgoing) -> Prepared[Any] | Fault:
        message = outgoing.message
        stripped = msgspec.structs.replace(message, body=message.body.strip())
        return self.inner.prepare(msgspec.structs.replace(outgoing, message=stripped))


class _DropsEmptyValues(PublisherProxy):
    def prepare(self, outgoing: Outgoing) -> Prepared[Any] | Fault:
        message = outgoing.message
        kept = {name: value for name, value in message.attributes.items() if value}
        return self.inner.prepare(
            msgspec.structs.replace(outgoing, message=msgspec.structs.replace(message, attributes=kept))
        )


class _AsksTheCloud(PublisherProxy):
    """Leaves limits to the backend: what is over one fails, after a call."""

    def prepare(self, outgoing: Outgoing) -> Prepared[Any] | Fault:
        prepared = self.inner.prepare(outgoing)
        return Prepared(outgoing, 1, prepared) if isinstance(prepared, Fault) else prepared

    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        good = [prepared for prepared in batch if not isinstance(prepared.wire, Fault)]
        answers = iter(await self.inner.publish_batch(good) if good else ())
        return [prepared.wire if isinstance(prepared.wire, Fault) else next(answers) for prepared in batch]


class _CallsAllRetryable(PublisherProxy):
    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        outcomes = await self.inner.publish_batch(batch)
        return [Fault(FaultKind.INTERNAL, each.detail) if isinstance(each, Fault) else each for each in outcomes]


class _CallsNoneRetryable(PublisherProxy):
    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        outcomes = await self.inner.publish_batch(batch)
        return [Fault(FaultKind.INVALID, each.detail) if isinstance(each, Fault) else each for each in outcomes]


class _Reverses(PublisherProxy):
    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        return (await self.inner.publish_batch(batch[::-1]))[::-1]


class _IgnoresDelays(PublisherProxy):
    def prepare(self, outgoing: Outgoing) -> Prepared[Any] | Fault:
        return self.inner.prepare(msgspec.structs.replace(outgoing, delay=0.0))


PUBLISHING = (
    Mutant("P1", "publish says accepted, and the message is gone", store=_bend(_Forgets)),
    Mutant("P1", "publish returns before the backend has answered", bus=_bend(_AnswersEarly)),
    Mutant("P2", "one failed message fails its batch", bus=_bend(_FailsTogether)),
    Mutant("P3", "bodies lose the white space at their ends", store=_bend(_Strips)),
    Mutant("P3", "empty attribute values are dropped", store=_bend(_DropsEmptyValues)),
    Mutant("P4", "limits are found out by calling", store=_bend(_AsksTheCloud)),
    Mutant("P5", "every fault is retried", bus=_bend(_CallsAllRetryable)),
    Mutant("P5", "no fault is retried", bus=_bend(_CallsNoneRetryable)),
    Mutant("P5", "retries don't wait", patch=lambda: patch.object(RetryPolicy, "wait", lambda *given: 0.001)),
    Mutant("P6", "a batch is sent in another order", store=_bend(_Reverses)),
    Mutant(
        "P6", "a failure doesn't block its key", patch=lambda: patch.object(Publisher, "_block", lambda *given: None)
    ),
    Mutant(
        "P7",
        "nothing bounds what is outstanding",
        patch=edit(
            "polybus.bus.flow_control:FlowControl.enter",
            "if self.count and (self.count >= self._count or size > self._bytes):",
            "if False:",
        ),
    ),
    Mutant("P8", "delays are dropped", store=_bend(_IgnoresDelays)),
)
