"""The two ways to consume: a handler that is called, and an iterator that is asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from polybus.bus.delivery import Delivery
from polybus.bus.held import SETTLED, HeldDelivery
from polybus.bus.holding import Holding
from polybus.bus.options import ConsumerOptions
from polybus.bus.receiver import Receiver
from polybus.bus.stragglers import Stragglers
from polybus.bus.texts import said
from polybus.bus.within import Within
from polybus.driver import Ack, Settlement
from polybus.durations import Duration
from polybus.errors import BackendError, BusClosed, LeaseLost, exit_in, signal_in

if TYPE_CHECKING:
    from polybus.flow import Limit

__all__ = [
    "Consumer",
    "Consumption",
    "cap",
    "end_grace",
    "hold",
    "limit",
    "log_unexpected_end",
    "receives",
    "resize",
    "unbegun",
]

_log = logging.getLogger("polybus")

Handler = Callable[[Delivery], Awaitable[None]]
Opener = Callable[[], Awaitable[Receiver]]
StoppableOpener = Callable[[asyncio.Event], Awaitable[Receiver]]
"""Opens a receiver; gives up trying, with BackendError, once the event is set."""


class Consumer:
    """Calls a handler for each delivery of one source.

    The handler returns: acked. It raises: Retry, DeadLetter, or anything else as a failed attempt, every BaseException
    and a CancelledError that nobody here caused included; KeyboardInterrupt and SystemExit alone end `run`. It may also
    settle the delivery itself. At most `concurrency` handlers run at once, each in a task and a context of its own.
    """

    _receives = True

    def __init__(self, opener: StoppableOpener, handler: Handler, options: ConsumerOptions) -> None:
        self._opener = opener
        self._handler = handler
        self._options = options
        self._receiver: Receiver | None = None
        self._drained = asyncio.Event()
        self._running: asyncio.Task[Any] | None = None
        self._ended: str | None = None
        self._workers: set[asyncio.Task[bool]] = set()
        self._over: asyncio.Future[None] | None = None
        # Why nothing is taken, by the cause: what `pause` was told, that too many handlers don't end, and the like.
        self._holds: dict[str, str] = {}
        self._cap: int | None = None
        self._limit: Limit | None = None
        self._stragglers: Stragglers | None = None
        self._replaced = 0
        self._surplus = 0  # workers that leave once they are done: there are to be fewer

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return 0 if self._receiver is None else self._receiver.in_flight

    @property
    def problem(self) -> str | None:
        """Say in a line why this consumer handles nothing, or may not; None while all is well.

        It is well once the backend has answered it, and until receiving fails, or it ended without having been asked.
        """
        if self._ended is not None:
            return self._ended
        return "nothing was received yet" if self._receiver is None else self._receiver.problem

    def pause(self, reason: str) -> None:
        """Take nothing more until `resume`, and give back what no handler has; `problem` tells the reason."""
        self._hold("pause", reason)

    def resume(self) -> None:
        """Go on after a `pause`."""
        self._hold("pause", None)

    def _hold(self, cause: str, reason: str | None) -> None:
        """Take nothing more for a reason, until None is given for its cause; else as `pause`."""
        if reason is None:
            self._holds.pop(cause, None)
        else:
            self._holds[cause] = reason
        self._take_or_not()

    def _cap_at(self, most: int | None) -> None:
        """Have no more than so many deliveries at once; None is as many as the options say."""
        self._cap = most
        if self._receiver is not None:
            self._receiver.cap(most)

    @property
    def not_taking(self) -> str | None:
        """Why nothing is taken right now, in a word: "pause", "breaker", "limit", "room", ...; None while it is."""
        return None if self._receiver is None else self._receiver.not_taking

    def _take_or_not(self) -> None:
        if self._receiver is None:
            return
        if self._holds:
            self._receiver.pause("; ".join(self._holds.values()), next(iter(self._holds)))
        else:
            self._receiver.resume()

    async def run(self) -> None:
        """Handle deliveries until a drain is over; raise BackendError where the backend ends it.

        Returning says that a drain was asked for: of the consumer, or of its bus.
        """
        self._running = asyncio.current_task()
        try:
            await self._run()
        except BaseException as error:
            self._ended = f"ended: {type(error).__qualname__}: {said(error)}"
            raise
        self._ended = "ended"

    async def _run(self) -> None:
        if self._drained.is_set():
            return
        try:
            receiver = self._receiver = await self._opener(self._drained)
        except BackendError as error:
            if self._drained.is_set() and error.fault.retryable:
                return  # the drain ended the tries, and nothing was ever received
            raise
        if self._drained.is_set():
            await receiver.drain(0)
            return
        holding = receiver.holding
        holding.handler = _name(self._handler)
        receiver.returns_spent = True
        holding.on_taken = self._finish
        # One that gathers deliveries before it begins with them (polybus.app.batch) has them until then.
        receiver.let_go = getattr(self._handler, "let_go", receiver.let_go)
        receiver.spent = getattr(self._handler, "spent", receiver.spent)
        receiver.follow_pace()
        self._over = asyncio.get_running_loop().create_future()
        stragglers = self._stragglers = Stragglers(
            receiver.source.name,
            holding.handler,
            clock=receiver.clock,
            options=self._options,
            replace=lambda: self._hire(receiver),
            pause=partial(self._hold, "stuck"),
        )
        holding.on_lost = stragglers.lost
        holding.on_settling = stragglers.settled
        if receiver.options is not self._options:  # it was resized while it was opened
            receiver.resize(self._options)
        receiver.limit = self._limit
        receiver.cap(self._cap)
        self._take_or_not()
        receiver.start()
        for _ in range(self._options.concurrency):
            self._hire(receiver)
        try:
            await self._over
        finally:
            await receiver.drain(None if self._drained.is_set() else 0)
            self._finish()
            stragglers.close()

    async def drain(self, grace: Duration | None = None) -> None:
        """Take no more, let handlers finish within `grace` seconds, give the rest back (contract, D12)."""
        self._drained.set()
        if self._receiver is not None:
            await self._receiver.drain(grace)

    # Handling --------------------------------------------------------------------------------------------------------

    def _hire(self, receiver: Receiver) -> None:
        worker = asyncio.get_running_loop().create_task(self._work(receiver))
        self._workers.add(worker)
        worker.add_done_callback(lambda done: self._left(done, receiver))

    def _left(self, worker: asyncio.Task[bool], receiver: Receiver) -> None:
        """Put another in the place of a worker that is done; pass on what ends the consumer."""
        self._workers.discard(worker)
        if not worker.cancelled():
            error = worker.exception()
            if error is not None or worker.result():
                self._finish(error)
                return
        if receiver.draining:
            if not self._workers:
                self._finish()
        elif self._surplus:
            self._surplus -= 1
        elif self._replaced:
            self._replaced -= 1
        elif not self._is_cancelled():
            self._hire(receiver)

    def _resize(self, concurrency: int) -> None:
        before, self._options = self._options.concurrency, _resized(self._options, concurrency)
        receiver, stragglers = self._receiver, self._stragglers
        if receiver is None or stragglers is None or receiver.draining:
            return
        receiver.resize(self._options)
        stragglers.resize(concurrency)
        more = concurrency - before
        if more < 0:
            self._surplus -= more
            busy = receiver.holding.tasks()
            for worker in [worker for worker in self._workers if worker not in busy][: self._surplus]:
                worker.cancel()  # it waits for a delivery
            return
        kept = min(self._surplus, more)
        self._surplus -= kept
        for _ in range(more - kept):
            self._hire(receiver)

    def _finish(self, error: BaseException | None = None) -> None:
        if self._over is None or self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    async def _work(self, receiver: Receiver) -> bool:
        """Handle deliveries; say whether there are no more.

        It ends with the first handler that waits for anything, and another takes its place: whoever cancels the task of
        a handler, while it runs or later, never meets the handler of another message.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 - a coroutine of a task
        holding = receiver.holding
        while (delivery := receiver.take() or await receiver.next()) is not None:
            holding.begun(delivery)
            context = copy_context()
            coroutine = self._handle(holding, delivery, task, loop)
            try:
                waits_for = context.run(coroutine.send, None)
            except StopIteration:  # it waited for nothing
                if task.cancelling():
                    return False
                continue
            await Within(context, coroutine, waits_for)
            return False
        return True

    async def _handle(
        self, holding: Holding, delivery: HeldDelivery, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        error: BaseException | None = None
        delivery.begin(task)
        try:
            await self._handler(Delivery(delivery))
        except BaseException as raised:  # whatever a handler raises is a failed attempt
            if asyncio.current_task(loop) is not task:
                raise  # it is closed together with its loop: nothing can be told any more
            error = raised
        # From here on nothing is waited for: a cancellation that comes late has nothing to cut off.
        try:
            if error is None:
                acknowledge(holding, delivery)
            else:
                conclude(delivery, error, given_back=delivery.cancelled or self._is_cancelled())
        finally:
            delivery.end(error)
            if self._stragglers is not None:
                self._replaced += self._stragglers.ended(delivery)
            holding.ended(delivery)
        fatal = None if error is None else exit_in(error)
        if fatal is not None:
            raise fatal

    def _is_cancelled(self) -> bool:
        """Say whether somebody cancelled `run`, and the handlers with it: no failure of theirs."""
        return self._running is not None and self._running.cancelling() > 0


def _name(handler: object) -> str:
    for attribute in ("name", "__qualname__"):
        found = getattr(handler, attribute, None)
        if isinstance(found, str):
            return found
    return type(handler).__qualname__


def end_grace(consumer: Consumer) -> None:
    """End the grace of a drain that is under way."""
    if consumer._receiver is not None:
        consumer._receiver.end_grace()


def hold(consumer: Consumer, cause: str, reason: str | None) -> None:
    """Have it take nothing more for a reason, until None is given for its cause; else as `Consumer.pause`."""
    consumer._hold(cause, reason)


def cap(consumer: Consumer, most: int | None) -> None:
    """Have it hold no more than so many deliveries at once; None is as many as its options say."""
    consumer._cap_at(most)


def limit(consumer: Consumer, by: Limit) -> None:
    """Have it ask how many deliveries it may take, and when; before it runs."""
    consumer._limit = by


def resize(consumer: Consumer, concurrency: int) -> None:
    """Have it run so many handlers at once; what runs beyond that goes on."""
    consumer._resize(concurrency)


def unbegun(consumer: Consumer) -> int:
    """Return how many deliveries it holds that no handler has begun with."""
    return 0 if consumer._receiver is None else consumer._receiver.holding.unbegun


def _resized(options: ConsumerOptions, concurrency: int) -> ConsumerOptions:
    prefetch = None if options.prefetch is None else max(options.prefetch, concurrency)
    return ConsumerOptions(concurrency, prefetch, options.max_lease, options.grace, options.retry)


def receives(consumer: Consumer) -> bool:
    """Say whether it takes deliveries by itself; what decides how many it takes is of no use else."""
    return consumer._receives


class Sink(Protocol):
    """What a delivery is settled with once its handler is done."""

    def settle_soon(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None: ...


def acknowledge(sink: Sink, delivery: HeldDelivery) -> None:
    """Ack what its handler returned from, and has not settled by itself, without waiting."""
    if delivery.state is not SETTLED:
        try:
            sink.settle_soon(delivery, Ack(delivery.received))
        except LeaseLost:
            return  # it was logged where it was found


def conclude(delivery: HeldDelivery, error: BaseException, *, given_back: bool) -> None:
    """Settle a delivery as its handler's error asks, without waiting; what fails then is logged by the receiver.

    `given_back` says that its consumer cancelled the handler: then only its own words, Retry or DeadLetter, count, and
    not what became of the cancellation.
    """
    try:
        if exit_in(error) is not None or (given_back and signal_in(error) is None):
            delivery.release_soon()
        else:
            log_unexpected_end(delivery, error)
            delivery.fail_soon(error)
    except LeaseLost:
        return  # it was logged where it was found


def log_unexpected_end(delivery: HeldDelivery, error: BaseException) -> None:
    """Log what no handler should end with: a cancellation that nobody here caused, a BaseException."""
    if not isinstance(error, Exception) and not delivery.lost:
        _log.error(
            "message %s of %r, attempt %d: its handler ended with %s, which nobody here caused: a failed attempt",
            delivery.id,
            delivery.source,
            delivery.attempt,
            type(error).__qualname__,
        )


class Consumption:
    """An asynchronous iterator of deliveries, open for the length of its `async with` block.

    Leaving the block drains: what wasn't settled is given back, except deliveries inside an `async with` of their own,
    which are waited for during the grace.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._receiver: Receiver | None = None

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return 0 if self._receiver is None else self._receiver.in_flight

    async def __aenter__(self) -> Consumption:
        self._receiver = await self._opener()
        self._receiver.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drain()

    async def drain(self, grace: Duration | None = None) -> None:
        """End the iteration, wait for what is being handled, and give the rest back (contract, D12)."""
        if self._receiver is not None:
            await self._receiver.drain(grace)

    def __aiter__(self) -> Consumption:
        return self

    async def __anext__(self) -> Delivery:
        if self._receiver is None:
            raise BusClosed("iterate inside the block: async with bus.consume(...) as deliveries")
        self._receiver.check_loop()
        delivery = await self._receiver.next()
        if delivery is None:
            raise StopAsyncIteration
        # Whoever has it may have done anything with it: uncounted, what ends its consumer each time came for ever.
        delivery.begun = True
        return Delivery(delivery)
