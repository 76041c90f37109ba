"""Drivers around the memory backend that do what a test says, and the buses on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

import polybus
from polybus.binding import Entity
from polybus.driver import ConsumerDriver, LeaseUntil, Received, Settlement
from polybus.embedded.memory import Store
from polybus.embedded.plan import local_binding
from polybus.errors import Fault
from polybus.registry import load
from polybus.testing.proxy import ConsumerProxy, DriverProxy
from polybus.topology.file import loads

__all__ = ["Never", "Scripted", "ScriptedConsumer", "fresh", "stand_still"]


def fresh(text: str) -> polybus.Binding:
    """Return the binding of a topology in a memory store of its own."""
    topology = loads(f'[bus]\nname = "unit"\n{text}', source="polybus.toml")
    return msgspec.structs.replace(local_binding(topology, backend="memory"), settings={"store": Store()})


def stand_still(clock: polybus.ManualClock, seconds: float) -> None:
    """Let time pass without the loop: as a handler does that blocks, or a process that is stopped."""
    clock._now += seconds


class Never:
    """Answers never, not even when cancelled, until the test is over."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def __call__(self, *_: object) -> Any:
        while not self.over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.over.wait()


class ScriptedConsumer(ConsumerProxy):
    """Forwards to the memory backend, but for what the script replaces: a method's name and what to call instead."""

    def __init__(self, inner: ConsumerDriver[Any], script: dict[str, Callable[..., Any]]) -> None:
        super().__init__(inner)
        self.script = script
        self.settled: list[Settlement[Any]] = []

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Any]]:
        if (instead := self.script.get("receive")) is not None:
            return await instead(self.inner, count, wait)  # type: ignore[no-any-return]
        return await self.inner.receive_batch(count, wait=wait)

    async def settle_batch(self, settlements: Sequence[Settlement[Any]]) -> Sequence[Fault | None]:
        self.settled += settlements
        if (instead := self.script.get("settle")) is not None:
            return await instead(self.inner, settlements)  # type: ignore[no-any-return]
        return await self.inner.settle_batch(settlements)

    async def extend_batch(self, received: Sequence[Received[Any]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        if (instead := self.script.get("extend")) is not None:
            return await instead(self.inner, received, seconds)  # type: ignore[no-any-return]
        return await self.inner.extend_batch(received, seconds)

    def lost(self, received: Received[Any]) -> None:
        if (instead := self.script.get("lost")) is not None:
            instead(received)

    async def stop(self) -> Sequence[Received[Any]]:
        if (instead := self.script.get("stop")) is not None:
            return await instead(self.inner)  # type: ignore[no-any-return]
        return await self.inner.stop()

    async def aclose(self) -> None:
        if (instead := self.script.get("aclose")) is not None:
            await instead(self.inner)
            return
        await self.inner.aclose()


class Scripted(DriverProxy):
    """The memory backend with consumers of a script, which may change as the test goes on."""

    def __init__(self, binding: polybus.Binding, clock: polybus.Clock) -> None:
        super().__init__(load("memory")(binding, clock))
        self.script: dict[str, Callable[..., Any]] = {}
        self.consumers: list[ScriptedConsumer] = []

    def consumer(self, inner: ConsumerDriver[Any], source: Entity) -> ConsumerDriver[Any]:
        self.consumers.append(ScriptedConsumer(inner, self.script))
        return self.consumers[-1]

    @property
    def settled(self) -> list[Settlement[Any]]:
        """What was settled so far."""
        return [each for consumer in self.consumers for each in consumer.settled]
