"""Consuming: receiving, and waiting without cost where there is nothing."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from polybus.clock import Clock
from polybus.driver import BatchLimits, LeaseUntil, Nack, Received, Settlement, ToDeadLetters
from polybus.embedded.rules import BATCH
from polybus.embedded.sqlite import faults
from polybus.embedded.sqlite.claim import Claim, Claimed
from polybus.embedded.sqlite.settle import Extending, Receipt, Settling
from polybus.embedded.sqlite.sources import Source
from polybus.embedded.sqlite.wake import Bell
from polybus.embedded.sqlite.wire import unpack
from polybus.embedded.sqlite.work import Work
from polybus.embedded.sqlite.writer import Writer
from polybus.errors import BusClosed, Fault, FaultKind

__all__ = ["Consumer"]

T = TypeVar("T")


class Consumer:
    """Receives from one subscription, queue, or store of dead letters."""

    def __init__(self, writer: Writer, clock: Clock, source: Source, path: Path) -> None:
        self._writer = writer
        self._path = path
        self._clock = clock
        self._source = source
        self._bell = Bell(path, source.id)
        self._after = [""]
        self._waiting: set[asyncio.Future[None]] = set()
        self._stopped = False
        where = f"{source.entity.kind.value} {source.entity.name!r}"
        self._lost = Fault(FaultKind.LEASE_LOST, f"{where}: the lease of this delivery is over; it comes again")
        self._final = Fault(
            FaultKind.INVALID,
            f"{where}: a dead letter can't be dead-lettered again; ack it, give it back, or redrive it",
        )

    @property
    def limits(self) -> BatchLimits:
        return BATCH

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Receipt]]:
        clock = self._clock
        deadline = clock.monotonic() + wait
        while not self._stopped:
            self._bell.drain()
            asked = clock.monotonic()
            claimed = await self._claim(count)
            if claimed.row is not None:
                return self._received(claimed, asked)
            left = deadline - clock.monotonic()
            if left <= 0 or self._stopped:
                break
            # What another consumer leases from now on comes back no sooner than after one lease.
            due = self._source.entity.lease
            if claimed.due is not None:
                due = min(due, max(claimed.due - self._writer.timeline.now(), _TICK))
            await self._wait(min(left, due, self._bell.poll))
        return []

    async def _claim(self, count: int) -> Claimed:
        """Lease what is there; where the caller is cancelled meanwhile, what was leased is given back."""
        claiming = self._writer.ask(Claim(self._source, count, self._after))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            claiming.add_done_callback(self._give_back)
            raise
        except sqlite3.Error as error:
            raise faults.passing(error, self._path) from error

    def _give_back(self, claiming: asyncio.Future[Claimed]) -> None:
        if claiming.cancelled() or claiming.exception() is not None:
            return
        received = self._received(claiming.result(), 0.0)
        if received:
            nacks = [Nack(one, 0.0, one.attempt - 1) for one in received]
            with contextlib.suppress(BusClosed):  # then the end of their leases gives them back
                self._writer.ask(Settling(self._source, nacks)).add_done_callback(_look_at)

    async def _wait(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        timer = self._clock.call_later(seconds, wake)
        deafen = self._bell.listen(wake)
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)
            deafen()
            timer.cancel()

    def _received(self, claimed: Claimed, asked: float) -> list[Received[Receipt]]:
        if claimed.row is None:
            return []
        ordered = self._source.ordered
        until = _until(asked, self._source.entity.lease, claimed.until)
        return [
            Received(
                one.message,
                attempt,
                until,
                (one.seq, claimed.claim),
                group if ordered else None,
                attempt > 1 or one.moves > 0,
                one.moves,
                one.reason,
                one.description,
                str(one.seq),
            )
            for one, (group, attempt) in zip(unpack(claimed.row), claimed.lines, strict=True)
        ]

    async def settle_batch(self, settlements: Sequence[Settlement[Receipt]]) -> Sequence[Fault | None]:
        if self._source.dead is None and any(isinstance(item, ToDeadLetters) for item in settlements):
            return await self._settle_letters(settlements)
        good = await self._ask(Settling(self._source, settlements))
        return [None if ok else self._lost for ok in good]

    async def _settle_letters(self, settlements: Sequence[Settlement[Receipt]]) -> Sequence[Fault | None]:
        allowed = [item for item in settlements if not isinstance(item, ToDeadLetters)]
        answers = iter(await self.settle_batch(allowed) if allowed else ())
        return [self._final if isinstance(item, ToDeadLetters) else next(answers) for item in settlements]

    async def extend_batch(self, received: Sequence[Received[Receipt]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        asked = self._clock.monotonic()
        receipts = [one.receipt for one in received]
        granted = await self._ask(Extending(self._source, receipts, seconds))
        return [self._lost if until is None else LeaseUntil(_until(asked, seconds, until)) for until in granted]

    async def _ask(self, work: Work[T]) -> T:
        try:
            return await self._writer.submit(work)
        except sqlite3.Error as error:
            raise faults.passing(error, self._path) from error

    async def stop(self) -> Sequence[Received[Receipt]]:
        self._stopped = True
        for future in tuple(self._waiting):
            if not future.done():
                future.set_result(None)
        return []

    async def aclose(self) -> None:
        """Remove its bell; what is still leased comes back when its lease ends."""
        self._bell.close()


def _look_at(future: asyncio.Future[Sequence[bool]]) -> None:
    """Take the outcome of what nobody waits for: where it failed, the end of the leases gives back."""
    if not future.cancelled():
        future.exception()


def _until(asked: float, seconds: float, kept: float) -> float:
    """Return when a lease ends: counted from before the call, but for the time in which it waited for the lock.

    `kept` is when it ends in the store, by the same clock: whoever waited for another process isn't told of a lease
    that is over.
    """
    return kept if kept - asked - seconds > _WAITED else asked + seconds


# Seconds from which a call has waited for something: a transaction takes some milliseconds.
_WAITED = 0.5

_TICK = 0.001  # the least wait for something that is due, were the two clocks a little apart
