"""A driver that forwards everything to another; what breaks or watches one overrides what it needs.

What each call has to do stands in `polybus.driver`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polybus.binding import Entity
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
from polybus.errors import Fault
from polybus.feature import Feature
from polybus.message import Sent

__all__ = ["AdminProxy", "ConsumerProxy", "DriverProxy", "PublisherProxy"]


class DriverProxy:
    """Forwards to `inner`; override `publisher`, `consumer` and `admin` to wrap what it opens."""

    def __init__(self, inner: Driver) -> None:
        self.inner = inner

    def publisher(self, inner: PublisherDriver[Any], target: Entity) -> PublisherDriver[Any]:
        """Return what to use in place of `inner`, the publisher that was opened for a target."""
        return inner

    def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
        """Return what to use in place of `inner`, the consumer that was opened for a source."""
        return inner

    def admin(self, inner: AdminDriver) -> AdminDriver:
        """Return what to use in place of `inner`, the administration that was opened."""
        return inner

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        return self.publisher(await self.inner.open_publisher(target), target)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        return self.consumer(await self.inner.open_consumer(source, prefetch=prefetch, concurrency=concurrency), source)

    async def open_admin(self) -> AdminDriver:
        return self.admin(await self.inner.open_admin())

    def features(self, entity: Entity) -> Feature:
        return self.inner.features(entity)

    def fault(self, error: Exception) -> Fault:
        return self.inner.fault(error)

    def raw(self, entity: Entity) -> object:
        return self.inner.raw(entity)

    async def aclose(self) -> None:
        await self.inner.aclose()


class PublisherProxy:
    """Forwards to a publisher."""

    def __init__(self, inner: PublisherDriver[Any]) -> None:
        self.inner = inner

    @property
    def limits(self) -> BatchLimits:
        return self.inner.limits

    def prepare(self, outgoing: Outgoing) -> Prepared[Any] | Fault:
        return self.inner.prepare(outgoing)

    async def publish_batch(self, batch: Sequence[Prepared[Any]]) -> Sequence[Sent | Fault]:
        return await self.inner.publish_batch(batch)

    async def aclose(self) -> None:
        await self.inner.aclose()


class ConsumerProxy:
    """Forwards to a consumer."""

    def __init__(self, inner: ConsumerDriver[Any]) -> None:
        self.inner = inner

    @property
    def limits(self) -> BatchLimits:
        return self.inner.limits

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        return await self.inner.receive_batch(count, wait=wait)

    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        return await self.inner.settle_batch(settlements)

    async def extend_batch(self, received: Sequence[Received[Any]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        return await self.inner.extend_batch(received, seconds)

    def lost(self, received: Received[Any]) -> None:
        """Tell the other of a delivery that was given up unsettled, where it wants to know."""
        tell = getattr(self.inner, "lost", None)
        if tell is not None:
            tell(received)

    def rest(self) -> None:
        """Tell the other that nothing is asked for, where it wants to know."""
        rest = getattr(self.inner, "rest", None)
        if rest is not None:
            rest()

    async def stop(self) -> Sequence[Received[Any]]:
        return await self.inner.stop()

    async def aclose(self) -> None:
        await self.inner.aclose()


class AdminProxy:
    """Forwards to an admin driver."""

    def __init__(self, inner: AdminDriver) -> None:
        self.inner = inner

    async def ping(self) -> None:
        await self.inner.ping()

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        return await self.inner.describe(entity)

    async def stats(self, entity: Entity) -> Stats:
        return await self.inner.stats(entity)

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        return await self.inner.peek(entity, count, after)

    async def purge(self, entity: Entity) -> int | None:
        return await self.inner.purge(entity)

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        return await self.inner.open_return(source)

    async def aclose(self) -> None:
        await self.inner.aclose()
