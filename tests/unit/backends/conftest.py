"""One small bus on each embedded backend, on a clock that the test owns."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from polybus.binding import Binding, Entity, Kind
from polybus.clock import ManualClock
from polybus.driver import (
    AdminDriver,
    ConsumerDriver,
    Driver,
    Outgoing,
    PublisherDriver,
    Received,
)
from polybus.embedded.memory import Store
from polybus.errors import Fault, FaultKind
from polybus.message import Message, Sent
from polybus.registry import load

DAY = 86_400.0


def source(name: str, kind: Kind = Kind.QUEUE, **options: Any) -> Entity:
    return Entity(kind=kind, name=name, address=name, dead_letter=f"{name}-dead", **options)


def small_bus(backend: str, settings: Mapping[str, Any]) -> Binding:
    subscription = Kind.SUBSCRIPTION
    return Binding(
        backend=backend,
        bus="small",
        settings=settings,
        topics={
            "orders": Entity(kind=Kind.TOPIC, name="orders", address="orders", max_delay=900.0),
            "steps": Entity(kind=Kind.TOPIC, name="steps", address="steps", ordered=True),
        },
        subscriptions={
            "all": source("all", subscription, topic="orders"),
            "eu": source("eu", subscription, topic="orders", filter='region in ("eu", "uk") and not exists(test)'),
            "steps-in-order": source("steps-in-order", subscription, topic="steps", ordered=True),
            "steps-loose": source("steps-loose", subscription, topic="steps"),
        },
        queues={
            "jobs": source("jobs", max_delay=900.0, retention=DAY, dead_letter_retention=2 * DAY),
            "lines": source("lines", ordered=True, lease=30.0, max_delay=60.0),
            "tiny": source("tiny", max_size=4_096),
        },
    )


class Rig:
    """A driver with what the tests say most often."""

    def __init__(self, binding: Binding, driver: Driver, clock: ManualClock) -> None:
        self.binding = binding
        self.driver = driver
        self.clock = clock
        self._closing: list[Callable[[], Awaitable[None]]] = []

    def entity(self, name: str) -> Entity:
        return self.binding.entity(name)

    async def publisher(self, name: str) -> PublisherDriver[Any]:
        publisher = await self.driver.open_publisher(self.binding.target(name))
        self._closing.append(publisher.aclose)
        return publisher

    async def consumer(self, name: str, *, dead: bool = False) -> ConsumerDriver[Any]:
        entity = self.binding.source(name)
        consumer = await self.driver.open_consumer(entity.dead_letters if dead else entity, prefetch=32, concurrency=16)
        self._closing.append(consumer.aclose)
        return consumer

    async def admin(self) -> AdminDriver:
        admin = await self.driver.open_admin()
        self._closing.append(admin.aclose)
        return admin

    async def publish(self, target: str | PublisherDriver[Any], *outgoing: Outgoing | Message) -> list[str]:
        """Publish in one batch; fails unless all is accepted."""
        publisher = await self.publisher(target) if isinstance(target, str) else target
        batch = []
        for one in outgoing:
            prepared = publisher.prepare(one if isinstance(one, Outgoing) else Outgoing(one))
            assert not isinstance(prepared, Fault), prepared
            batch.append(prepared)
        outcomes = await publisher.publish_batch(batch)
        assert len(outcomes) == len(batch)
        assert all(isinstance(outcome, Sent) for outcome in outcomes), outcomes
        return [outcome.id for outcome in outcomes if isinstance(outcome, Sent)]

    async def refused(self, target: str, outgoing: Outgoing | Message) -> Fault:
        """Prepare what must be refused; return why it was."""
        publisher = await self.publisher(target)
        prepared = publisher.prepare(outgoing if isinstance(outgoing, Outgoing) else Outgoing(outgoing))
        assert isinstance(prepared, Fault)
        return prepared

    async def aclose(self) -> None:
        for close in reversed(self._closing):
            await close()
        await self.driver.aclose()


@pytest.fixture(params=["memory", "sqlite"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    backend: str = request.param
    settings = {"store": Store()} if backend == "memory" else {"path": str(tmp_path / "folder" / "bus.db")}
    binding = small_bus(backend, settings)
    clock = ManualClock()
    rig = Rig(binding, load(backend)(binding, clock), clock)
    yield rig
    await rig.aclose()


def bodies(received: Any) -> list[bytes]:
    return [one.message.body for one in received]


async def take(consumer: ConsumerDriver[Any], count: int = 10) -> list[Received[Any]]:
    """Receive what is there now."""
    return list(await consumer.receive_batch(count, wait=0))


def message(body: bytes | str, key: str | None = None, **attributes: str) -> Message:
    content = body.encode() if isinstance(body, str) else body
    return Message(content, attributes, key, str(uuid.uuid4()), None, "text/plain")


def kinds(answers: Any) -> list[FaultKind | None]:
    return [answer.kind if isinstance(answer, Fault) else None for answer in answers]
