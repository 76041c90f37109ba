"""A bus on a memory store whose driver a test bends, for tests of publishing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

import polybus
from polybus.binding import Entity
from polybus.bus.resolve import resolve
from polybus.driver import BatchLimits, Driver, Prepared, PublisherDriver
from polybus.message import Sent
from polybus.middleware import AnyMiddleware
from polybus.registry import load
from polybus.testing.proxy import DriverProxy, PublisherProxy
from polybus.topology.file import loads

TOPOLOGY = '[bus]\nname = "publishing"\n[queues.jobs]\nmax_delay = "15m"\n[queues.serial]\nordered = true\n'
DENIED = polybus.Fault(polybus.FaultKind.DENIED, "the test denies it")
DOWN = polybus.Fault(polybus.FaultKind.UNAVAILABLE, "the test cut the way")

Publish = Callable[[Sequence[Prepared[Any]]], Awaitable[Sequence[Any]]]
Call = Callable[[Sequence[Prepared[Any]], Publish], Awaitable[Any]]


class Refused(Exception):
    """What a bent call raises: `fault` is what the driver says of it."""

    def __init__(self, fault: polybus.Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Bent(DriverProxy):
    """Opens by `opens`, where it is set, and publishes by `calls`; `sent` are the bodies of each call."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.opens: Callable[[], Awaitable[object]] | None = None
        self.calls: Call | None = None
        self.limits: BatchLimits | None = None
        self.sent: list[list[bytes]] = []
        self.opened = 0

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        self.opened += 1
        if self.opens is not None:
            await self.opens()
        return _Publisher(await self.inner.open_publisher(target), self)

    def fault(self, error: Exception) -> polybus.Fault:
        return error.fault if isinstance(error, Refused) else self.inner.fault(error)


class _Publisher(PublisherProxy):
    def __init__(self, inner: PublisherDriver[Any], driver: Bent) -> None:
        super().__init__(inner)
        self._driver = driver

    @property
    def limits(self) -> BatchLimits:
        return self._driver.limits or self.inner.limits

    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | polybus.Fault]:
        self._driver.sent.append([prepared.outgoing.message.body for prepared in batch])
        if self._driver.calls is None:
            return await self.inner.publish_batch(batch)
        return await self._driver.calls(batch, self.inner.publish_batch)  # type: ignore[no-any-return]


def bend(clock: polybus.Clock, middleware: Sequence[AnyMiddleware] = (), **options: Any) -> tuple[polybus.Bus, Bent]:
    """Return a bus that isn't open yet, on a store of its own, and its driver."""
    from polybus.embedded.memory import Store

    found, _ = resolve(loads(TOPOLOGY, source="polybus.toml"))
    binding = msgspec.structs.replace(found, settings={"store": Store()})
    driver = Bent(load("memory")(binding, clock))
    chosen = polybus.PublisherOptions(**options)
    return polybus.connect(binding, clock=clock, driver=driver, publisher=chosen, middleware=middleware), driver


async def delivered(bus: polybus.Bus, queue: str, count: int) -> list[bytes]:
    """Consume so many messages, and return their bodies in the order of delivery."""
    found = []
    async with bus.consume(queue, concurrency=1) as deliveries:
        async for delivery in deliveries:
            found.append(delivery.body)
            await delivery.ack()
            if len(found) == count:
                break
    return found


def kind(outcome: object) -> polybus.FaultKind | None:
    """Return the kind of a fault, also of the one that PublishFailed holds, and None of what was sent."""
    if isinstance(outcome, polybus.PublishFailed):
        [outcome] = outcome.outcomes
    return outcome.kind if isinstance(outcome, polybus.Fault) else None


async def kinds(*tasks: asyncio.Task[Any]) -> list[polybus.FaultKind | None]:
    """Return the kind of each task's outcome."""
    return [kind(outcome) for outcome in await asyncio.gather(*tasks, return_exceptions=True)]
