"""The bus of a function settles through the backend's own consumers, opened when they are first needed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import polybus
from polybus import registry
from polybus.binding import Binding, Entity
from polybus.bus.resolve import resolve
from polybus.driver import ConsumerDriver, Driver
from polybus.serverless.bus import FunctionBus
from polybus.testing.proxy import ConsumerProxy, DriverProxy
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "functions"\n[queues.jobs]\n', source="polybus.toml")


class Watched(DriverProxy):
    """Opens a consumer once a test lets it, and says how many it opened and that it is closed."""

    def __init__(self, inner: Driver) -> None:
        super().__init__(inner)
        self.go_on = asyncio.Event()
        self.opened = 0
        self.closed = False
        self.consumer_type: type[ConsumerProxy] = BreaksAtItsEnd

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        self.opened += 1
        await self.go_on.wait()
        return self.consumer_type(await self.inner.open_consumer(source, prefetch=prefetch, concurrency=concurrency))

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


class NeverEnds(ConsumerProxy):
    async def aclose(self) -> None:
        await asyncio.Event().wait()


class BreaksAtItsEnd(ConsumerProxy):
    async def aclose(self) -> None:
        await self.inner.aclose()
        raise ConnectionResetError("the test cuts the connection")


def function_bus(driver: Watched, clock: polybus.Clock, monkeypatch: pytest.MonkeyPatch) -> FunctionBus:
    def load(name: str) -> Any:
        def make(binding: Binding, clock: polybus.Clock) -> Driver:
            return driver

        return make

    monkeypatch.setattr(registry, "load", load)
    binding, origin = resolve(TOPOLOGY)
    options = polybus.PublisherOptions()
    return FunctionBus(binding, origin=origin, service=None, clock=clock, hooks=(), publisher=options)


async def test_a_settler_is_opened_once_and_one_that_breaks_as_it_closes_keeps_nothing_else_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    binding, _ = resolve(TOPOLOGY)
    clock = polybus.ManualClock()
    driver = Watched(registry.load("memory")(binding, clock))
    bus = function_bus(driver, clock, monkeypatch)
    await bus.__aenter__()
    source = binding.queues["jobs"]
    asked = [asyncio.create_task(bus.settler(source)) for _ in range(2)]
    await clock.settle()
    driver.go_on.set()
    first, second = await asyncio.gather(*asked)
    assert first is second
    assert driver.opened == 1
    with pytest.raises(ConnectionResetError):
        await bus.aclose()
    assert driver.closed


async def test_a_settler_that_never_closes_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    binding, _ = resolve(TOPOLOGY)
    clock = polybus.ManualClock()
    driver = Watched(registry.load("memory")(binding, clock))
    driver.go_on.set()
    driver.consumer_type = NeverEnds
    bus = function_bus(driver, clock, monkeypatch)
    await bus.__aenter__()
    await bus.settler(binding.queues["jobs"])
    closing = asyncio.create_task(bus.aclose())
    await clock.advance(10)
    assert closing.done()
    await closing
    assert driver.closed
    assert "does not close; it is left to itself" in caplog.text
