"""Telling the backend what became of deliveries, in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from polybus.bus.calls import Calls
from polybus.bus.held import HeldDelivery
from polybus.bus.retry import RetryPolicy
from polybus.clock import Alarm, Clock
from polybus.driver import ConsumerDriver, Settlement, ToDeadLetters
from polybus.errors import BackendError, Fault, FaultKind, LeaseLost

__all__ = ["Settler"]

_log = logging.getLogger("polybus")

# Settle calls under way at once: one would leave the way to the cloud idle during each round trip, many would make
# batches of one.
CALLS = 4
# A call is given at least this long (seconds), however little is left of its leases: a round trip to a region far away.
SHORTEST = 1.0
# What a backend may mean that has no room, or no liking, for a dead letter's texts; or for one message of a call.
_PICKY = (FaultKind.TOO_LARGE, FaultKind.INVALID)
# Characters of a reason that is tried when even a letter without a description is refused.
SHORT_REASON = 32
_TOO_LATE = "the event loop or the process stood still until its lease was over, and the backend was not told"


# gc=False: it is forgotten with its answer.
class _Entry(msgspec.Struct, eq=False, gc=False):
    delivery: HeldDelivery
    settlement: Settlement[Any]
    future: asyncio.Future[None] | None
    attempts: int = 0
    alone: bool = False


class _Call:
    """A settlement of several that is under way."""

    __slots__ = ("batch", "task", "until")

    def __init__(self, batch: Sequence[_Entry], until: float) -> None:
        self.batch = batch
        self.until = until  # by the clock's `monotonic`: longer it isn't waited for
        self.task: asyncio.Task[None] | None = None


class Settler:
    """Settles deliveries: what is asked for in one turn of the loop, or while calls are under way, shares a call.

    Retryable faults are tried again until the lease ends, and no call is waited for longer. `on_done` gets each
    delivery with its fault, or None where it is settled.
    """

    def __init__(
        self,
        consumer: ConsumerDriver[Any],
        source: str,
        *,
        clock: Clock,
        retry: RetryPolicy,
        calls: Calls,
        on_done: Callable[[HeldDelivery, Settlement[Any], Fault | None], None],
    ) -> None:
        self._consumer = consumer
        self._source = source
        self._clock = clock
        self._retry = retry
        self._driver = calls
        self._on_done = on_done
        self._waiting: deque[_Entry] = deque()
        self._open: dict[HeldDelivery, _Entry] = {}
        self._scheduled = False
        self._calls: set[_Call] = set()
        # Due when the first of the calls may be over; it nearly always finds it done.
        self._alarm = Alarm(clock, self._look)
        self._loop = asyncio.get_running_loop()
        self._over: Fault | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def open(self) -> int:
        """How many settlements the backend has not answered yet."""
        return len(self._open)

    def soon(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None:
        """Settle without anyone waiting for it."""
        self._add(_Entry(delivery, settlement, None))

    async def settle(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None:
        """Settle and return once the backend knows; raise LeaseLost or BackendError."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._add(_Entry(delivery, settlement, future))
        await future

    async def flush(self) -> None:
        """Return once everything is settled or given up."""
        await self._idle.wait()
        self._alarm.clear()

    def give_up(self, delivery: HeldDelivery) -> None:
        """Wait no longer for the answer on a delivery whose lease is over: whoever waits is told LeaseLost."""
        entry = self._open.get(delivery)
        if entry is not None:
            self._close(entry, Fault(FaultKind.LEASE_LOST, "its lease ended before the backend answered"))

    def end(self, fault: Fault) -> None:
        """Give up all that is open, with this fault, and whatever comes after."""
        self._over = fault
        for call in self._calls:
            if call.task is not None:
                call.task.cancel()
        for entry in list(self._open.values()):
            self._finish(entry, fault)
        self._alarm.clear()

    # Calls -----------------------------------------------------------------------------------------------------------

    def _add(self, entry: _Entry) -> None:
        delivery = entry.delivery
        delivery.settling = True
        if not self._open:
            self._idle.clear()
        self._open[delivery] = entry
        if self._over is not None:
            self._finish(entry, self._over)
            return
        self._waiting.append(entry)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._waiting and len(self._calls) < CALLS:
            self._scheduled = True
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._calls) < CALLS:
            batch = self._take()
            if not batch:
                continue
            until = max([entry.delivery.lease_until for entry in batch])
            call = _Call(batch, max(until, self._clock.monotonic() + SHORTEST))
            self._calls.add(call)
            if call.until < self._alarm.due:
                self._alarm.set(call.until)
            # Last: with a loop's eager tasks (Python 3.12) it may be answered before it is returned.
            call.task = self._loop.create_task(self._call(call))
            call.task.add_done_callback(partial(self._ended, call))

    def _take(self) -> list[_Entry]:
        batch: list[_Entry] = []
        waiting, still_open = self._waiting, self._open
        most = self._consumer.limits.count
        while waiting and len(batch) < most:
            if waiting[0].alone and batch:
                break
            entry = waiting.popleft()
            if still_open.get(entry.delivery) is entry:
                batch.append(entry)
                if entry.alone:
                    break
        return batch

    async def _call(self, call: _Call) -> None:
        call.batch = self._in_time(call.batch)
        if not call.batch:
            self._answered(call, [])
            return
        # The answer is taken in the step that brings it, so that nothing comes between.
        try:
            answers: object = await self._consumer.settle_batch([entry.settlement for entry in call.batch])
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            answers = self._driver.fault(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._refuse(call, "the driver's call ended cancelled, though nobody cancelled it")
            return
        self._answered(call, answers)

    def _in_time(self, batch: Sequence[_Entry]) -> Sequence[_Entry]:
        """Return what may be told now; the lease of the others is over: by now they may be someone else's.

        The loop may have stood still since they were to be settled, and there are backends where an old receipt settles
        a message for whoever has it (SQS).
        """
        now = self._clock.monotonic()
        for entry in batch:
            if entry.delivery.lease_until <= now:
                self._finish(entry, Fault(FaultKind.LEASE_LOST, _TOO_LATE))
        return [entry for entry in batch if self._is_open(entry)]

    def _look(self, now: float) -> None:
        for call in [call for call in self._calls if call.until <= now]:
            self._overdue(call)
        if self._calls:
            self._alarm.set(min([call.until for call in self._calls]))

    def _overdue(self, call: _Call) -> None:
        """Wait for a call no longer than its leases last; it may swallow its cancellation, and is left to itself."""
        if call.task is not None:
            call.task.cancel()
        self._answered(call, Fault(FaultKind.TIMEOUT, "no answer in time; it may have been done"))

    def _ended(self, call: _Call, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self._answered(call, Fault(FaultKind.TIMEOUT, "the call was cut off; it may have been done"))
        elif (error := task.exception()) is not None:
            _log.error("settling in %r has a bug", self._source, exc_info=error)
            self._answered(call, Fault(FaultKind.INTERNAL, repr(error)))

    def _answered(self, call: _Call, answers: object) -> None:
        if not self._close_call(call):
            return
        batch = call.batch
        if isinstance(answers, Fault):
            if answers.kind in _PICKY and len(batch) > 1:  # for one of them, perhaps: each is asked for by itself
                for entry in batch:
                    entry.alone = True
                    self._once_more(entry)
            else:
                for entry in batch:
                    self._conclude(entry, answers)
        elif (type(answers) is not list and not isinstance(answers, Sequence)) or len(answers) != len(batch):
            found = f"{len(answers)} answers" if isinstance(answers, Sequence) else repr(answers)
            self._refuse(call, f"the driver gave {found} for {len(batch)} settlements")
        else:
            self._each(batch, answers)
        if not self._open:
            self._idle.set()
        self._schedule()

    def _each(self, batch: Sequence[_Entry], answers: Sequence[object]) -> None:
        still_open, on_done = self._open, self._on_done
        for entry, answer in zip(batch, answers, strict=True):
            if answer is None and entry.future is None:  # most of them: nobody waits
                delivery = entry.delivery
                if still_open.pop(delivery, None) is not None:
                    on_done(delivery, entry.settlement, None)
            elif answer is None:
                self._finish(entry, None)
            elif isinstance(answer, Fault):
                self._conclude(entry, answer)
            else:
                what = f"the driver gave {type(answer).__qualname__} as the answer to a settlement"
                self._finish(entry, Fault(FaultKind.INVALID, f"{what}; a bug of this backend"))

    def _close_call(self, call: _Call) -> bool:
        if call not in self._calls:
            return False
        self._calls.discard(call)
        return True

    def _refuse(self, call: _Call, what: str) -> None:
        """Fail what a backend's bug answers: it isn't tried again, since it would be answered so again."""
        self._close_call(call)
        for entry in call.batch:
            self._finish(entry, Fault(FaultKind.INVALID, f"{what}; a bug of this backend"))
        self._schedule()

    def _conclude(self, entry: _Entry, fault: Fault) -> None:
        if not self._is_open(entry):
            return
        if fault.retryable:
            self._again(entry, fault)
        elif fault.kind in _PICKY and (less := _less(entry.settlement)) is not None:
            _log.warning(
                "the dead letter of message %s of %r was refused, and is tried with less text: %s",
                entry.delivery.id,
                self._source,
                fault,
            )
            entry.settlement = less
            self._once_more(entry)
        else:
            self._finish(entry, fault)

    # Trying again ----------------------------------------------------------------------------------------------------

    def _again(self, entry: _Entry, fault: Fault) -> None:
        entry.attempts += 1
        wait = self._retry.wait(entry.attempts, fault.retry_after)
        if self._clock.monotonic() + wait >= entry.delivery.lease_until:
            detail = f"could not be settled before its lease ended; last: {fault}"
            self._finish(entry, Fault(FaultKind.LEASE_LOST, detail, fault.code))
            return
        self._clock.call_later(wait, lambda: self._once_more(entry))

    def _once_more(self, entry: _Entry) -> None:
        if self._is_open(entry):
            self._waiting.append(entry)
            self._schedule()

    # Ends ------------------------------------------------------------------------------------------------------------

    def _is_open(self, entry: _Entry) -> bool:
        return self._open.get(entry.delivery) is entry

    def _finish(self, entry: _Entry, fault: Fault | None) -> None:
        if self._open.get(entry.delivery) is entry:
            self._on_done(entry.delivery, entry.settlement, fault)
            self._close(entry, fault)

    def _close(self, entry: _Entry, fault: Fault | None) -> None:
        if self._open.pop(entry.delivery, None) is None:
            return
        future = entry.future
        if future is not None and not future.done():
            if fault is None:
                future.set_result(None)
            elif fault.kind is FaultKind.LEASE_LOST:
                future.set_exception(LeaseLost(entry.delivery.lost_text()))
            else:
                future.set_exception(BackendError(fault))
        if not self._open:
            self._idle.set()


def _less(settlement: Settlement[Any]) -> ToDeadLetters[Any] | None:
    """Return a dead letter with less of what polybus adds to it, or None where there is no less."""
    if not isinstance(settlement, ToDeadLetters):
        return None
    if settlement.description:
        return msgspec.structs.replace(settlement, description="")
    short = settlement.reason.encode("ascii", "ignore").decode()[:SHORT_REASON]
    return msgspec.structs.replace(settlement, reason=short) if short != settlement.reason else None
