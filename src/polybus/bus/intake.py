"""Receiving from the backend for as long as there is room, and the end of that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from polybus.bus.calls import Calls, ended, look_at, watch
from polybus.bus.outage import Outage
from polybus.bus.retry import RetryPolicy
from polybus.clock import Clock, Timer, wait_for
from polybus.driver import ConsumerDriver, Received
from polybus.errors import BackendError, Fault, FaultKind

if TYPE_CHECKING:
    from polybus.bus.report import Reporter
    from polybus.flow import Limit

__all__ = ["Intake"]

_log = logging.getLogger("polybus")

# The longest long poll that every cloud grants (SQS: 20 s); nothing is gained by polling more often.
WAIT = 20.0
# The first one is short: a consumer is ready once an answer has come, and an idle source gives none before the end.
FIRST_WAIT = 1.0
# A call that waits for 20 s at most and hasn't answered in a minute won't: that is said, each minute.
SILENCE = 60.0
# A look that comes so many seconds late says that the loop stood still, and nothing of the backend.
LATE = 5.0
# An empty answer is to come after `wait` seconds. One that comes in less than this many seconds is quick: another
# consumer, or the end of a stream, may be the reason; not this many times in a row.
QUICK = 1.0
QUICK_IN_A_ROW = 10
# The wait, in seconds, between quick empty answers after that: so that a bug of a backend isn't a busy loop.
PAUSE = 0.5
# A call that ends cancelled by itself may be a slip of an SDK as its connection closes; not so many times in a row.
CANCELLED_IN_A_ROW = 5
# A limit that lets nothing in for so many seconds is told to the driver: on a cloud that streams, what comes meanwhile
# would wait here. Shorter waits aren't worth the end of a stream, and what comes is taken soon.
REST = 1.0
_CANCELLED = Fault(FaultKind.INTERNAL, "receiving ended cancelled, though nobody cancelled it; a bug of this backend")


class Intake:
    """Asks the driver for as many deliveries as there is room for, again and again.

    `room` says how many that are, 0 or less for none; setting `room_freed` has it asked again. `accept` gets what came,
    `failed` the error that ends receiving. `stopping` is set once nothing more is to be taken.
    """

    def __init__(
        self,
        consumer: ConsumerDriver[Any],
        source: str,
        *,
        clock: Clock,
        retry: RetryPolicy,
        calls: Calls,
        room: Callable[[], int],
        room_freed: asyncio.Event,
        accept: Callable[[Sequence[Received[Any]]], None],
        failed: Callable[[BackendError], None],
        why: Callable[[], str],
        report: Reporter | None,
    ) -> None:
        self._consumer = consumer
        self._source = source
        self._clock = clock
        self._retry = retry
        self._driver = calls
        self._room = room
        self._accept = accept
        self._failed = failed
        self._room_freed = room_freed
        self._no_room = why
        self._report = report
        self.limit: Limit | None = None
        """Says how many may be taken, where there is a limit."""
        self.why: str | None = None
        """Why nothing is taken right now, in a word; None while it is, and where receiving fails."""
        self._outage = Outage(f"receiving from {source!r}", clock)
        self._stopping = asyncio.Event()
        self.stopping = False
        """Whether nothing more is to be taken."""
        self.received_once = False
        """Whether the backend has answered a receive."""
        self._receiving: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[Sequence[Received[Any]]]] = set()
        self._asked: float | None = None
        self._silence: Timer | None = None
        self._look_at = 0.0
        self._quick = 0
        self._unlimited = 0
        self._said_at = float("-inf")

    @property
    def problem(self) -> str | None:
        """Say why nothing may come: it was never received, or can't be now; None while all is well."""
        if self._outage.text is not None:
            return self._outage.text
        # A driver that answers receives from a stream of its own may say by `reached` whether that was ever heard.
        reached = self.received_once and getattr(self._consumer, "reached", True)
        return None if reached else f"nothing was received from {self._source!r} yet"

    def start(self) -> None:
        """Begin to receive."""
        self._receiving = asyncio.get_running_loop().create_task(self._receive(), name=f"polybus intake {self._source}")
        watch(self._receiving, f"receiving from {self._source!r}", self._broken)

    def stop(self) -> None:
        """Take nothing more; `end` waits for what is under way."""
        self.stopping = True
        self.note(None)
        if self._silence is not None:
            self._silence.cancel()
        self._stopping.set()
        self._room_freed.set()

    async def end(self) -> None:
        """Stop the driver, and hand over whatever it still brings."""
        try:
            self._take(await self._consumer.stop())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            _log.error(
                "%r did not stop cleanly: the driver's stop ended cancelled; a bug of this backend", self._source
            )
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            _log.warning("%r did not stop cleanly: %s", self._source, self._driver.fault(error))
        if self._receiving is not None:
            await asyncio.wait([self._receiving])
        while self._calls:  # of those who were cancelled while they fetched
            await asyncio.wait(list(self._calls))
            await asyncio.sleep(0)

    def abandon(self) -> None:
        """Wait for the driver no longer: what it still brings comes again when its lease ends."""
        for call in [*self._calls]:
            call.cancel()
        if self._receiving is not None:
            self._receiving.cancel()

    async def ask(self, count: int, wait: float, patience: float) -> Sequence[Received[Any]] | Fault:
        """Receive once; a Fault where that failed, or was not answered in `patience` seconds.

        The driver's call is never cut off by the end of its caller: what it brings then is accepted all the same.
        """
        call = asyncio.get_running_loop().create_task(self._call(count, wait))
        self._calls.add(call)
        try:
            answered = await ended(self._clock, call, patience)
        except asyncio.CancelledError:
            call.add_done_callback(self._late)
            raise
        if not answered:
            call.add_done_callback(self._late)
            return Fault(FaultKind.TIMEOUT, f"receiving from {self._source!r}: no answer in {patience:.0f} s")
        self._calls.discard(call)
        if call.cancelled():
            return _CANCELLED
        error = call.exception()
        return self._checked(call.result(), count) if error is None else self._driver.fault(error)

    async def _ask(self, count: int) -> Sequence[Received[Any]] | Fault:
        """Receive once more, in this task: a drain waits for the answer, or cuts it off."""
        self._asked = self._clock.monotonic()
        if self._silence is None:
            self._look_later()
        try:
            answer = await self._consumer.receive_batch(count, wait=WAIT if self.received_once else FIRST_WAIT)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _CANCELLED
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            return self._driver.fault(error)
        finally:
            self._asked = None
        return self._checked(answer, count)

    def _look_later(self) -> None:
        self._look_at = self._clock.monotonic() + SILENCE
        self._silence = self._clock.call_later(SILENCE, self._look)

    def _look(self) -> None:
        """Say so where no answer comes; another look follows while one is waited for."""
        self._silence = None
        if self._asked is None or self.stopping:
            return
        now = self._clock.monotonic()
        if now - self._look_at > LATE:
            self._asked = now  # the loop stood still: an answer may be there already
        elif now - self._asked >= SILENCE:
            self._outage.silent(now - self._asked)
        self._look_later()

    async def _call(self, count: int, wait: float) -> Sequence[Received[Any]]:
        return await self._consumer.receive_batch(count, wait=wait)

    def _late(self, call: asyncio.Task[Sequence[Received[Any]]]) -> None:
        self._calls.discard(call)
        look_at(call)
        if not call.cancelled() and call.exception() is None:
            self._take(call.result())

    def _take(self, brought: object) -> None:
        answer = self._checked(brought, None)
        if isinstance(answer, Fault):
            _log.error("%s", answer)
        elif answer:
            self._accept(answer)

    def _checked(self, answer: object, count: int | None) -> Sequence[Received[Any]] | Fault:
        if not _are_messages(answer):
            detail = f"receiving from {self._source!r} gave {type(answer).__qualname__}, not messages"
            return Fault(FaultKind.INTERNAL, f"{detail}; a bug of this backend")
        if count is not None and len(answer) > count:
            now = self._clock.monotonic()
            if now - self._said_at >= SILENCE:
                self._said_at = now
                _log.error(
                    "receiving from %r gave %d messages where %d were asked for; a bug of this backend",
                    self._source,
                    len(answer),
                    count,
                )
        return answer

    def _broken(self, why: str) -> None:
        if not self.stopping:
            self._failed(BackendError(Fault(FaultKind.INTERNAL, why)))

    async def _receive(self) -> None:
        failures = 0
        while not self.stopping:
            room = self._room()
            if room <= 0:
                self.note(self._no_room())
                self._room_freed.clear()
                await self._room_freed.wait()
                continue
            if self.limit is not None and (room := await self._allowed(self.limit, room)) <= 0:
                continue
            if self.why is not None:
                self.note(None)
            began = self._clock.monotonic()
            answer = await self._ask(room)
            if isinstance(answer, Fault):
                failures += 1
                if not await self._survive(answer, failures):
                    return
                continue
            failures = 0
            self.received_once = True
            self._outage.over()
            if answer:
                self._quick = 0
                self._accept(answer)
                if self.limit is not None:
                    await self._spend(self.limit, len(answer))
            elif self._clock.monotonic() - began < QUICK:
                await self._slow_down()
            else:
                self._quick = 0

    def note(self, why: str | None) -> None:
        """Note why nothing is taken, or that it is, and tell hooks."""
        before, self.why = self.why, None if self.stopping else why
        why = self.why
        if self._report is not None and before != why:
            if before is not None:
                self._report.not_taking(before, -1)
            if why is not None:
                self._report.not_taking(why, 1)

    def rest(self) -> None:
        """Tell a driver that takes ahead that nothing is asked for: what it had by then nobody else could have."""
        rest = getattr(self._consumer, "rest", None)
        if rest is None or self.stopping:
            return
        try:
            rest()
        except Exception:  # noqa: BLE001 - no slip of a driver is to end receiving
            _log.exception("%r can't be told that nothing is asked for; a bug of this backend", self._source)

    async def _allowed(self, limit: Limit, room: int) -> int:
        """Return how many of `room` the limit lets in; 0 after a wait, or where there may be no room any more."""
        try:
            count, wait = await limit.ask(room)
        except Exception as error:  # noqa: BLE001 - wherever it is kept: without it nobody knows how many may be taken
            self._unlimited += 1
            wait = self._retry.wait(self._unlimited, None)
            self._outage.failed(Fault(FaultKind.UNAVAILABLE, f"its rate limit can't be asked: {error!r}"), wait)
            count = 0
        else:
            if self._unlimited:
                self._unlimited = 0
                self._outage.over()
        if count > 0:
            return min(count, self._room())
        changed: asyncio.Event | None = getattr(limit, "changed", None)
        self.note(getattr(limit, "why", "limit"))
        if wait >= REST:
            self.rest()
        await self._pause(wait, changed)
        return 0

    async def _spend(self, limit: Limit, count: int) -> None:
        try:
            await limit.took(count)
        except Exception as error:  # noqa: BLE001 - what came is handled all the same; the next `ask` fails as well
            _log.warning(
                "receiving from %r: %d messages aren't counted by its rate limit: %r", self._source, count, error
            )

    async def _slow_down(self) -> None:
        self._quick += 1
        if self._quick <= QUICK_IN_A_ROW or self.stopping:
            return
        if self._quick == QUICK_IN_A_ROW + 1:
            _log.error(
                "receiving from %r ends at once without a message, again and again; a bug of this backend", self._source
            )
        await self._pause(PAUSE)

    async def _survive(self, fault: Fault, failures: int) -> bool:
        """Wait out a fault that may pass; say whether to go on."""
        if self.stopping:
            return False
        if not fault.retryable or (fault is _CANCELLED and failures >= CANCELLED_IN_A_ROW):
            self._failed(BackendError(fault))
            return False
        wait = self._retry.wait(failures, fault.retry_after)
        self._outage.failed(fault, wait)
        return await self._pause(wait)

    async def _pause(self, seconds: float, until: asyncio.Event | None = None) -> bool:
        """Wait, or until an event that the end of receiving sets as well; say whether to go on."""
        if until is not None:
            until.clear()
            if self.stopping:
                return False
        try:
            await wait_for(self._clock, (until or self._stopping).wait(), seconds)
        except TimeoutError:
            return True
        return not self.stopping


def _are_messages(answer: object) -> TypeGuard[Sequence[Received[Any]]]:
    if type(answer) is not list and not isinstance(answer, Sequence):
        return False
    for each in answer:  # noqa: SIM110 - each message passes here, and a generator takes three times as long
        if not isinstance(each, Received):
            return False
    return True
