"""The clocks that everything waits on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from polybus.clock import Alarm, ManualClock, SteppedClock, SystemClock, wait_for


async def test_a_manual_clock_wakes_sleepers_at_their_own_times() -> None:
    clock = ManualClock(start=100.0)
    woken: list[tuple[int, float]] = []

    async def sleeper(seconds: int) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.time()))

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2)]
    await clock.advance(2.5)
    assert woken == [(1, 101.0), (2, 102.0)]
    await clock.advance(0.5)
    await asyncio.gather(*tasks)
    assert clock.time() == 103.0


async def test_a_manual_clock_runs_what_a_timer_sets_going_before_the_next() -> None:
    clock = ManualClock()
    log: list[str] = []

    async def chain() -> None:
        await clock.sleep(1)
        log.append("first")
        await clock.sleep(1)
        log.append("second")

    task = asyncio.create_task(chain())
    await clock.settle()
    clock.call_later(1.5, lambda: log.append("between"))
    await clock.advance(2)
    await task
    assert log == ["first", "between", "second"]


async def test_a_cancelled_timer_does_not_run() -> None:
    for clock in (ManualClock(), SteppedClock()):
        ran: list[int] = []
        timer = clock.call_later(10, lambda: ran.append(1))  # noqa: B023
        timer.cancel()
        if isinstance(clock, ManualClock):
            await clock.advance(20)
        else:
            clock.advance(20)
            await asyncio.sleep(0.01)
        assert not ran


async def test_a_step_wakes_sleepers_on_other_loops() -> None:
    clock = SteppedClock()
    ready = threading.Event()
    woken = threading.Event()

    async def sleep() -> None:
        ready.set()
        await clock.sleep(1_000)
        woken.set()

    thread = threading.Thread(target=lambda: asyncio.run(sleep()))
    thread.start()
    assert ready.wait(10)
    while not woken.wait(0.01):
        clock.advance(500)
    thread.join(10)
    assert not thread.is_alive()


async def test_a_stepped_clock_keeps_what_is_not_due() -> None:
    clock = SteppedClock()
    task = asyncio.create_task(clock.sleep(1_000))
    await asyncio.sleep(0)
    clock.advance(500)
    done, _ = await asyncio.wait([task], timeout=0.05)
    assert not done
    clock.advance(501)
    await asyncio.wait_for(task, 10)


async def test_wait_for_gives_the_result_or_times_out() -> None:
    clock = ManualClock()

    async def answer() -> int:
        return 42

    assert await wait_for(clock, answer(), 1) == 42
    waiting = asyncio.create_task(wait_for(clock, asyncio.Event().wait(), 5))
    await clock.advance(4)
    assert not waiting.done()
    await clock.advance(2)
    with pytest.raises(TimeoutError):
        await waiting


async def test_wait_for_lets_a_cancellation_of_the_caller_through() -> None:
    inner = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wait_for(SystemClock(), inner, 100))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert inner.cancelled()


async def test_an_alarm_rings_once_at_the_first_time_that_was_set() -> None:
    clock, rung = ManualClock(start=100.0), []
    alarm = Alarm(clock, rung.append)
    alarm.set(103.0)
    alarm.set(105.0)
    alarm.set(102.0)
    await clock.advance(2)
    assert rung == [102.0]
    await clock.advance(10)
    assert rung == [102.0]  # the rest is the caller's to set again
    alarm.set(105.0)  # over by then
    await clock.settle()
    assert rung == [102.0, 112.0]


async def test_an_alarm_that_rings_a_moment_early_says_the_time_that_was_set() -> None:
    """Rounding: a loop's timer may come a few nanoseconds before its time."""
    rung: list[float] = []
    clock = ManualClock(start=100.0)
    alarm = Alarm(clock, rung.append)
    alarm.set(103.0)
    clock._now, entry = 102.999999999, clock._timers[0]
    entry.run()
    assert rung == [103.0]


async def test_an_alarm_that_is_cleared_may_be_set_again_and_one_that_is_closed_may_not() -> None:
    clock, rung = ManualClock(start=100.0), []
    alarm = Alarm(clock, rung.append)
    alarm.set(101.0)
    alarm.clear()
    alarm.set(102.0)
    await clock.advance(5)
    assert rung == [102.0]
    alarm.close()
    alarm.set(106.0)
    await clock.advance(5)
    assert rung == [102.0]
