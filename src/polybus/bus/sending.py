"""Which batches leave when, and sending one: tries, waits, taking apart what fails together (contract, P2, P5, P6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, cast

from polybus.bus.calls import Calls, DriverBug
from polybus.bus.options import PublisherOptions
from polybus.bus.outage import Outage
from polybus.bus.send_queue import DONE, Item, SendQueue
from polybus.clock import Clock, Timer
from polybus.driver import PublisherDriver
from polybus.errors import Fault, FaultKind
from polybus.message import Sent

__all__ = ["Batches", "Sender"]

# Into how many parts a batch is taken whose call fails as a whole. A batch of 1,000 (Google's largest) is single
# messages after five calls, within about 3 s of the retries' waits, so that one bad message is found long before the
# deadline; a cloud that merely fails gets no more than four times as many calls with each try, while the waits double.
PARTS = 4
# A call that says the cloud is away says so of all messages, usually. It is taken apart all the same once others got
# through meanwhile, or after so many tries (1 s of waits), or when this part of the deadline is over: a message that
# makes servers or proxies cut the connection must not take its neighbours along.
TRIES_TOGETHER = 4
TIME_TOGETHER = 1 / 3
# Calls that fail as a whole and work at the second try are everyday; from this one on they are an outage, and logged.
TRIES_IN_SILENCE = 3
# How often a message is sent, alone, to a driver that breaks the rules of its interface before that is its outcome.
TRIES_OF_BUGS = 3

_OF_ONE_MESSAGE = frozenset({FaultKind.INVALID, FaultKind.TOO_LARGE})
_OF_THE_WAY = frozenset({FaultKind.UNAVAILABLE, FaultKind.TIMEOUT})


class Sender:
    """Sends batches of one publisher; `conclude` gets each message with its outcome, at least once.

    `following` gives the fault of a message whose key failed just before it; `progressed` is called where others of a
    batch are done, and it goes on; `ended` gets each batch once all its outcomes are told, in the step that tells them.
    """

    def __init__(
        self,
        driver: PublisherDriver[Any],
        *,
        clock: Clock,
        options: PublisherOptions,
        calls: Calls,
        outage: Outage,
        conclude: Callable[[Item, Sent | Fault], None],
        following: Callable[[str], Fault],
        progressed: Callable[[], None],
        ended: Callable[[list[Item]], None],
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._options = options
        self._calls = calls
        self._outage = outage
        self._conclude = conclude
        self._following = following
        self._progressed = progressed
        self._ended = ended
        self._accepted = 0
        # Parts of batches share as many calls as batches may have.
        self._parts = asyncio.Semaphore(options.batches_in_flight)

    async def send(self, batch: list[Item]) -> None:
        """Send a batch until every outcome is known; never raises for what the driver does."""
        try:
            await self._send(batch, 0, whole=True)
        finally:
            for item in batch:
                if item.stage != DONE:
                    detail = "the task that sent it was ended from outside of polybus; it may have been done"
                    self._conclude(item, Fault(FaultKind.INTERNAL, detail))
            self._ended(batch)

    async def _send(self, batch: list[Item], attempt: int, *, whole: bool = False) -> None:
        began, accepted, bugs = self._clock.monotonic(), self._accepted, 0
        while batch:
            attempt += 1
            answer = await (self._call(batch) if whole else self._call_in_turn(batch))
            apart = False
            failed = answer if isinstance(answer, Fault) else None
            if failed is not None and len(batch) > 1:
                if failed.kind in _OF_ONE_MESSAGE:
                    await self._take_apart(batch, attempt)
                    return
                apart = self._suspects_one(failed, attempt, began, accepted)
            elif isinstance(failed, DriverBug):
                bugs += 1
                if bugs == TRIES_OF_BUGS:
                    self._conclude(batch[0], failed)
                    return
            again = self._look_at(batch, [failed] * len(batch) if isinstance(answer, Fault) else answer)
            if not again:
                return
            wait = self._options.retry.wait(attempt, max((fault.retry_after or 0.0) for _, fault in again))
            if failed is not None and attempt >= TRIES_IN_SILENCE:
                self._outage.failed(failed, wait)
            batch = self._drop_overdue(again, wait)
            if not batch:
                return
            await self._clock.sleep(wait)
            batch = [item for item in batch if item.stage != DONE]
            if apart and len(batch) > 1:
                await self._take_apart(batch, attempt)
                return

    async def _call_in_turn(self, batch: list[Item]) -> Sequence[object] | Fault:
        self._progressed()
        async with self._parts:
            return await self._call(batch)

    async def _call(self, batch: Sequence[Item]) -> Sequence[object] | Fault:
        try:
            outcomes: Any = await self._driver.publish_batch([item.prepared for item in batch])  # type: ignore[misc]
        except (KeyboardInterrupt, SystemExit):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self._calls.fault(error)
        except BaseException as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            return self._calls.fault(error)
        if type(outcomes) is not list and not isinstance(outcomes, Sequence):
            outcomes = ()
        if len(outcomes) != len(batch):
            detail = f"the driver gave {len(outcomes)} outcomes for {len(batch)} messages; a bug of this backend"
            return [Fault(FaultKind.INVALID, detail)] * len(batch)  # what was done is done: not to be sent again
        return cast(Sequence[object], outcomes)

    def _look_at(self, batch: Iterable[Item], outcomes: Sequence[object]) -> list[tuple[Item, Fault]]:
        """Tell what is known, and return what is worth another try."""
        again: list[tuple[Item, Fault]] = []
        accepted = False
        failed: set[str | None] = set()
        conclude = self._conclude
        for item, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Sent):
                conclude(item, outcome)
                accepted = True
                continue
            fault = outcome if isinstance(outcome, Fault) else _no_outcome(outcome)
            if fault.retryable and item.stage != DONE and item.key not in failed:
                again.append((item, fault))
                continue
            conclude(item, fault)
            if item.blocks and item.key is not None:
                failed.add(item.key)
        if accepted:
            self._accepted += 1
            if self._outage.since is not None:
                self._outage.over()
        if again:
            self._progressed()
        return again

    def _drop_overdue(self, again: Iterable[tuple[Item, Fault]], wait: float) -> list[Item]:
        """Give up what would be tried after its deadline, and what follows it on its key; return the rest."""
        now = self._clock.monotonic()
        keep: list[Item] = []
        overdue: set[str | None] = set()
        for item, fault in again:
            if now + wait < item.deadline and item.key not in overdue:
                item.last = fault
                keep.append(item)
                continue
            if item.blocks and item.key is not None:
                overdue.add(item.key)
            limit = self._options.deadline
            detail = f"not accepted within the publisher's deadline of {limit:g} s; last: {fault}"
            self._conclude(item, Fault(FaultKind.DEADLINE, detail, fault.code))
        return keep

    # A batch that fails as a whole ------------------------------------------------------------------------------------

    def _suspects_one(self, fault: Fault, attempt: int, began: float, accepted: int) -> bool:
        """Say whether one of several messages may be why their call failed, and the rest of them get through alone."""
        if fault.kind is FaultKind.INTERNAL:
            return True
        if fault.kind not in _OF_THE_WAY:
            return False
        late = self._clock.monotonic() - began >= self._options.deadline * TIME_TOGETHER
        return late or attempt >= TRIES_TOGETHER or self._accepted > accepted

    async def _take_apart(self, batch: list[Item], attempt: int) -> None:
        """Send a batch in parts, so that one bad message doesn't fail the others."""
        groups = _by_key(batch)
        if len(groups) == 1 and groups[0][0].blocks:
            await self._one_after_another(groups[0], attempt)
            return
        parts = [[item for group in part for item in group] for part in _parts(groups)]
        # The parts share no key, so none waits for another. What one of them ends with, `send` concludes.
        await asyncio.gather(*(self._send(part, attempt) for part in parts), return_exceptions=True)

    async def _one_after_another(self, batch: list[Item], attempt: int) -> None:
        """Send the messages of one key in parts; after one that fails, its followers fail."""
        for part in _parts(batch):
            if any(item.failed for item in batch):
                for item in part:
                    self._conclude(item, self._following(item.key or ""))
            else:
                await self._send(part, attempt)


def _by_key(batch: Iterable[Item]) -> list[list[Item]]:
    """Return the messages that must stay in order together, and each of the others by itself."""
    groups: dict[object, list[Item]] = {}
    for item in batch:
        groups.setdefault(item.key if item.blocks and item.key is not None else item, []).append(item)
    return list(groups.values())


def _parts(whole: Sequence[Any]) -> Iterator[Any]:
    size = -(-len(whole) // PARTS)
    return (whole[start : start + size] for start in range(0, len(whole), size))


def _no_outcome(given: object) -> Fault:
    detail = f"the driver gave {type(given).__qualname__} as an outcome; a bug of this backend"
    return Fault(FaultKind.INVALID, detail)


class Batches:
    """Sends what may leave: at once while nothing is under way, else in full batches, or after the linger."""

    def __init__(self, queue: SendQueue, sender: Sender, *, clock: Clock, options: PublisherOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = queue
        self._sender = sender
        self._clock = clock
        self._options = options
        self._sending: dict[asyncio.Task[None], list[Item]] = {}
        # Cancelled calls that have not ended: they are over their time, and nothing waits for them.
        self._given_up: set[asyncio.Task[None]] = set()
        self.due: asyncio.Handle | None = None
        """What is to come on the loop's next turn; public so that not each message calls `schedule` for nothing."""
        self._linger: Timer | None = None
        self._flushing = False

    def schedule(self) -> None:
        """See to it that what may leave does."""
        if self.due is not None:
            return
        if self._linger is not None and self._sending and not self._flushing and not self._queue.full:
            return  # it lingers already: nearly always, where many are published
        if not self._queue or len(self._sending) >= self._options.batches_in_flight:
            return
        if not self._sending or self._queue.full or self._flushing:
            # On the loop's next turn, so that what is published in this one shares the batch.
            self.due = self._loop.call_soon(self._flush_now)
        elif self._linger is None:
            self._linger = self._clock.call_later(self._options.linger, self._lingered)

    def flush(self) -> None:
        """Linger no more."""
        self._flushing = True
        self.schedule()

    def give_up(self, calls: Container[object]) -> None:
        """Cancel those of the calls of which every outcome is told; nothing waits for them, since they may hang."""
        for task, items in list(self._sending.items()):
            if task in calls and all(item.stage == DONE for item in items):
                del self._sending[task]
                self._given_up.add(task)
                task.cancel()
        self.schedule()

    def ended(self, batch: list[Item]) -> None:
        """Take note that a batch is done, before those who wait for it go on: what they publish needn't linger."""
        if self._sending.pop(cast(asyncio.Task[None], batch[0].batch), None) is not None:
            self.schedule()

    async def aclose(self) -> None:
        """Wait for the calls that have not ended; all that was taken has its outcome."""
        for timer in (self._linger, self.due):
            if timer is not None:
                timer.cancel()
        ending = [*self._sending, *self._given_up]
        if ending:
            await asyncio.wait(ending)

    def _lingered(self) -> None:
        self._linger = None
        if self._queue and len(self._sending) < self._options.batches_in_flight:
            self._start()
        self.schedule()

    def _flush_now(self) -> None:
        self.due = None
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        while self._queue and len(self._sending) < self._options.batches_in_flight:
            self._start()
            if not (self._queue.full or self._flushing):
                break
        self.schedule()

    def _start(self) -> None:
        batch = self._queue.take()
        task = self._loop.create_task(self._sender.send(batch))
        self._sending[task] = batch
        for item in batch:
            item.batch = task
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._given_up.discard(task)
        if self._sending.pop(task, None) is not None:
            self.schedule()
