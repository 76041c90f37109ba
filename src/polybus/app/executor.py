"""Where a handler's code runs: on the event loop, in threads, or in processes."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from polybus.app.handler import Handler
from polybus.app.threads import Call, ThreadPool
from polybus.bus.delivery import Delivery, held_of
from polybus.bus.held import State
from polybus.clock import Clock, Timer
from polybus.errors import BackendError, DeadLetter, DecodeError, LeaseLost

__all__ = [
    "BatchExecutor",
    "CallEnded",
    "Executor",
    "OnLoop",
    "OnThreads",
    "Pause",
    "TooLate",
    "Undecodable",
    "describe",
    "describe_all",
    "not_begun",
    "own_decimals",
]

_log = logging.getLogger("polybus.app")

# Calls that were given up and still run may be this many times the handler's concurrency. Each holds a thread, its
# stack and whatever the handler had open: a service whose every call hangs must stop taking messages before it is out
# of memory, and three in four slots' worth of hung calls is no passing trouble.
MOST_GIVEN_UP = 4
# Seconds until calls that were given up are told of, so that one that notices `delivery.lost` has the time to end, and
# until they are told of again.
_TELL_AFTER = 1.0
_TELL_AGAIN = 60.0
# Seconds until a thread that the system didn't give is asked for again.
_THREAD_AGAIN = 1.0

Pause = Callable[[str | None], None]
"""Told why nothing more can be begun, and with None that it can be again."""


class Undecodable(DeadLetter):
    """A body that the handler's annotation doesn't allow (contract, D11).

    `stops` says that nothing more may be taken, however many came before it.
    """

    reason_name = "DecodeError"
    stops = False

    def __init__(self, error: object) -> None:
        super().__init__(self.reason_name, str(error))


class CallEnded(Exception):
    """A call ended with what it ran in, not by itself; the text says all, and there is no traceback of use."""


class TooLate(LeaseLost):
    """The lease was over before the handler's first line: it has not begun."""


class Executor(Protocol):
    """Calls one handler, wherever that is.

    `call` raises what the handler raises, or Undecodable. Cancelling it ends the call, or gives it up where it can't be
    ended.
    """

    async def open(self) -> None:
        """Make ready; raise ConfigError where the handler can't be called."""

    async def call(self, delivery: Delivery) -> None: ...

    def left(self) -> list[str]:
        """Describe each call that was given up and still runs."""

    async def aclose(self) -> None:
        """Free what it holds; calls that can't be ended go on by themselves."""


class BatchExecutor(Executor, Protocol):
    """Calls a handler for several deliveries at once."""

    async def call_batch(self, bodies: list[Any], deliveries: list[Delivery]) -> None:
        """Call it with bodies that are decoded already."""


class OnLoop:
    """Calls a coroutine function."""

    def __init__(self, handler: Handler) -> None:
        self._signature = handler.signature

    async def open(self) -> None:
        pass

    async def call(self, delivery: Delivery) -> None:
        own_decimals()
        await self._signature.call(decode(self._signature.decode, delivery), delivery)

    async def call_batch(self, bodies: list[Any], deliveries: list[Delivery]) -> None:
        own_decimals()
        await self._signature.call(bodies, deliveries)

    def left(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        pass


class OnThreads:
    """Calls a function in threads of its own, each call in a context of its own.

    A thread can't be stopped. A call whose delivery was taken from it goes on with `delivery.lost` set, and another
    thread takes its place; when too many do, `pause` is told until one of them ends.
    """

    def __init__(self, handler: Handler, clock: Clock, pause: Pause) -> None:
        self._handler = handler
        self._clock = clock
        self._pause = pause
        self._pool = ThreadPool(f"polybus {handler.source}", handler.calls)
        self._given_up: dict[Call, Sequence[Delivery]] = {}
        self._most = MOST_GIVEN_UP * handler.calls
        self._paused = False
        self._teller: Timer | None = None

    async def open(self) -> None:
        pass

    async def call(self, delivery: Delivery) -> None:
        body = decode(self._handler.signature.decode, delivery)
        await self._run(body, delivery, (delivery,), describe(delivery))

    async def call_batch(self, bodies: list[Any], deliveries: list[Delivery]) -> None:
        await self._run(bodies, deliveries, tuple(deliveries), describe_all(deliveries))

    async def _run(self, given: Any, further: Any, deliveries: Sequence[Delivery], label: str) -> None:
        """Call the function with `given` and `further` in a thread, for these deliveries."""
        signature = self._handler.signature
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        outcome: list[tuple[Any, BaseException | None]] = []

        def done(result: Any, error: BaseException | None) -> None:
            outcome.append((result, error))
            if call in self._given_up:
                self._came_back(call, error)
            elif not over.done():
                over.set_result(None)

        def run() -> Any:
            # A thread begins when the system lets it, and a process may have been stopped meanwhile.
            if self._clock.monotonic() >= max([delivery.lease_until for delivery in deliveries]):
                raise TooLate(f"{label}: its lease was over before a thread began with it")
            own_decimals()
            return signature.call(given, further)

        call = Call(label, self._clock.monotonic(), run, done)
        await self._start(call, deliveries)
        try:
            await over
        except asyncio.CancelledError:
            if not outcome:
                self._give_up(call, deliveries)
            raise
        result, error = outcome[0]
        if error is not None:
            if isinstance(error, TooLate):
                for delivery in deliveries:
                    held_of(delivery).begun = False
            try:
                raise error
            finally:
                del error, outcome[:]  # the frame would refer to itself by its traceback
        if inspect.isawaitable(result):  # a plain function that returns a coroutine
            await result

    async def _start(self, call: Call, deliveries: Sequence[Delivery]) -> None:
        while True:
            try:
                self._pool.start(call)
            except RuntimeError as error:
                self._starved(f"out of threads: {error}")
                await not_begun(deliveries, self._clock.sleep(_THREAD_AGAIN))
            else:
                self._note_room()
                return

    def _starved(self, reason: str) -> None:
        if not self._paused:
            _log.error("handler %s: %s; nothing more is taken until there is one", self._handler.name, reason)
        self._paused = True
        self._pause(reason)

    def _note_room(self) -> None:
        if self._paused and len(self._given_up) < self._most:
            self._paused = False
            _log.info("handler %s has threads again", self._handler.name)
            self._pause(None)

    def _give_up(self, call: Call, deliveries: Sequence[Delivery]) -> None:
        self._given_up[call] = deliveries
        if len(self._given_up) >= self._most:
            self._starved(f"out of threads: {len(self._given_up)} calls that were given up still run")
        if self._teller is None:
            self._teller = self._clock.call_later(_TELL_AFTER, self._tell)

    def _tell(self) -> None:
        self._teller = None
        if self._given_up:
            _log.warning(
                "%d calls of handler %s that were given up still run, the longest for %.0f s; other threads take their "
                "places, up to %d: have the handler stop when `delivery.lost` is set, or give its waits a timeout",
                len(self._given_up),
                self._handler.name,
                self._clock.monotonic() - min(call.began for call in self._given_up),
                self._most,
            )
            self._teller = self._clock.call_later(_TELL_AGAIN, self._tell)

    def _came_back(self, call: Call, error: BaseException | None) -> None:
        del self._given_up[call]
        if error is not None and not isinstance(error, TooLate):  # its loss was told
            _log.error(
                "handler %s failed after its delivery was taken from it: %s",
                self._handler.name,
                call.label,
                exc_info=error,
            )
        self._note_room()

    def left(self) -> list[str]:
        now = self._clock.monotonic()
        return [
            f"handler {self._handler.name} in thread {call.thread!r}, for {now - call.began:.0f} s: {call.label}"
            for call in self._pool.running
        ]

    async def aclose(self) -> None:
        if self._teller is not None:
            self._teller.cancel()
        self._pool.close()
        for delivery in (each for deliveries in self._given_up.values() for each in deliveries):
            held_of(delivery).state = State.LOST  # it was given back by now: whoever still works on it sees that


def own_decimals() -> None:
    """Give this context a copy of its decimal context, where it has one.

    A context variable holds it, but contexts that are copied share what their variables hold: what one handler sets
    (`decimal.getcontext().prec = 4`) would change the arithmetic of all.
    """
    decimal = sys.modules.get("decimal")
    if decimal is not None:
        variable = _decimal_variable()
        current = None if variable is None else variable.get(None)
        if current is not None:
            decimal.setcontext(current.copy())


@functools.cache
def _decimal_variable() -> contextvars.ContextVar[Any] | None:
    """Return the variable: to ask it is a tenth of what it takes to copy a decimal context for each call."""
    import decimal

    empty = contextvars.Context()
    empty.run(decimal.getcontext)
    return next(iter(empty), None)


async def not_begun(deliveries: Sequence[Delivery], waiting: Awaitable[Any]) -> None:
    """Wait for what a call needs to begin; where it is cancelled meanwhile, no attempt was made."""
    try:
        await waiting
    except asyncio.CancelledError:
        for delivery in deliveries:
            with suppress(LeaseLost, BackendError):
                await held_of(delivery).give_back()
        raise


def decode(decoder: Callable[[Any], Any], delivery: Delivery) -> Any:
    """Return the body as the handler wants it; raise Undecodable where it isn't that."""
    try:
        return decoder(delivery.message)
    except DecodeError as error:
        raise Undecodable(error) from None


def describe(delivery: Delivery) -> str:
    """Name a delivery, for a log."""
    return f"source={delivery.source} message={delivery.id} attempt={delivery.attempt}"


def describe_all(deliveries: Sequence[Delivery]) -> str:
    """Name the deliveries of a batch, for a log."""
    named = ", ".join(delivery.id for delivery in deliveries[:3])
    more = f" and {len(deliveries) - 3} more" if len(deliveries) > 3 else ""
    return f"source={deliveries[0].source} batch={len(deliveries)} messages={named}{more}"
