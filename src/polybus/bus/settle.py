"""Telling the backend what became of deliveries, in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from polybus.bus.delivery import Delivery
from polybus.bus.retry import RetryPolicy
from polybus.clock import Clock
from polybus.driver import ConsumerDriver, Settlement
from polybus.errors import BackendError, Fault, FaultKind, LeaseLost

__all__ = ["Settler"]

# Settle calls under way at once: one would leave the way to the cloud idle during each round trip, many would make
# batches of one.
CALLS = 4


class _Entry:
    __slots__ = ("attempts", "delivery", "future", "settlement")

    def __init__(self, delivery: Delivery, settlement: Settlement[Any], future: asyncio.Future[None] | None) -> None:
        self.delivery = delivery
        self.settlement = settlement
        self.future = future
        self.attempts = 0


class Settler:
    """Settles deliveries: what is asked for in one turn of the loop, or while calls are under way, shares a call.

    Retryable faults are tried again until the lease ends. `on_done` gets each delivery with its fault, or None where
    it is settled.
    """

    def __init__(
        self,
        consumer: ConsumerDriver[Any],
        *,
        clock: Clock,
        retry: RetryPolicy,
        fault: Callable[[Exception], Fault],
        on_done: Callable[[Delivery, Settlement[Any], Fault | None], None],
    ) -> None:
        self._consumer = consumer
        self._clock = clock
        self._retry = retry
        self._fault = fault
        self._on_done = on_done
        self._waiting: deque[_Entry] = deque()
        self._scheduled = False
        self._calls: set[asyncio.Task[None]] = set()
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def soon(self, delivery: Delivery, settlement: Settlement[Any]) -> None:
        """Settle without anyone waiting for it."""
        self._add(_Entry(delivery, settlement, None))

    async def settle(self, delivery: Delivery, settlement: Settlement[Any]) -> None:
        """Settle and return once the backend knows; raise LeaseLost or BackendError."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._add(_Entry(delivery, settlement, future))
        await future

    async def flush(self) -> None:
        """Return once everything is settled or given up."""
        await self._idle.wait()

    def _add(self, entry: _Entry) -> None:
        self._open += 1
        self._idle.clear()
        self._waiting.append(entry)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._waiting and len(self._calls) < CALLS:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._scheduled = False
        most = self._consumer.limits.count
        while self._waiting and len(self._calls) < CALLS:
            batch = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            task = asyncio.get_running_loop().create_task(self._call(batch))
            self._calls.add(task)
            task.add_done_callback(self._called)

    def _called(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._schedule()

    async def _call(self, batch: Sequence[_Entry]) -> None:
        try:
            answers = await self._consumer.settle_batch([entry.settlement for entry in batch])
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            answers = [self._fault(error)] * len(batch)
        if len(answers) != len(batch):
            detail = f"the driver gave {len(answers)} answers for {len(batch)} settlements; a bug of this backend"
            answers = [Fault(FaultKind.INVALID, detail)] * len(batch)
        for entry, fault in zip(batch, answers, strict=True):
            if fault is not None and fault.retryable:
                self._again(entry, fault)
            else:
                self._finish(entry, fault)

    def _again(self, entry: _Entry, fault: Fault) -> None:
        entry.attempts += 1
        wait = self._retry.wait(entry.attempts, fault.retry_after)
        if self._clock.monotonic() + wait >= entry.delivery.lease_until:
            detail = f"could not be settled before its lease ended; last: {fault}"
            self._finish(entry, Fault(FaultKind.LEASE_LOST, detail, fault.code))
            return

        def again() -> None:
            self._waiting.append(entry)
            self._schedule()

        self._clock.call_later(wait, again)

    def _finish(self, entry: _Entry, fault: Fault | None) -> None:
        self._on_done(entry.delivery, entry.settlement, fault)
        future = entry.future
        if future is not None and not future.done():
            if fault is None:
                future.set_result(None)
            elif fault.kind is FaultKind.LEASE_LOST:
                future.set_exception(LeaseLost(entry.delivery.lost_text()))
            else:
                future.set_exception(BackendError(fault))
        self._open -= 1
        if not self._open:
            self._idle.set()
