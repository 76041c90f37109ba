"""What happens when deliveries are given to a handler that takes several at once."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType

from polybus.app.executor import BatchExecutor, TooLate, Undecodable, decode, describe, describe_all
from polybus.app.handler import Handler
from polybus.app.logs import at_delivery
from polybus.app.row import Row
from polybus.app.watchdog import Running
from polybus.bus.delivery import Delivery, held_of
from polybus.bus.held import HeldDelivery, State
from polybus.clock import Alarm, Clock
from polybus.errors import BatchFailed, DeadLetter, LeaseLost, exit_in, signal_in

__all__ = ["BatchInvoker"]

_log = logging.getLogger("polybus.app")

# Seconds that a call has to end once it was cancelled, as one for a single message (polybus.bus.stragglers); then
# another may begin in its place, up to so many times the concurrency.
AFTER = 2.0
MOST = 4


class _Item:
    """A delivery, from when it joins until it is known what became of it."""

    __slots__ = ("batch", "delivery", "error", "held", "joined", "known", "number", "over", "traceback")

    def __init__(self, delivery: Delivery, number: int, joined: float) -> None:
        self.delivery = delivery
        self.number = number
        self.held: HeldDelivery = held_of(delivery)
        self.joined = joined
        self.batch: _Batch | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.known = False
        self.error: BaseException | None = None
        self.traceback: TracebackType | None = None

    def finish(self, error: BaseException | None) -> None:
        self.known, self.error = True, error
        self.traceback = None if error is None else error.__traceback__
        if not self.over.done():
            self.over.set_result(None)


class _Batch:
    """Deliveries that one call handles; `left` counts those that weren't taken from it."""

    __slots__ = ("cancelled", "items", "left", "replaced", "supervised", "task")

    def __init__(self, items: Sequence[_Item]) -> None:
        self.items = items
        self.left = len(items)
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False
        self.replaced = False
        self.supervised = False


class BatchInvoker:
    """Gathers deliveries, calls a handler for as many as it takes, and tells each what became of it.

    It is called for each delivery, in a task of that one's own, which keeps its lease, and returns or raises as the
    handler of one message would. Nothing is begun of what is gathered: `let_go` gives it back, and no attempt was made.
    A call begins once `max_batch` have come, or `max_wait` after the first, and with no more than have come by then.
    `context` is what the handler runs in. `on_exit` and `on_stop` are as in `polybus.app.invoker.Invoker`.
    """

    def __init__(
        self,
        handler: Handler,
        executor: BatchExecutor,
        running: Running,
        on_exit: Callable[[BaseException], bool],
        on_stop: Callable[[str], None],
        *,
        clock: Clock,
        context: contextvars.Context,
    ) -> None:
        assert handler.batching is not None  # noqa: S101 - whoever makes it has looked
        self._handler = handler
        self.name = handler.name
        self._executor = executor
        self._running = running
        self._on_exit = on_exit
        self._row = Row(handler, on_stop)
        self._clock = clock
        self._context = context
        self._most = handler.batching.max_batch
        self._wait = handler.batching.max_wait
        self._calls = handler.batching.concurrency
        self._gathered: dict[_Item, None] = {}
        self._batches: set[_Batch] = set()
        self._alarm = Alarm(clock, self._look)
        self._looking = False
        # What middleware has before it joins, with its place in the order of arrival.
        self._coming: dict[HeldDelivery, int] = {}
        self._numbers = itertools.count()
        self._at_once = False
        self._ending = False
        self._interrupted = False

    @property
    def gathering(self) -> int:
        """How many deliveries wait for their batch to begin."""
        return len(self._gathered)

    def expect(self, delivery: Delivery) -> None:
        """Note that a delivery is on its way through middleware: its place is the one of its arrival."""
        self._coming[held_of(delivery)] = next(self._numbers)

    def expect_no_more(self, delivery: Delivery) -> None:
        """Note that a delivery has passed, or was kept by middleware."""
        if self._coming.pop(held_of(delivery), None) is not None:
            self._look_soon()  # the others needn't wait for it

    async def __call__(self, delivery: Delivery) -> None:
        number = self._coming.pop(held_of(delivery), None)
        item = _Item(delivery, next(self._numbers) if number is None else number, self._clock.monotonic())
        item.held.begun = False  # until its batch begins
        if self._ending or self._interrupted:
            item.held.cancelled = True  # it is given back, as what is taken from a handler
            raise asyncio.CancelledError
        at_delivery(delivery.source, delivery.id)
        self._join(item)
        try:
            await item.over
        except asyncio.CancelledError:
            await self._cut_off(item)
        await self._outcome(item)

    def take_at_once(self) -> int:
        """Wait for no more than comes in the same turn of the loop: nothing else will; say how many a call takes."""
        self._wait, self._at_once = 0.0, True
        return self._most

    def set_calls(self, calls: int) -> None:
        """Have so many calls run at once from now on."""
        self._calls = calls
        self._look(self._clock.monotonic())

    def let_go(self, ending: bool) -> None:
        """Give back what no batch has begun with; with `ending` all that comes from now on, too."""
        self._ending = self._ending or ending
        for item in list(self._gathered):
            item.held.cancel()
        self._gathered.clear()
        self._alarm.clear()

    def interrupt(self) -> None:
        """Cancel what is being handled, and handle nothing more: it is given back at once."""
        self._interrupted = True
        self.let_go(ending=True)
        for batch in list(self._batches):
            for item in batch.items:
                if not item.known:
                    item.held.cancel()

    # Gathering -------------------------------------------------------------------------------------------------------

    def _join(self, item: _Item) -> None:
        self._gathered[item] = None
        if len(self._gathered) >= self._most:
            self._look(item.joined)
        elif self._wait > 0:
            if len(self._gathered) == 1:
                self._look(item.joined)
        else:
            self._look_soon()

    def _look_soon(self) -> None:
        """Look once those that came with the latest have joined, too: they do in the same turn of the loop."""
        if not self._looking and self._wait <= 0:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look_now)

    def _look_now(self) -> None:
        self._looking = False
        self._look(self._clock.monotonic())

    def _look(self, now: float) -> None:
        """Begin what may begin, and see to it that the rest is looked at in time."""
        if self._at_once and self._coming:
            return  # of a key none may pass another that middleware still has
        while self._gathered and self._busy() < self._calls:
            due = next(iter(self._gathered)).joined + self._wait
            if len(self._gathered) < self._most and now < due:
                self._alarm.set(due)
                return
            self._begin(now)

    def _busy(self) -> int:
        """How many places are taken: by calls that go on though they were cancelled, only where they are too many."""
        replaced = sum(batch.replaced for batch in self._batches)
        return len(self._batches) - (replaced if replaced < MOST * self._calls else 0)

    def _begin(self, now: float) -> None:
        items = []
        for item in sorted(self._gathered, key=_number)[: self._most]:
            del self._gathered[item]
            if item.held.state is State.LOST or item.held.lease_until <= now:
                # The keeper hasn't seen it yet: it is told as it settles, and nothing is handled whose lease is over.
                item.finish(LeaseLost(item.held.lost_text()))
            else:
                items.append(item)
        if not items:
            return
        batch = _Batch(items)
        for item in items:
            item.batch = batch
            item.held.begun = True
        self._batches.add(batch)
        batch.task = asyncio.get_running_loop().create_task(
            self._run(batch), name=f"polybus batch {self._handler.source}", context=self._context.copy()
        )
        batch.task.add_done_callback(partial(self._ended, batch))

    def _ended(self, batch: _Batch, task: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        error = None if task.cancelled() else task.exception()
        for item in batch.items:
            if not item.known and not batch.cancelled:  # cut off before its first step, or a slip of this module
                item.finish(error or asyncio.CancelledError())
        self._look(self._clock.monotonic())

    # Handling --------------------------------------------------------------------------------------------------------

    async def _run(self, batch: _Batch) -> None:
        task = asyncio.current_task()
        items, bodies = self._decoded(batch.items)
        if not items:
            return
        error: BaseException | None = None
        self._running[task] = self._handler.name
        try:
            await self._executor.call_batch(bodies, [item.delivery for item in items])
        except BaseException as raised:  # whatever a handler raises is a failed attempt
            if _is_thrown_away(task):
                raise
            error = raised
        finally:
            del self._running[task]
        if isinstance(error, asyncio.CancelledError) and batch.cancelled:
            _log.warning(
                "handler %s was cancelled, its messages were lost or given back: %s", self.name, _describe(items)
            )
            return
        self._conclude(batch, items, error)

    def _decoded(self, batch: Sequence[_Item]) -> tuple[list[_Item], list[object]]:
        """Return those whose bodies are what the handler wants, and the bodies; the others fail by themselves."""
        items: list[_Item] = []
        bodies: list[object] = []
        for item in batch:
            try:
                bodies.append(decode(self._handler.signature.decode, item.delivery))
            except Undecodable as error:
                if self._row.stops(error, describe(item.delivery)):
                    self._interrupted = True
                    self.let_go(ending=True)
                    item.held.begun = False
                    item.held.cancel()
                    continue
                _log.error("handler %s can't decode: %s: %s", self.name, describe(item.delivery), error.description)
                item.finish(error)
            else:
                self._row.count = 0
                items.append(item)
        return items, bodies

    def _conclude(self, batch: _Batch, items: Sequence[_Item], error: BaseException | None) -> None:
        failed = self._failed(items, error)
        leaving = None if error is None else exit_in(error)
        if leaving is not None:
            _log.warning("handler %s ends the process: %r: %s", self.name, leaving, _describe(items))
            batch.supervised = self._on_exit(leaving)
        behind: set[str] = set()
        for item in items:
            group = item.held.received.group
            if group is not None and group in behind:
                self._put_back(item)
                continue
            found = failed.get(item)
            if found is not None and group is not None and not item.held.settled:
                behind.add(group)
            item.finish(found)

    def _put_back(self, item: _Item) -> None:
        """Have an item wait for an earlier one of its key: whatever the handler made of it, it comes after that one."""
        if not item.known and item.held.state is State.HELD:
            item.held.begun = False
            item.held.cancel()
        else:
            item.finish(None)

    def _failed(self, items: Sequence[_Item], error: BaseException | None) -> Mapping[_Item, BaseException]:
        """Return the error of each that failed, and log what is to be known of it."""
        if error is None:
            return {}
        if not isinstance(error, BatchFailed):
            self._tell(error, _describe(items))
            return dict.fromkeys(items, error)
        places: dict[object, _Item] = {item.delivery: item for item in items}
        places.update(enumerate(items))
        failed: dict[_Item, BaseException] = {}
        for name, own in error.failed.items():
            item = places.get(name)
            if item is None or not isinstance(own, BaseException):
                _log.error(
                    "handler %s failed: BatchFailed has %r: %r, and is to have an exception for a delivery of the "
                    "batch, or for its index: %s",
                    self.name,
                    name,
                    own,
                    _describe(items),
                )
                return dict.fromkeys(items, error)
            failed[item] = own
            self._tell(own, describe(item.delivery))
        return failed

    def _tell(self, error: BaseException, what: str) -> None:
        signal = signal_in(error)
        if exit_in(error) is not None:
            return  # it is told by `_conclude`
        if isinstance(signal, DeadLetter):
            _log.warning("handler %s dead-letters: %s: %s", self.name, what, signal.reason)
        elif signal is not None:
            _log.info("handler %s asks to retry: %s: %s", self.name, what, signal)
        elif isinstance(error, TooLate):
            _log.warning("handler %s was not begun: %s", self.name, error)
        elif isinstance(error, asyncio.CancelledError):
            _log.error("handler %s failed: it was cancelled, and not by polybus: %s", self.name, what, exc_info=error)
        else:
            _log.error("handler %s failed: %s", self.name, what, exc_info=error)

    # One delivery ----------------------------------------------------------------------------------------------------

    async def _cut_off(self, item: _Item) -> None:
        """See what a cancellation of one delivery means; returns where its outcome is known all the same."""
        batch = item.batch
        if batch is None:
            self._gathered.pop(item, None)
            raise asyncio.CancelledError
        if item.known or not item.held.begun:  # it was put back
            raise asyncio.CancelledError
        batch.left -= 1
        if not batch.left:
            self._cancel(batch)
        elif item.held.lost:  # the handler goes on with the others, and finds its `lost`
            raise asyncio.CancelledError
        # Until it has ended nobody else is to have what it works on.
        if batch.task is not None:
            await asyncio.wait([batch.task])
        if not item.known:
            raise asyncio.CancelledError

    def _cancel(self, batch: _Batch) -> None:
        if batch.task is None or batch.task.done():
            return
        batch.cancelled = True
        batch.task.cancel()
        self._clock.call_later(AFTER, partial(self._replace, batch))

    def _replace(self, batch: _Batch) -> None:
        if batch in self._batches:
            batch.replaced = True
            _log.warning(
                "a call of %s goes on though it was cancelled; another takes its place, up to %d: have it let its "
                "cancellation through: %s",
                self.name,
                MOST * self._calls,
                _describe(batch.items),
            )
            self._look(self._clock.monotonic())

    async def _outcome(self, item: _Item) -> None:
        error = item.error
        if error is None:
            return
        batch = item.batch
        if batch is not None and batch.supervised and (leaving := exit_in(error)) is not None:
            await item.held.fail(leaving)
            return
        # One error that many tasks raise would grow a traceback with each, and keep their frames.
        raise error.with_traceback(item.traceback)


def _number(item: _Item) -> int:
    return item.number


def _describe(items: Sequence[_Item]) -> str:
    return describe_all([item.delivery for item in items])


def _is_thrown_away(task: asyncio.Task[object] | None) -> bool:
    """Say whether a coroutine is being closed together with its loop: then nothing is to be told any more."""
    try:
        return asyncio.current_task() is not task
    except RuntimeError:
        return True
