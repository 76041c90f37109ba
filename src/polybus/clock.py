"""Time, as something that is passed in: real, or owned by a test.

Everything in polybus that waits takes a `Clock`. Production code runs on `SystemClock`. `ManualClock` stands still
until it is advanced, for tests in which nothing but the test moves. `SteppedClock` runs like the real one and can be
moved forward at will, for tests in which real sockets, threads or other event loops take part.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")

__all__ = ["Alarm", "Clock", "ManualClock", "SteppedClock", "SystemClock", "Timer", "machine_time", "wait_for"]


class Timer(Protocol):
    """A callback that is due at some time."""

    def cancel(self) -> None:
        """Keep the callback from running; does nothing once it ran or was cancelled."""


@runtime_checkable
class Clock(Protocol):
    """What tells the time, and calls back when some of it has passed."""

    def time(self) -> float:
        """Return seconds since the epoch, for what is stored or sent; it may be set back by an administrator."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start, for measuring; it never goes back."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` on the running event loop once `delay` seconds are over.

        Call it from a coroutine or a callback of that loop.
        """

    async def sleep(self, delay: float) -> None:
        """Wait for `delay` seconds; cancellable."""


class SystemClock:
    """The machine's own clock."""

    # Read several times a message: without a call in between that takes two thirds of the time.
    monotonic = staticmethod(time.monotonic)

    def time(self) -> float:
        return time.time()

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)


class _Entry:
    """One pending callback of a clock that a test owns."""

    __slots__ = ("callback", "due", "forget", "handle", "loop", "order")

    def __init__(
        self,
        due: float,
        order: int,
        callback: Callable[[], object],
        forget: Callable[[_Entry], None] = lambda entry: None,
    ) -> None:
        self.due = due
        self.order = order
        self.loop = asyncio.get_running_loop()
        self.callback: Callable[[], object] | None = callback
        self.handle: asyncio.TimerHandle | None = None
        self.forget = forget

    def __lt__(self, other: _Entry) -> bool:
        return (self.due, self.order) < (other.due, other.order)

    def cancel(self) -> None:
        self.callback = None
        self.forget(self)
        if self.handle is not None:
            self.handle.cancel()

    def run(self) -> None:
        self.forget(self)
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


async def _sleep(clock: Clock, delay: float) -> None:
    if delay <= 0:
        await asyncio.sleep(0)
        return
    woken = asyncio.Event()
    timer = clock.call_later(delay, woken.set)
    try:
        await woken.wait()
    finally:
        timer.cancel()


class ManualClock:
    """A clock that stands still until a test advances it; for one event loop.

    `start` is its first reading, in seconds since the epoch.
    """

    # Turns of the loop that are given to what a timer set going before the next timer runs. A chain of awaits as long
    # as this must lie between two timers before the order of events could differ from that on a real clock; the longest
    # chain in polybus (timer, consumer, driver, batcher, waiter) is under ten.
    SETTLE_TURNS = 50

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._timers: list[_Entry] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        entry = _Entry(self._now + max(delay, 0.0), next(self._order), callback)
        heapq.heappush(self._timers, entry)
        if delay <= 0:
            entry.handle = entry.loop.call_later(0, entry.run)
        return entry

    async def sleep(self, delay: float) -> None:
        await _sleep(self, delay)

    def next_due(self) -> float | None:
        """Return the seconds until the next timer, or None where there is none."""
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return max(self._timers[0].due - self._now, 0.0) if self._timers else None

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        for _ in range(self.SETTLE_TURNS):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move `seconds` forward, running each timer at its own time and letting its consequences settle."""
        target = self._now + seconds
        await self.settle()
        while (due := self.next_due()) is not None and self._now + due <= target:
            entry = heapq.heappop(self._timers)
            self._now = max(self._now, entry.due)
            entry.run()
            await self.settle()
        self._now = target
        await self.settle()


class SteppedClock:
    """A clock that runs like the machine's and can be moved forward; shared by threads and event loops."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._lock = threading.Lock()
        self._pending: set[_Entry] = set()
        self._order = itertools.count()

    def time(self) -> float:
        return time.time() + self._offset

    def monotonic(self) -> float:
        return time.monotonic() + self._offset

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        entry = _Entry(self.monotonic() + delay, next(self._order), callback, self._forget)
        with self._lock:
            self._pending.add(entry)
        entry.handle = entry.loop.call_later(delay, entry.run)
        return entry

    async def sleep(self, delay: float) -> None:
        await _sleep(self, delay)

    def advance(self, seconds: float) -> None:
        """Move `seconds` forward at once; what falls due runs on its own loop, soon; callable from any thread."""
        with self._lock:
            self._offset += seconds
            self._pending = {entry for entry in self._pending if not entry.loop.is_closed()}
            pending = sorted(self._pending)
        for entry in pending:
            with contextlib.suppress(RuntimeError):  # its loop was closed just now: nobody waits any more
                entry.loop.call_soon_threadsafe(self._rearm, entry)

    def _rearm(self, entry: _Entry) -> None:
        if entry.callback is None:
            return
        if entry.handle is not None:
            entry.handle.cancel()
        remaining = entry.due - self.monotonic()
        if remaining <= 0:
            entry.run()
        else:
            entry.handle = entry.loop.call_later(remaining, entry.run)

    def _forget(self, entry: _Entry) -> None:
        with self._lock:
            self._pending.discard(entry)


# Linux leaves the time in which a machine is suspended out of the one, and not of the other; macOS counts it in both.
_MACHINE = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def machine_time() -> float:
    """Return seconds since an arbitrary start that all processes of this machine share; nothing stops or sets it.

    For what one process tells another; what is waited for goes by a `Clock`.
    """
    return time.clock_gettime(_MACHINE)


class Alarm:
    """One timer for many waits, most of which are over long before they are due; for one event loop.

    `ring` is called once the first time that was `set` has come, with the time that it is by then. It is the caller's
    to set the alarm again for the waits that go on.
    """

    __slots__ = ("_clock", "_ring", "_timer", "due")

    def __init__(self, clock: Clock, ring: Callable[[float], object]) -> None:
        self._clock = clock
        self._ring = ring
        self._timer: Timer | None = None
        self.due = math.inf
        """When it rings, by the clock's `monotonic`; to be compared before `set` where a call is much."""

    def set(self, due: float) -> None:
        """Have it ring at `due`; does nothing where it rings before that, or was closed."""
        if due >= self.due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.due = due
        clock = self._clock
        self._timer = clock.call_later(max(due - clock.monotonic(), 0.0), self._wake)

    def _wake(self) -> None:
        now = max(self._clock.monotonic(), self.due)  # the difference is one of rounding
        self._timer, self.due = None, math.inf
        self._ring(now)

    def clear(self) -> None:
        """Have it not ring for what was set so far."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.due = None, math.inf

    def close(self) -> None:
        """Have it never ring again, whatever is set."""
        self.clear()
        self.due = -math.inf


async def wait_for(clock: Clock, awaitable: Awaitable[T], timeout: float) -> T:
    """Return what `awaitable` gives, or raise TimeoutError once `timeout` seconds of `clock` are over.

    The awaitable is cancelled on a timeout, and when the caller is.
    """
    expired = False
    task = asyncio.ensure_future(awaitable)
    caller = asyncio.current_task()
    cancelling = caller.cancelling() if caller is not None else 0

    def expire() -> None:
        nonlocal expired
        expired = not task.done()
        task.cancel()

    timer = clock.call_later(timeout, expire)
    try:
        return await task
    except asyncio.CancelledError:
        # As in asyncio.timeout: the caller's own cancellation wins over a timeout that came at the same time.
        if expired and (caller is None or caller.cancelling() <= cancelling):
            raise TimeoutError from None
        task.cancel()
        raise
    finally:
        timer.cancel()
