"""Sending to one topic or queue: batches, order, bounds and retries (contract, P1 to P7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from polybus.binding import Entity
from polybus.bus.gate import Gate
from polybus.bus.lanes import Item, Lanes
from polybus.bus.options import PublisherOptions
from polybus.clock import Clock, Timer
from polybus.driver import Driver, Outgoing, PublisherDriver
from polybus.errors import Fault, FaultKind
from polybus.message import Sent

__all__ = ["Publisher"]

Listener = Callable[[Sent | Fault], None]


class Publisher:
    """Sends to one target through one driver; for one event loop."""

    def __init__(
        self,
        driver: Driver,
        publisher: PublisherDriver[Any],
        target: Entity,
        *,
        clock: Clock,
        options: PublisherOptions,
    ) -> None:
        self._fault = driver.fault
        self._driver = publisher
        self._target = target
        self._clock = clock
        self._options = options
        self._gate = Gate(options.max_outstanding, options.max_outstanding_bytes)
        self._lanes = Lanes(publisher.limits)
        self._blocked: dict[str, Fault] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._flush: asyncio.Handle | None = None
        self._linger: Timer | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    async def send(self, outgoing: Outgoing, listener: Listener | None = None) -> Sent | Fault:
        """Send one message and return its outcome once it is known; never raises for what the cloud says."""
        return await (await self.submit(outgoing, listener))

    async def submit(self, outgoing: Outgoing, listener: Listener | None = None) -> asyncio.Future[Sent | Fault]:
        """Take a message as soon as there is room for it, and return the future of its outcome.

        Messages are taken in the order of the calls. `listener` is called with the outcome, whether or not anyone
        still waits for the future.
        """
        prepared = self._driver.prepare(outgoing)
        key = outgoing.message.ordering_key
        if isinstance(prepared, Fault):
            if key is not None:
                self._blocked.setdefault(key, prepared)  # for later ones; what was taken before goes on
            return self._known(prepared, listener)
        if not self._gate.try_enter(prepared.size):
            await self._gate.enter(prepared.size)
        if self._blocked and key in self._blocked:
            self._gate.leave(prepared.size)
            return self._known(self._blocked_fault(key), listener)
        future: asyncio.Future[Sent | Fault] = asyncio.get_running_loop().create_future()
        deadline = self._clock.monotonic() + self._options.deadline
        self._idle.clear()
        self._lanes.add(Item(prepared, future, deadline, listener))
        self._schedule()
        return future

    def resume(self, ordering_key: str) -> None:
        """Let messages of this key pass again after one of them failed."""
        self._blocked.pop(ordering_key, None)

    async def aclose(self) -> None:
        """Send all that was taken, at the latest until its deadline, and close the driver."""
        self._closing = True
        self._schedule()
        await self._idle.wait()
        await self._driver.aclose()

    def _known(self, outcome: Fault, listener: Listener | None) -> asyncio.Future[Sent | Fault]:
        future: asyncio.Future[Sent | Fault] = asyncio.get_running_loop().create_future()
        future.set_result(outcome)
        if listener is not None:
            listener(outcome)
        return future

    # When to send ----------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._flush is not None or not self._lanes or len(self._sending) >= self._options.batches_in_flight:
            return
        if not self._sending or self._lanes.full or self._closing:
            # On the loop's next turn, so that what is published in this one shares the batch.
            self._flush = asyncio.get_running_loop().call_soon(self._flush_now)
        elif self._linger is None:
            self._linger = self._clock.call_later(self._options.linger, self._lingered)

    def _lingered(self) -> None:
        self._linger = None
        if self._lanes and len(self._sending) < self._options.batches_in_flight:
            self._start_batch()
        self._schedule()

    def _flush_now(self) -> None:
        self._flush = None
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        while self._lanes and len(self._sending) < self._options.batches_in_flight:
            self._start_batch()
            if not (self._lanes.full or self._closing):
                break
        self._schedule()

    def _start_batch(self) -> None:
        task = asyncio.get_running_loop().create_task(self._send(self._lanes.take()))
        self._sending.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._schedule()
        if not self._sending and not self._lanes:
            self._idle.set()

    # Sending ---------------------------------------------------------------------------------------------------------

    async def _send(self, batch: list[Item]) -> None:
        attempt = 0
        while batch:
            attempt += 1
            outcomes = await self._call(batch)
            again = self._conclude(batch, outcomes)
            if not again:
                return
            wait = self._options.retry.wait(attempt, max((fault.retry_after or 0.0) for _, fault in again))
            batch = self._drop_overdue(again, wait)
            if batch:
                await self._clock.sleep(wait)

    async def _call(self, batch: Sequence[Item]) -> Sequence[Sent | Fault]:
        try:
            outcomes = await self._driver.publish_batch([item.prepared for item in batch])
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            return [self._fault(error)] * len(batch)
        if len(outcomes) != len(batch):
            detail = f"the driver gave {len(outcomes)} outcomes for {len(batch)} messages; a bug of this backend"
            return [Fault(FaultKind.INVALID, detail)] * len(batch)
        return outcomes

    def _conclude(self, batch: Iterable[Item], outcomes: Sequence[Sent | Fault]) -> list[tuple[Item, Fault]]:
        """Tell what is known, and return what is worth another try."""
        again: list[tuple[Item, Fault]] = []
        done: list[tuple[Item, Sent | Fault]] = []
        failed: set[str] = set()
        for item, outcome in zip(batch, outcomes, strict=True):
            if not isinstance(outcome, Fault):
                done.append((item, outcome))
            elif outcome.retryable and item.key not in failed:
                again.append((item, outcome))
            else:
                done.append((item, outcome))
                if item.key is not None:
                    failed.add(item.key)
        self._tell(done, {item.key for item, _ in again})
        return again

    def _drop_overdue(self, again: Iterable[tuple[Item, Fault]], wait: float) -> list[Item]:
        """Give up what would be tried after its deadline, and what follows it on its key; return the rest."""
        now = self._clock.monotonic()
        keep: list[Item] = []
        done: list[tuple[Item, Sent | Fault]] = []
        overdue: set[str | None] = set()
        for item, fault in again:
            if now + wait < item.deadline and (item.key is None or item.key not in overdue):
                keep.append(item)
                continue
            overdue.add(item.key)
            limit = self._options.deadline
            detail = f"not accepted within the publisher's deadline of {limit:g} s; last: {fault}"
            done.append((item, Fault(FaultKind.DEADLINE, detail, fault.code)))
        self._tell(done, {item.key for item in keep})
        return keep

    def _tell(self, done: Sequence[tuple[Item, Sent | Fault]], retrying: set[str | None]) -> None:
        for item, outcome in done:
            self._finish(item, outcome)
        for key in {item.key for item, _ in done} - retrying:
            self._lanes.release(key)

    def _finish(self, item: Item, outcome: Sent | Fault) -> None:
        self._gate.leave(item.prepared.size)
        if not item.future.done():
            item.future.set_result(outcome)
        if item.listener is not None:
            item.listener(outcome)
        if isinstance(outcome, Fault) and item.key is not None and outcome.kind is not FaultKind.KEY_BLOCKED:
            self._block(item.key, outcome)

    # A failed message holds up its key -------------------------------------------------------------------------------

    def _block(self, key: str, fault: Fault) -> None:
        self._blocked.setdefault(key, fault)
        for item in self._lanes.clear(key):
            self._finish(item, self._blocked_fault(key))

    def _blocked_fault(self, key: str | None) -> Fault:
        cause = self._blocked[key] if key is not None else None
        detail = (
            f"an earlier message of ordering key {key!r} to {self._target.name!r} failed ({cause}); "
            f"bus.resume({self._target.name!r}, {key!r}) lets later ones pass"
        )
        return Fault(FaultKind.KEY_BLOCKED, detail)
