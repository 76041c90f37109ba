"""A running app: its bus, and a consumer for each of its handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from polybus.app.handler import Handler, Invoker
from polybus.app.watchdog import Running
from polybus.errors import BackendError

if TYPE_CHECKING:
    from polybus.bus.bus import Bus
    from polybus.bus.consumer import Consumer

__all__ = ["Session"]


class Session:
    """Starts the consumers, tells when one of them fails, and drains them; for one event loop."""

    def __init__(self, bus: Bus, handlers: Sequence[Handler], running: Running) -> None:
        self.bus = bus
        self._stop = asyncio.Event()
        self._interrupted = False
        self._invokers = [Invoker(handler, running) for handler in handlers]
        self.consumers: list[Consumer] = [
            bus.consumer(handler.source, invoker, options=handler.options)
            for handler, invoker in zip(handlers, self._invokers, strict=True)
        ]
        self._tasks = [
            asyncio.create_task(_consume(consumer, handler), name=f"polybus consumer {handler.source}")
            for consumer, handler in zip(self.consumers, handlers, strict=True)
        ]

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return sum(consumer.in_flight for consumer in self.consumers)

    async def until_stopped(self) -> None:
        """Return once `stop` was called; raise what a consumer ended with."""
        stop = asyncio.create_task(self._stop.wait())
        waiting: set[asyncio.Task[Any]] = {stop, *self._tasks}
        try:
            while not stop.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            stop.cancel()

    def stop(self) -> None:
        """Have `until_stopped` return."""
        self._stop.set()

    async def drain(self, grace: float | None = None) -> None:
        """Take no more, give handlers `grace` seconds, and return once nothing is in flight (contract, D12).

        Raises what a consumer ended with. `grace` None is each handler's own.
        """
        self._stop.set()
        grace = 0.0 if self._interrupted else grace
        try:
            await asyncio.gather(*(consumer.drain(grace) for consumer in self.consumers))
            results = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            for invoker in self._invokers:
                invoker.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def interrupt(self) -> None:
        """Cancel the handlers that still run; a drain that is under way, or comes, ends soon after."""
        self._interrupted = True
        for invoker in self._invokers:
            invoker.interrupt()


async def _consume(consumer: Consumer, handler: Handler) -> None:
    try:
        await consumer.run()
    except BackendError as error:
        fault = replace(error.fault, detail=f"consuming {handler.source!r} for {handler.name}: {error.fault.detail}")
        raise BackendError(fault) from error
