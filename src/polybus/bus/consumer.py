"""The two ways to consume: a handler that is called, and an iterator that is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol

from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions
from polybus.bus.receiver import Receiver
from polybus.driver import Ack, Settlement
from polybus.errors import BackendError, BusClosed, LeaseLost

__all__ = ["Consumer", "Consumption"]

_log = logging.getLogger("polybus")

Handler = Callable[[Delivery], Awaitable[None]]
Opener = Callable[[], Awaitable[Receiver]]
StoppableOpener = Callable[[asyncio.Event], Awaitable[Receiver]]
"""Opens a receiver; gives up trying, with BackendError, once the event is set."""


class Source(Protocol):
    """Where deliveries come from, as far as handling one goes; its methods say what they do at Receiver."""

    def begun(self, delivery: Delivery) -> None: ...

    def ended(self, delivery: Delivery) -> None: ...

    def settle_soon(self, delivery: Delivery, settlement: Settlement[Any]) -> None: ...


class Consumer:
    """Calls a handler for each delivery of one source.

    The handler returns: acked. It raises: Retry, DeadLetter, or anything else as a failed attempt. It may also settle
    the delivery itself. At most `concurrency` handlers run at once.
    """

    def __init__(self, opener: StoppableOpener, handler: Handler, options: ConsumerOptions) -> None:
        self._opener = opener
        self._handler = handler
        self._options = options
        self._receiver: Receiver | None = None
        self._drained = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return 0 if self._receiver is None else self._receiver.in_flight

    def draining(self) -> bool:
        """Say whether a drain was asked for."""
        return self._drained.is_set()

    async def run(self) -> None:
        """Handle deliveries until a drain is over; raise BackendError where the backend ends it."""
        if self.draining():
            return
        try:
            receiver = self._receiver = await self._opener(self._drained)
        except BackendError as error:
            if self.draining() and error.fault.retryable:
                return  # the drain ended the tries, and nothing was ever received
            raise
        if self.draining():
            await receiver.drain(0)
            return
        receiver.start()
        workers = [asyncio.create_task(self._work(receiver)) for _ in range(self._options.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await receiver.drain(None if self.draining() else 0)
            await asyncio.gather(*workers, return_exceptions=True)

    async def drain(self, grace: float | None = None) -> None:
        """Take no more, let handlers finish within `grace` seconds, give the rest back (contract, D12)."""
        self._drained.set()
        if self._receiver is not None:
            await self._receiver.drain(grace)

    async def _work(self, receiver: Receiver) -> None:
        worker = asyncio.current_task()
        while (delivery := await receiver.next()) is not None:
            await self._handle(receiver, delivery, worker)

    async def _handle(self, source: Source, delivery: Delivery, worker: asyncio.Task[Any] | None) -> None:
        error: BaseException | None = None
        delivery.begin(worker)
        source.begun(delivery)
        try:
            try:
                await self._handler(delivery)
            except Exception as failed:  # noqa: BLE001 - whatever a handler raises is a failed attempt
                error = failed
                await delivery.fail(failed)
            else:
                if not delivery.settled:
                    source.settle_soon(delivery, Ack(delivery.received))
        except asyncio.CancelledError as cancelled:  # while handling, or while a failure is settled
            error = cancelled
            ours = delivery.absorb_cancel()
            await delivery.release()
            if not ours:
                raise
        except LeaseLost as lost:
            _log.warning("%s", lost)
        except BackendError as refused:
            _log.error("message %s of %r could not be settled: %s", delivery.id, delivery.source, refused)
        finally:
            delivery.end(error)
            source.ended(delivery)


class Consumption:
    """An asynchronous iterator of deliveries, open for the length of its `async with` block.

    Leaving the block drains: what wasn't settled is given back, except deliveries inside an `async with` of their own,
    which are waited for during the grace.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._receiver: Receiver | None = None

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return 0 if self._receiver is None else self._receiver.in_flight

    async def __aenter__(self) -> Consumption:
        self._receiver = await self._opener()
        self._receiver.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drain()

    async def drain(self, grace: float | None = None) -> None:
        """End the iteration, wait for what is being handled, and give the rest back (contract, D12)."""
        if self._receiver is not None:
            await self._receiver.drain(grace)

    def __aiter__(self) -> Consumption:
        return self

    async def __anext__(self) -> Delivery:
        if self._receiver is None:
            raise BusClosed("iterate inside the block: async with bus.consume(...) as deliveries")
        delivery = await self._receiver.next()
        if delivery is None:
            raise StopAsyncIteration
        return delivery
