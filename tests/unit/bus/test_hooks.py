"""A listener's bug, whatever it raises, neither loses a message nor stops the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pytest
from drivers import fresh

import polybus
from polybus.binding import Entity
from polybus.errors import Fault
from polybus.message import Sent
from polybus.telemetry import LeaseExtended, LeaseLostEvent, Processing, Publishing, Settled


class Panic(BaseException):
    """What a Rust extension raises where it panics."""


class Broken:
    """Raises at one place."""

    def __init__(self, place: str, error: type[BaseException]) -> None:
        self.place = place
        self.error = error
        self.raised = 0

    def _at(self, place: str) -> None:
        if place == self.place:
            self.raised += 1
            raise self.error

    def inject(self, event: Publishing) -> Mapping[str, str]:
        self._at("inject")
        return {}

    def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
        self._at("publishing")
        return lambda outcome: self._at("published")

    def processing(self, event: Processing) -> AbstractContextManager[None]:
        @contextmanager
        def around() -> Iterator[None]:
            self._at("enter")
            yield
            self._at("exit")

        self._at("processing")
        return around()

    def settled(self, event: Settled) -> None:
        self._at("settled")

    def lease_extended(self, event: LeaseExtended) -> None:
        self._at("extended")

    def lease_lost(self, event: LeaseLostEvent) -> None:
        self._at("lost")

    def in_flight(self, source: Entity, change: int) -> None:
        self._at("in flight")


PLACES = ["inject", "publishing", "published", "processing", "enter", "exit", "settled", "extended", "in flight"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, Panic, GeneratorExit])
async def test_it_is_logged_and_the_bus_goes_on(
    place: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    clock = polybus.ManualClock()
    hook = Broken(place, error)
    binding = fresh('[queues.jobs]\nlease = "60s"\nmax_attempts = 2\n')
    handled: list[bytes] = []

    async def handler(delivery: polybus.Delivery) -> None:
        await clock.sleep(50)
        handled.append(delivery.body)

    async with polybus.connect(binding, clock=clock, hooks=[hook]) as bus:
        consumer = bus.consumer("jobs", handler)
        running = asyncio.create_task(consumer.run())
        for body in (b"first", b"second"):
            publishing = asyncio.create_task(bus.publish("jobs", body))
            await clock.advance(1)
            assert publishing.done()
            await publishing
            await clock.advance(60)
        assert handled == [b"first", b"second"]
        assert not running.done()
        await consumer.drain()
        await running
        assert (await bus.stats("jobs")).waiting == 0
    assert hook.raised >= 2
    assert "a polybus hook raised; the bus goes on" in caplog.text
