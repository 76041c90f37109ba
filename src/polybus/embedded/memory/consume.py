"""Consuming: leases on what waits, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from polybus.clock import Alarm, Clock
from polybus.driver import Ack, BatchLimits, LeaseUntil, Nack, Received, Settlement
from polybus.embedded.memory.lines import Entry
from polybus.embedded.memory.source import Source, Waiter
from polybus.embedded.memory.store import Store
from polybus.embedded.rules import BATCH
from polybus.errors import Fault, FaultKind

__all__ = ["Consumer", "Receipt"]

Receipt: TypeAlias = tuple[Entry, int]
"""The message, and which of its leases: its number, since an attempt may be counted twice."""


class Consumer:
    """Receives from one subscription, queue, or store of dead letters."""

    def __init__(self, store: Store, clock: Clock, source: Source) -> None:
        self._store = store
        self._clock = clock
        self._source = source
        self._waiting: set[Waiter] = set()
        self._alarm = Alarm(clock, self._end_waits)
        self._stopped = False
        self._lost = Fault(
            FaultKind.LEASE_LOST,
            f"{source.entity.kind.value} {source.entity.name!r}: the lease of this delivery is over; it comes again",
        )

    @property
    def limits(self) -> BatchLimits:
        return BATCH

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Receipt]]:
        clock, source = self._clock, self._source
        # Nothing here waits while there are messages: a loop that receives and settles would keep the event loop.
        await asyncio.sleep(0)
        deadline = clock.monotonic() + wait
        while not self._stopped:
            now = clock.monotonic()
            with self._store.lock:
                taken = source.take(count, now, clock.time())
                if taken:
                    if source.line:
                        source.wake()
                    return self._received(taken)
                if deadline - now <= 0:
                    return []
                waiter = source.wait(deadline)
            await self._wait(waiter)
        return []

    async def _wait(self, waiter: Waiter) -> None:
        self._waiting.add(waiter)
        if waiter.due < self._alarm.due:
            self._alarm.set(waiter.due)
        try:
            await waiter.future
        finally:
            self._waiting.discard(waiter)
            with self._store.lock:
                self._source.leave(waiter)

    def _end_waits(self, now: float) -> None:
        later = []
        for waiter in tuple(self._waiting):
            if waiter.due <= now:
                waiter.fire()
            else:
                later.append(waiter.due)
        if later:
            self._alarm.set(min(later))

    def _received(self, taken: Sequence[Entry]) -> list[Received[Receipt]]:
        ordered = self._source.ordered
        return [
            Received(
                entry.message,
                entry.attempt,
                entry.lease,
                (entry, entry.claim),
                entry.message.ordering_key if ordered else None,
                entry.attempt > 1 or entry.moves > 0,
                entry.moves,
                entry.reason,
                entry.description,
                str(entry.seq),
            )
            for entry in taken
        ]

    async def settle_batch(self, settlements: Sequence[Settlement[Receipt]]) -> Sequence[Fault | None]:
        now = self._clock.monotonic()
        source = self._source
        with self._store.lock:
            answers = [self._settle(settlement, now) for settlement in settlements]
            if source.line:
                source.wake()
        return answers

    def _settle(self, settlement: Settlement[Receipt], now: float) -> Fault | None:
        source = self._source
        entry, claim = settlement.received.receipt
        if not source.holds(entry, claim, now):
            return self._lost
        if isinstance(settlement, Ack):
            source.ack(entry)
        elif isinstance(settlement, Nack):
            source.nack(entry, settlement.delay, settlement.attempts, now)
        elif source.dead is None:
            return Fault(
                FaultKind.INVALID,
                f"{source.entity.kind.value} of {source.entity.name!r}: a dead letter can't be dead-lettered again; "
                "ack it, give it back, or redrive it",
            )
        else:
            source.dead_letter(entry, settlement.reason, settlement.description, now, self._clock.time())
        return None

    async def extend_batch(self, received: Sequence[Received[Receipt]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        now = self._clock.monotonic()
        source = self._source
        until = now + seconds
        with self._store.lock:
            good = [source.holds(*one.receipt, now) for one in received]
            source.extend([one.receipt[0] for one, ok in zip(received, good, strict=True) if ok], until)
        return [LeaseUntil(until) if ok else self._lost for ok in good]

    async def stop(self) -> Sequence[Received[Receipt]]:
        self._stopped = True
        self._alarm.clear()
        for waiter in tuple(self._waiting):
            waiter.fire()
        return []

    async def aclose(self) -> None:
        """Stop its timer; what is still leased comes back when its lease ends."""
        self._alarm.clear()
