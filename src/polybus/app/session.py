"""A running app: its bus, and a consumer for each of its handlers."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from polybus.app.ending import DRAIN, bounded, forsake, over_within
from polybus.app.executor import Executor, OnLoop, OnThreads, Pause
from polybus.app.handler import Handler, Kinds
from polybus.app.invoker import Invoker
from polybus.app.logs import at_source
from polybus.app.watchdog import Running
from polybus.bus.bus import consumer_of, middleware_of
from polybus.durations import Duration, seconds
from polybus.errors import AppFailed, BackendError, ConfigError

if TYPE_CHECKING:
    from polybus.app.batch import BatchInvoker
    from polybus.app.executor import BatchExecutor
    from polybus.app.gate import Gate, Slots
    from polybus.bus.bus import Bus
    from polybus.bus.consumer import Consumer
    from polybus.bus.delivery import Delivery
    from polybus.codec import Codec
    from polybus.flow import Limit, RateLimit, Room
    from polybus.middleware import AnyMiddleware

__all__ = ["Session"]

_log = logging.getLogger("polybus.app")

# What the schemas end with whose messages are in no form that handlers read by themselves.
_OF_CODECS = ".avsc"

# Of the seconds that a drain may take beyond the grace, those that are kept for what comes after the consumers: the end
# of the lifespan, and the closing of the bus.
_AFTER = 2.5
# Seconds for a consumer to end once its drain is over: a turn of the loop, unless a handler swallows its cancellation.
_ENDING = 0.5
# One that is still being opened as the drain begins ends 5 s later (bus/retry.py).
_OPENING = 6.0


class Session:
    """Starts the consumers, tells when one of them fails, and drains them; for one event loop."""

    def __init__(
        self,
        bus: Bus,
        handlers: Sequence[Handler],
        running: Running,
        middleware: Sequence[AnyMiddleware] = (),
        codecs: Sequence[Codec] = (),
    ) -> None:
        self.bus = bus
        theirs = middleware_of(bus)  # the app's own among them, where the app connected it
        self._middleware = (*theirs, *(each for each in middleware if not any(each is other for other in theirs)))
        self._handlers = handlers
        self._codecs = codecs
        self._running = running
        self._stop = asyncio.Event()
        self._interrupted = False
        self._supervised = False
        self._deadline: float | None = None
        self._interrupting = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self.leaving: BaseException | None = None
        """The SystemExit or KeyboardInterrupt of a handler, while `until_stopped` is waited for."""
        self.consumers: list[Consumer] = []
        self.watched: list[Callable[[], str | None]] = []
        """What else may keep it from being ready: each returns why, in one line, or None."""
        self._invokers: list[Invoker | BatchInvoker] = []
        self._executors: list[Executor] = []
        self._limits: dict[RateLimit, Limit] = {}
        self._rooms: dict[Room, Slots] = {}
        self._gates: dict[int, Gate] = {}
        self._calls: dict[int, int] = {}
        self._tasks: dict[asyncio.Task[None], Handler] = {}

    async def start(self, context: contextvars.Context) -> None:
        """Begin to consume, in a context that has the lifespan's variables; raise ConfigError for what can't run."""
        self._handlers = [self._reading(handler) for handler in self._handlers]
        for at, handler in enumerate(self._handlers):
            executor = self._executor(handler, partial(self._pause, at))
            self._executors.append(executor)
            invoker = self._invoker(at, handler, executor, context)
            self._invokers.append(invoker)
            self.consumers.append(self._consumer(at, handler, invoker))
        for executor in self._executors:
            await executor.open()
        for consumer, handler in zip(self.consumers, self._handlers, strict=True):
            name = f"polybus consumer {handler.source}"
            own = context.copy()
            own.run(at_source, handler.source)
            task = asyncio.get_running_loop().create_task(_consume(consumer, handler), name=name, context=own)
            self._tasks[task] = handler
            task.add_done_callback(self._consumer_over)

    def _reading(self, handler: Handler) -> Handler:
        """Return a handler that reads the form in which messages come to it."""
        schema = self.bus.binding.source(handler.source).schema or ""
        if self._codecs or schema.endswith(_OF_CODECS):
            from polybus.app.coded import coded, of_contract

            handler = coded(handler, (*of_contract(schema), *self._codecs))
        if self.bus.binding.source(handler.source).format == "plain":
            return handler
        from polybus.app.events import unwrapped

        return unwrapped(handler)

    def _invoker(
        self, at: int, handler: Handler, executor: Executor, context: contextvars.Context
    ) -> Invoker | BatchInvoker:
        if handler.batching is None:
            return Invoker(handler, executor, self._running, self._leave, partial(self._stop_taking, at))
        from polybus.app.batch import BatchInvoker  # few need it

        own = context.copy()
        own.run(at_source, handler.source)
        return BatchInvoker(
            handler,
            cast("BatchExecutor", executor),
            self._running,
            self._leave,
            partial(self._stop_taking, at),
            clock=self.bus.clock,
            context=own,
        )

    def _surrounded(self, handler: Handler, invoker: Invoker | BatchInvoker) -> Callable[[Delivery], Awaitable[None]]:
        """Return what is called for each delivery: around a handler of several, middleware is around each of them."""
        middleware = (*self._middleware, *handler.middleware)
        if isinstance(invoker, Invoker) or not middleware:
            return invoker
        from polybus.app.around import AroundBatch

        return AroundBatch(invoker, handler, middleware)

    def _consumer(self, at: int, handler: Handler, invoker: Invoker | BatchInvoker) -> Consumer:
        surrounded = self._surrounded(handler, invoker)
        gated = handler.per_key is not None or handler.room is not None
        if handler.breaker is None and handler.rate_limit is None and not gated:
            return consumer_of(self.bus, handler.source, surrounded, handler.options)
        from polybus.bus.consumer import limit, receives

        circuit = None
        if handler.breaker is not None:
            from polybus.app.circuit import Circuit  # few need it

            surrounded = circuit = Circuit(handler.breaker, surrounded, handler.name, self.bus.clock)
        gate = self._gate(at, handler, surrounded) if gated else None
        if gate is None:
            consumer = consumer_of(self.bus, handler.source, surrounded, handler.options)
        else:
            consumer = consumer_of(self.bus, handler.source, gate, gate.options(handler.options))
        if not receives(consumer):
            raise ConfigError(
                f"handler {handler.name} ({handler.signature.place}): breaker, rate_limit, per_key and room are for "
                "what takes messages by itself; in a function the platform does: limit its concurrency, or event "
                "source mapping"
            )
        if circuit is not None:
            circuit.consumer = consumer
        bucket = None
        if (given := handler.rate_limit) is not None:
            bucket = self._limits.setdefault(given, given.bucket(self.bus.clock))
        if gate is not None:
            gate.consumer, gate.inner = consumer, bucket
            limit(consumer, gate)
        elif bucket is not None:
            limit(consumer, bucket)
        return consumer

    def _gate(self, at: int, handler: Handler, invoker: Callable[[Delivery], Awaitable[None]]) -> Gate:
        from polybus.app.gate import Gate, Slots  # few need it
        from polybus.flow import Room

        if handler.per_key is not None and self.bus.binding.source(handler.source).ordered:
            raise ConfigError(
                f"handler {handler.name} ({handler.signature.place}): {handler.source!r} is ordered, and has one "
                "message of an ordering key handled at a time: per_key is for a source without order"
            )
        if handler.room is None:
            slots = Slots(Room(handler.options.concurrency))
        else:
            slots = self._rooms.setdefault(handler.room, Slots(handler.room))
        self._gates[at] = Gate(
            invoker,
            slots,
            name=handler.name,
            per_key=handler.per_key,
            priority=handler.priority,
            clock=self.bus.clock,
        )
        return self._gates[at]

    def _executor(self, handler: Handler, pause: Pause) -> Executor:
        if handler.kinds is not None:
            from polybus.app.kinds import ByType

            executors = {kind: self._executor(each, pause) for kind, each in handler.kinds.items()}
            return ByType(handler.source, handler.telling or Kinds(), executors)
        middleware = (*self._middleware, *handler.middleware)
        if not middleware or handler.batching is not None:
            return self._bare(handler, pause)
        from polybus.app.around import Around, within_thread

        handler, outer = within_thread(handler, middleware)
        return Around(self._bare(handler, pause), outer)

    def _bare(self, handler: Handler, pause: Pause) -> Executor:
        if handler.where == "loop":
            return OnLoop(handler)
        if handler.where == "process":
            from polybus.app.processes import OnProcesses  # few need it, and it takes what few machines have

            return OnProcesses(handler, self.bus.clock, pause)
        return OnThreads(handler, self.bus.clock, pause)

    def _pause(self, at: int, reason: str | None) -> None:
        from polybus.bus.consumer import hold

        hold(self.consumers[at], "threads", reason)

    def _stop_taking(self, at: int, reason: str) -> None:
        """Have a consumer take nothing more, whatever else holds it up meanwhile."""
        from polybus.bus.consumer import hold

        hold(self.consumers[at], "undecodable", reason)

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return sum(consumer.in_flight for consumer in self.consumers)

    @property
    def handlers(self) -> Sequence[Handler]:
        """The handlers, each at the place of its consumer."""
        return self._handlers

    def concurrency(self, at: int) -> int:
        """Return how many calls of a handler may run at once."""
        return self._calls.get(at, self._handlers[at].calls)

    def set_concurrency(self, at: int, calls: int) -> None:
        """Have so many calls of a handler run at once from now on."""
        from polybus.bus.consumer import resize

        self._calls[at] = calls
        batching = self._handlers[at].batching
        invoker = self._invokers[at]
        if (gate := self._gates.get(at)) is not None:
            gate.resize(calls)
            for other, each in self._gates.items():
                if each.shares(gate):
                    self._calls[other] = calls
                    resize(self.consumers[other], each.options(self._handlers[other].options).concurrency)
        elif batching is None:
            resize(self.consumers[at], calls)
        else:
            resize(self.consumers[at], calls * batching.max_batch)
            cast("BatchInvoker", invoker).set_calls(calls)

    @property
    def gathering(self) -> int:
        """How many deliveries wait for their batch to begin."""
        return sum(getattr(invoker, "gathering", 0) for invoker in self._invokers)

    @property
    def problem(self) -> str | None:
        """Why it isn't ready, in one line; None while each consumer receives, or has shown that it can."""
        if self._failure is not None:
            return f"failed: {_line(self._failure)}"
        problems = [
            f"{handler.source}: {problem}"
            for consumer, handler in zip(self.consumers, self._handlers, strict=False)
            if (problem := consumer.problem) is not None
        ]
        problems += [problem for watched in self.watched if (problem := watched()) is not None]
        return "; ".join(problems) or None

    @property
    def failed(self) -> bool:
        """Whether it can't go on."""
        return self._failure is not None

    # Ends ------------------------------------------------------------------------------------------------------------

    def _consumer_over(self, task: asyncio.Task[None]) -> None:
        handler = self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if self._deadline is not None and (error is None or self._failure is not None):
            return
        if error is None:
            how = "was cancelled" if task.cancelled() else "ended"
            error = AppFailed(f"the consumer of {handler.source!r} for {handler.name} {how}, though nobody asked it to")
        self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Note, and log, that the app can't go on; `until_stopped` returns, and `drain` raises it."""
        if self._failure is None:
            self._failure = error
            known = isinstance(error, BackendError | AppFailed)
            _log.error("the app fails, and is drained: %s", _line(error), exc_info=None if known else error)
        self._stop.set()

    def _leave(self, error: BaseException) -> bool:
        if not self._supervised or self._deadline is not None:
            return False
        self.leaving = error
        self._stop.set()
        return True

    async def until_stopped(self) -> None:
        """Return once `stop` was called, or something failed: then `drain` raises it."""
        self._supervised = True
        await self._stop.wait()

    def stop(self) -> None:
        """Have `until_stopped` return."""
        self._stop.set()

    def interrupt(self) -> None:
        """Cancel the handlers that still run; a drain that is under way, or comes, ends soon after."""
        self._interrupted = True
        self._shorten(DRAIN)
        self._interrupting.set()
        for gate in self._gates.values():
            gate.let_go(True)
        for invoker in self._invokers:
            invoker.interrupt()
        from polybus.bus.consumer import end_grace

        for consumer in self.consumers:
            end_grace(consumer)

    # Drain -----------------------------------------------------------------------------------------------------------

    async def drain(self, grace: Duration | None = None) -> None:
        """Take no more, give handlers `grace`, and return once nothing is in flight (contract, D12).

        Raises what a consumer ended with, AppFailed where one isn't over some seconds after the grace. `grace` None is
        each handler's own. Cancelling it interrupts the handlers, and is raised once it is over.
        """
        given = None if grace is None else seconds(grace, "grace")
        self._stop.set()
        if self._draining is None:
            self._deadline = self.bus.clock.monotonic() + self._grace(given) + DRAIN
            self._draining = asyncio.create_task(self._drain(given))
        cancelled: asyncio.CancelledError | None = None
        while not self._draining.done():
            try:
                await asyncio.wait([self._draining])
            except asyncio.CancelledError as error:
                cancelled = error
                self.interrupt()
        if cancelled is not None:
            raise cancelled
        await self._draining

    @property
    def time_left(self) -> float:
        """How many seconds the drain that is under way, or comes, may take from now."""
        clock = self.bus.clock
        return DRAIN if self._deadline is None else max(self._deadline - clock.monotonic(), 0.0)

    def _shorten(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline = min(self._deadline, self.bus.clock.monotonic() + seconds)

    def _grace(self, grace: float | None) -> float:
        if self._interrupted:
            return 0.0
        return max((h.options.grace for h in self._handlers), default=0.0) if grace is None else grace

    async def _drain(self, grace: float | None) -> None:
        drains = {
            asyncio.create_task(consumer.drain(0.0 if self._interrupted else grace)): handler
            for consumer, handler in zip(self.consumers, self._handlers, strict=False)  # a start may end midway
        }
        try:
            await asyncio.gather(*(self._drain_over(drain, handler) for drain, handler in drains.items()))
            await asyncio.gather(*(self._consumer_ends(task, handler) for task, handler in self._tasks.items()))
        finally:
            await asyncio.gather(*(executor.aclose() for executor in self._executors))
            await asyncio.gather(*(limit.aclose() for limit in self._limits.values()), return_exceptions=True)
            self._tell_left()
            # The grace was for handlers: what comes after them doesn't get what they left of it.
            self._shorten(DRAIN)
        errors = [drain.exception() for drain in drains if drain.done() and not drain.cancelled()]
        error = self._failure or next((error for error in errors if error is not None), None)
        if error is not None:
            raise error

    async def _drain_over(self, drain: asyncio.Task[None], handler: Handler) -> None:
        interrupted = asyncio.create_task(self._interrupting.wait())
        first = asyncio.create_task(asyncio.wait([drain, interrupted], return_when=asyncio.FIRST_COMPLETED))
        await over_within(self.bus.clock, first, self.time_left - _AFTER)
        for task in (first, interrupted):
            task.cancel()
        # Where the handlers were interrupted meanwhile, the time that is left is shorter.
        if not await bounded(self.bus.clock, drain, self.time_left - _AFTER):
            self._hangs(f"the drain of {handler.source!r} for {handler.name} doesn't end")

    async def _consumer_ends(self, task: asyncio.Task[None], handler: Handler) -> None:
        in_time = await bounded(self.bus.clock, task, max(_ENDING, min(_OPENING, self.time_left - _AFTER)))
        if not in_time and handler.name not in self._running.values():
            self._hangs(f"the consumer of {handler.source!r} for {handler.name} doesn't end")

    def _hangs(self, what: str) -> None:
        _log.error("%s; it is left to itself", what)
        self._failure = self._failure or AppFailed(what)

    def _tell_left(self) -> None:
        """Name the calls that go on, and let nobody wait for them."""
        for executor in self._executors:
            for call in executor.left():
                _log.warning("the drain is over, and a call that was given up still runs: %s", call)
        for task, name in self._running.items():
            if task is not None:
                _log.warning("the drain is over, and handler %s still runs: it swallowed its cancellation", name)
                forsake(task)


async def _consume(consumer: Consumer, handler: Handler) -> None:
    try:
        await consumer.run()
    except BackendError as error:
        fault = replace(error.fault, detail=f"consuming {handler.source!r} for {handler.name}: {error.fault.detail}")
        raise BackendError(fault) from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, BackendError | AppFailed) else f"{type(error).__name__}: {text}"
