"""The threads under the AWS backend: as many as are needed, none more than allowed, none stuck for good."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait

import pytest

from polybus.clouds.aws.driver.threads import Threads
from polybus.errors import BusClosed

PATIENCE = 30


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(3, "test")
    yield threads
    threads.shutdown()


def held(threads: Threads, count: int) -> tuple[threading.Event, list[Future[bool]]]:
    """Occupy `count` threads until the event is set."""
    go = threading.Event()
    begun = threading.Semaphore(0)

    def call() -> bool:
        begun.release()
        return go.wait(PATIENCE)

    calls = [threads.submit(call) for _ in range(count)]
    for _ in range(min(count, 3)):
        assert begun.acquire(timeout=PATIENCE)
    return go, calls


def test_answers_and_errors_come_back(threads: Threads) -> None:
    assert threads.submit(divmod, 7, 2).result(PATIENCE) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(PATIENCE)


def test_no_more_threads_than_allowed_and_none_without_need(threads: Threads) -> None:
    for _ in range(20):
        threads.submit(int).result(PATIENCE)
    assert threads.threads == 1
    go, calls = held(threads, 10)
    assert threads.threads == 3
    go.set()
    assert not wait(calls, PATIENCE).not_done


def test_calls_that_nobody_waits_for_hold_up_no_others(threads: Threads) -> None:
    go, calls = held(threads, 3)
    waiting = threads.submit(int)
    assert not waiting.done()
    for call in calls:
        threads.stand_in(call)
    assert waiting.result(PATIENCE) == 0
    assert not wait([threads.submit(int) for _ in range(50)], PATIENCE).not_done
    go.set()
    assert not wait(calls, PATIENCE).not_done
    go, calls = held(threads, 10)
    more = threads.submit(int)
    assert threads.threads <= 6
    go.set()
    assert more.result(PATIENCE) == 0
    assert not wait([threads.submit(int) for _ in range(50)], PATIENCE).not_done


def test_what_has_not_begun_is_cancelled_by_the_end(threads: Threads) -> None:
    go, calls = held(threads, 5)
    threads.shutdown()
    for call in calls[3:]:
        with pytest.raises(CancelledError):
            call.result(PATIENCE)
    go.set()
    assert [call.result(PATIENCE) for call in calls[:3]] == [True] * 3
    with pytest.raises(BusClosed):
        threads.submit(int)
