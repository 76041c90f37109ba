"""An app whose handler is held, what it consumes from, and a call beside a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import polybus
from polybus import App, Binding, Entity
from polybus.binding import Kind
from polybus.embedded.memory import Store

__all__ = ["Held", "in_background", "make_binding", "publish", "waiting"]


def make_binding(store: Store | None = None, **changes: Any) -> Binding:
    return Binding(
        backend="memory",
        bus="shop",
        settings={"store": store or Store()},
        queues={
            name: Entity(kind=Kind.QUEUE, name=name, address=name, dead_letter=f"{name}!dead", **changes)
            for name in ("jobs", "mails")
        },
    )


async def publish(binding: Binding, *bodies: str, to: str = "jobs") -> None:
    async with polybus.connect(binding) as bus:
        await bus.publish_many(to, bodies)


async def waiting(binding: Binding, name: str = "jobs") -> int | None:
    async with polybus.connect(binding) as bus:
        return (await bus.stats(name)).waiting


@asynccontextmanager
async def in_background(call: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(call)
    try:
        async with asyncio.timeout(30):
            yield task  # type: ignore[misc]
    finally:
        task.cancel()
        await asyncio.wait([task])


class Held:
    """An app whose handler runs until it is let go."""

    def __init__(self, binding: Binding, **options: Any) -> None:
        self.app = App(source=binding)
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.ends: list[str] = []
        self.app.handler("jobs", **options)(self.handle)

    async def handle(self, body: str) -> None:
        self.started.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        self.ends.append("done")
