"""How long calls of azure-servicebus may take; one that takes longer is cancelled and left to itself.

The library waits for the service's answers without an end of its own, and reads them from a socket that a dead peer
leaves silent. After a timeout its link isn't used any more: a late answer would be taken for another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from azure.servicebus.exceptions import OperationTimeoutError

__all__ = ["ANSWER", "CLOSE", "OPEN", "Late", "Within", "bounded", "each"]

T = TypeVar("T")
A = TypeVar("A")

# Seconds for one answer of the service: an ordinary one takes milliseconds, one while it moves an entity to another
# node some seconds.
ANSWER = 15.0
# Seconds to connect and attach: five round trips and a token, which DefaultAzureCredential may need seconds to find.
OPEN = 20.0
# Seconds to close a link in order: the library takes up to one, and drains for up to five.
CLOSE = 5.0
# A timer that rings this much late, in seconds, says that the process stood still: what came meanwhile is read first.
STALL = 1.0
# Of a batch of settlements, as many are under way together as there are workers: each waits for its answer in turns of
# the link, so that many cost more than they save (measured: 200 at once, three times the processor time of 8). The bus
# makes four such calls: 32 share a round trip.
WORKERS = 16


class Late(OperationTimeoutError):
    """No answer came in time: what was asked for may have been done."""


async def bounded(call: Coroutine[Any, Any, T], seconds: float, what: str) -> T:
    """Return what a call of the library gives, or raise Late after `seconds`, by the event loop's clock.

    A call that is over its time, or whose caller is cancelled, is cancelled and not waited for: the library may be
    waiting for the network in its own clean-up.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(call)
    try:
        while True:
            due = loop.time() + seconds
            await asyncio.wait({task}, timeout=seconds)
            if task.done() or loop.time() - due < STALL:
                break
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if task.done():
        return task.result()
    _abandon(task)
    raise Late(message=_late(what, seconds))


def _late(what: str, seconds: float) -> str:
    return f"{what}: no answer within {seconds:.1f} s; its connection is given up"


class Within:
    """Ends what its block awaits after `seconds`, by Late; for a block in one task that must not pause before it.

    Where `bounded` would do too, that is better: it doesn't rely on the library to let itself be cancelled.
    """

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = seconds
        self._what = what
        self._rung = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is entered in coroutines alone
        self._task = task
        self._cancelling = task.cancelling()
        self._arm()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._seconds
        self._timer = loop.call_later(self._seconds, self._ring)

    def _ring(self) -> None:
        if asyncio.get_running_loop().time() - self._due >= STALL:
            self._arm()
            return
        self._rung = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._timer.cancel()
        if self._rung and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise Late(message=_late(self._what, self._seconds)) from error


async def each(
    call: Callable[[T], Awaitable[A]], items: Sequence[T], seconds: float, late: Callable[[T], A]
) -> list[A]:
    """Call for each item, begun in their order, several under way at once; return the answers in that order.

    What has none after `seconds` is answered by `late`.
    """
    answers: dict[int, A] = {}
    numbered = enumerate(items)

    async def work() -> None:
        for place, item in numbered:
            answers[place] = await call(item)

    async def work_all() -> None:
        if len(items) == 1:
            await work()
        else:
            await asyncio.gather(*(work() for _ in range(min(WORKERS, len(items)))))

    try:
        await bounded(work_all(), seconds, "settling")
    except Late:
        return [answers[place] if place in answers else late(item) for place, item in enumerate(items)]
    return [answers[place] for place in range(len(items))]


def _abandon(task: asyncio.Task[Any]) -> None:
    task.cancel()
    task.add_done_callback(_look_at)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Take the outcome of a call that nobody waits for, so that asyncio doesn't report it."""
    if not task.cancelled():
        task.exception()
