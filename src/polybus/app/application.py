"""An app: handlers, what they need at start-up, and the bus that they work on."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from polybus.app.handler import UNDECODABLE, Batching, Handler, Kinds, Where
from polybus.app.logs import at_service
from polybus.app.signature import Signature, blocks, describe, read_signature
from polybus.app.target import refuse_unimportable
from polybus.binding import Binding
from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions, PublisherOptions
from polybus.clock import Clock
from polybus.durations import Duration, seconds
from polybus.errors import AppFailed, BusClosed, ConfigError, NotDeclared
from polybus.telemetry import Hooks

# What runs an app is imported when it runs: declaring handlers, and importing them into a test, takes none of it.
if TYPE_CHECKING:
    from polybus.app.session import Session
    from polybus.app.watchdog import Running
    from polybus.bus.bus import Bus
    from polybus.bus.consumer import Consumer
    from polybus.claims import ClaimStore
    from polybus.codec import Codec
    from polybus.flow import Breaker, PerKey, RateLimit, Room
    from polybus.middleware import AnyMiddleware
    from polybus.once.once import Once
    from polybus.topology.model import Topology

__all__ = ["App", "ConnectArguments", "HandlerFunction", "Lifespan", "connect_arguments"]


class _WithDeliveryKeyword(Protocol):
    def __call__(self, body: Any, /, *, delivery: Delivery) -> Awaitable[None] | None: ...


class _WithDeliveriesKeyword(Protocol):
    def __call__(self, bodies: Any, /, *, deliveries: list[Delivery]) -> Awaitable[None] | None: ...


HandlerFunction = (
    Callable[[Any], Awaitable[None] | None]
    | Callable[[Any, Delivery], Awaitable[None] | None]
    | Callable[[Any, list[Delivery]], Awaitable[None] | None]
    | _WithDeliveryKeyword
    | _WithDeliveriesKeyword
)
Lifespan = Callable[["App"], AsyncIterator[None]] | Callable[["App"], AbstractAsyncContextManager[Any]]
F = TypeVar("F", bound=HandlerFunction)
L = TypeVar("L", bound=Lifespan)
M = TypeVar("M", bound="AnyMiddleware")

_log = logging.getLogger("polybus.app")
_DEFAULT = ConsumerOptions()

# Of the seconds that a drain may take beyond the grace, those that closing the bus gets even where all before it hung,
# and the least that the end of a lifespan gets.
_CLOSING = 1.5
_LEAST = 0.5

# All of a batch are leased and in memory while it runs, and as many more behind them.
MOST_BATCH = 10_000
# Seconds: what waits for its batch has its lease extended, so this costs calls, and the latency of a message.
LONGEST_WAIT = 300.0


class App:
    """What a service is made of; `polybus run module:app` runs it.

    `service` is its name in the topology: what the service hasn't declared is then refused. The other arguments are
    those of `polybus.connect`, which is called when the app starts. POLYBUS_OTEL=1 adds OpenTelemetry's hooks. Until
    then `service` and `clock` may be set. A bus that the app is given to run on keeps its own `middleware` for what is
    published, which goes around the app's where messages are handled. Messages of other content types than JSON are
    read by `codecs` (polybus.codec).
    """

    def __init__(
        self,
        service: str | None = None,
        *,
        source: Binding | Topology | Path | str | None = None,
        clock: Clock | None = None,
        hooks: Sequence[Hooks] = (),
        publisher: PublisherOptions | None = None,
        middleware: Sequence[AnyMiddleware] = (),
        codecs: Sequence[Codec] = (),
    ) -> None:
        self.service = service
        self.clock = clock
        self._source = source
        self._hooks = tuple(hooks)
        self._publisher = publisher if publisher is not None else PublisherOptions()
        self._middleware = list(_checked(middleware))
        self._codecs = tuple(codecs)
        self._handlers: dict[str, Handler] = {}
        self._kinds: dict[str, Kinds] = {}
        self._lifespan: Callable[[App], AbstractAsyncContextManager[Any]] | None = None
        self._lifespan_name = ""
        self._bus: Bus | None = None
        self._session: Session | None = None
        self._executing: Running = {}

    def __repr__(self) -> str:
        return f"App(service={self.service!r}, handlers={list(self._handlers)})"

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """The handlers, one for each source, in the order of their declaration."""
        if not self._kinds:
            return tuple(self._handlers.values())
        return tuple(replace(each, telling=self._kinds.get(each.source)) for each in self._handlers.values())

    @property
    def problem(self) -> str | None:
        """Why the app isn't ready, in one line, as `/ready` tells it; None while it is."""
        return "starting" if self._session is None else self._session.problem

    @property
    def bus(self) -> Bus:
        """The bus of the running app; raises BusClosed when it doesn't run."""
        if self._bus is None:
            raise BusClosed("app.bus is there while the app runs: in handlers and in its lifespan")
        return self._bus

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """The consumers of the running app, one for each handler in their order; empty when it doesn't run."""
        return tuple(self._session.consumers) if self._session is not None else ()

    def middleware(self, middleware: M) -> M:
        """Put middleware around what the app publishes and around its handlers, within what is there; return it.

        Raises ConfigError for what is no `polybus.middleware.Middleware` or `SyncMiddleware`, and once the app runs.
        """
        from polybus.bus.chain import checked

        if self._bus is not None:
            raise ConfigError(f"{self!r} is running: middleware is there from its start on, or not at all")
        self._middleware.extend(checked([middleware]))
        return middleware

    def handler(
        self,
        source: str,
        *,
        type: str | None = None,
        concurrency: int | None = None,
        prefetch: int | None = None,
        max_lease: Duration = _DEFAULT.max_lease,
        grace: Duration = _DEFAULT.grace,
        executor: Literal["thread", "process"] | None = None,
        middleware: Sequence[AnyMiddleware] = (),
        max_batch: int | None = None,
        max_wait: Duration | None = None,
        undecodable: int | None = UNDECODABLE,
        breaker: Breaker | None = None,
        rate_limit: RateLimit | None = None,
        per_key: PerKey | None = None,
        room: Room | None = None,
        priority: int = 0,
        once: Once | ClaimStore | None = None,
    ) -> Callable[[F], F]:
        """Declare the function that handles what comes from a subscription or queue; return it unchanged.

        Its first parameter is the body, typed by its annotation: polybus.Message, bytes, str, dict, list, Any, a
        dataclass, a msgspec.Struct, a TypedDict, a pydantic model, a Protobuf message. A further parameter that is
        annotated with, or called, Delivery gets the delivery. Returning acks; raising gives it back with backoff; see
        polybus.Retry and polybus.DeadLetter.

        Without `executor`, `async def` runs on the event loop, and `def` in a thread, where `delivery.lost` tells that
        its lease is over. "process" runs the handler, a function of a module, in a process of its own, which is ended
        when the lease is lost: for what holds the interpreter's lock, or must be stoppable (docs/handlers.md).

        With `max_batch`, one call handles up to so many messages, and waits for them for up to `max_wait` (1 s) after
        the first: its parameter is a list[T], a further one that is annotated with list[Delivery], or called
        deliveries, gets their deliveries. Returning acks all, raising fails all, polybus.BatchFailed fails those that
        it names (docs/batches.md).

        With `type` it handles messages of that type alone, by their attribute `type` (see `types`); a source has one
        handler for each type, and may have one without for all others. After `undecodable` messages in a row that
        can't be decoded nothing more is taken, and the app isn't ready; None is never.

        `breaker` stops taking after repeated failures, `rate_limit` takes so many messages each second, `per_key` has
        so many of one key handled at a time, and handlers that are given one `room` share its calls, of which those of
        a higher `priority` have theirs first (polybus.flow).

        `concurrency` calls run at once (16, or 1 with `max_batch`); `prefetch` messages are held at most; a lease is
        extended up to `max_lease`; a drain lets the handler go on for `grace`: numbers of seconds, texts such as "1h",
        or timedeltas. `middleware` is around this handler alone, within the app's, the first outermost. With `once`, a
        store of `polybus.once` or a polybus.once.Once, its effect is once for each message (docs/once.md). Raises
        ConfigError for a signature that can't be served, a type that can't be decoded, an executor that can't run the
        function, and a second handler of one source or type.
        """
        bare: Any = source  # what it is where the decorator has no parentheses
        if not isinstance(bare, str):
            name, place = describe(bare)
            raise ConfigError(f"handler {name} ({place}): name what it consumes: @app.handler('jobs')")
        scope = sys._getframe(1).f_locals

        def declare(function: F) -> F:
            name, place = describe(function)
            signature, around = _read(function, scope, max_batch is not None, _checked(middleware), once)
            where = _where(executor, signature)
            try:
                batching = _batching(max_batch, max_wait, concurrency, where)
                messages = _calls(concurrency, prefetch, batching, per_key, room, priority)
                if batching is not None:
                    messages = batching.concurrency * batching.max_batch
                options = ConsumerOptions(concurrency=messages, prefetch=prefetch, max_lease=max_lease, grace=grace)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"handler {name} ({place}): {error}") from None
            if where == "process":
                refuse_unimportable(function)
            if undecodable is not None and undecodable < 1:
                raise ConfigError(
                    f"handler {name} ({place}): undecodable={undecodable!r}: 1 or more, or None for never"
                )
            new = Handler(
                source,
                function,
                signature,
                options,
                where,
                around,
                batching,
                undecodable,
                breaker=breaker,
                rate_limit=rate_limit,
                per_key=per_key,
                room=room,
                priority=priority,
            )
            there = self._handlers.get(source)
            if type is None and there is None:
                self._handlers[source] = new
            else:
                from polybus.app.kinds import joined  # few have several

                self._handlers[source] = joined(there, new, type)
            return function

        return declare

    def types(
        self,
        source: str,
        *,
        attribute: str = "type",
        unknown: Literal["dead-letter", "ignore", "pause"] = "dead-letter",
    ) -> None:
        """Say how the types of messages of a subscription or queue are told apart, where handlers have a `type`.

        `attribute` is the name of the attribute that has it. A message of a type that no handler has, where no handler
        takes all others, becomes a dead letter with the reason UnknownType; "ignore" acks it, "pause" gives it back and
        takes nothing more: the app isn't ready, and says why. Raises ConfigError for another policy.
        """
        from polybus.app.kinds import kinds_of

        self._kinds[source] = kinds_of(source, attribute, unknown)

    def lifespan(self, function: L) -> L:
        """Declare what the handlers need: an asynchronous generator function of the app, yielding once.

        What is before `yield` runs when the bus is connected and before the first delivery, what is after it when the
        last one is settled and before the bus is closed. Returns the function unchanged. Raises ConfigError for a
        second one, and for a function of another kind.
        """
        name, place = describe(function)
        if self._lifespan is not None:
            raise ConfigError(f"lifespan {name} ({place}): the app has one already; an app has one")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or not callable(function):
            raise ConfigError(f"lifespan {name} ({place}): write `async def lifespan(app): ...; yield; ...`")
        opener: Any = function
        self._lifespan_name = f"{name} ({place})"
        self._lifespan = asynccontextmanager(opener) if inspect.isasyncgenfunction(function) else opener
        return function

    @asynccontextmanager
    async def running(
        self,
        source: Binding | Topology | Path | str | None = None,
        *,
        bus: Bus | None = None,
        grace: Duration | None = None,
    ) -> AsyncIterator[Session]:
        """Run the app for the length of the block: connect, start the lifespan and the consumers; at its end, drain.

        `source` goes before the app's own; a `bus` that is given is used and left open. Raises ConfigError before
        anything is started where a handler's source isn't there or the service doesn't consume it, and at the end of
        the block what a consumer failed with.
        """
        from polybus.app.session import Session

        if self._bus is not None:
            raise ConfigError(f"{self!r} is running already")
        _refuse_in_child(self)
        opened = self._connect(source) if bus is None else bus
        self._check_sources(opened)
        if bus is None:
            await opened.__aenter__()
        session = Session(opened, self.handlers, self._executing, self._middleware, self._codecs)
        self._bus = opened
        async with AsyncExitStack() as stack:
            stack.callback(self._forget)
            if bus is None:
                stack.push_async_callback(_close, opened, session)
            context = await self._enter_lifespan(session, stack)
            stack.push_async_callback(session.drain, grace)
            self._session = session
            await session.start(context)
            yield session

    async def _enter_lifespan(self, session: Session, stack: AsyncExitStack) -> contextvars.Context:
        """Start the lifespan, have `stack` end it, and return the context that handlers run in."""
        from polybus.app.ending import DRAIN
        from polybus.app.lifespan import LifespanTask

        if self._lifespan is None:
            context = contextvars.copy_context()
            context.run(at_service, self.service)
            return context
        lifespan = LifespanTask(self._lifespan(self), self._lifespan_name, session.bus.clock, session.fail)

        async def end(kind: object, error: BaseException | None, trace: object) -> bool:
            return await lifespan.end(error, max(session.time_left - _CLOSING, _LEAST))

        await lifespan.start(DRAIN - _CLOSING)
        stack.push_async_exit(end)
        context = lifespan.context
        context.run(at_service, self.service)
        return context

    def _connect(self, source: Binding | Topology | Path | str | None) -> Bus:
        from polybus.bus.connect import connect
        from polybus.otel import from_environment

        return connect(
            self._source if source is None else source,
            service=self.service,
            clock=self.clock,
            hooks=from_environment(self._hooks),
            publisher=self._publisher,
            middleware=self._middleware,
        )

    def _forget(self) -> None:
        self._bus = None
        self._session = None

    def _check_sources(self, bus: Bus) -> None:
        from polybus.bus.rights import Checker

        known = Checker(bus.binding, None)  # what the service hasn't declared is told below, with the handler's place
        for source in self._kinds:
            if source not in self._handlers or self._handlers[source].kinds is None:
                raise ConfigError(f"types of {source!r} are told apart, and no handler of it has a type")
        for handler in self.handlers:
            where = f"handler {handler.name} ({handler.signature.place})"
            try:
                known.source(handler.source)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None
            declared = bus.binding.services.get(self.service) if self.service is not None else None
            if declared is not None and handler.source not in declared.consumes:
                raise NotDeclared(
                    f"{where}: service {self.service!r} has not declared {handler.source!r}: "
                    f"at $.services.{self.service}.consumes: found {list(declared.consumes)}; add it there and deploy"
                )

    # What `run_apps` asks of it (polybus.app.running.Runnable) --------------------------------------------------------

    def _is_idle(self) -> bool:
        return not self._handlers and self._lifespan is None

    def _handler_of(self, task: Any) -> str | None:
        return self._executing.get(task)

    async def run(
        self, *, health_port: int | None = None, health_host: str | None = None, grace: Duration | None = None
    ) -> None:
        """Run until SIGTERM or SIGINT, or until `drain` is called; raise what a consumer failed with.

        See `polybus.app.run_apps`.
        """
        from polybus.app.running import run_apps

        await run_apps([self], health_port=health_port, health_host=health_host, grace=grace)

    async def drain(self, grace: Duration | None = None) -> None:
        """Stop the running app: take no more, let handlers finish, give the rest back; returns when it is done."""
        if self._session is not None:
            await self._session.drain(grace)


class ConnectArguments(NamedTuple):
    """What an app was given for `polybus.connect`."""

    source: Binding | Topology | Path | str | None
    service: str | None
    clock: Clock | None
    hooks: tuple[Hooks, ...]
    publisher: PublisherOptions
    middleware: tuple[AnyMiddleware, ...]


def connect_arguments(app: App) -> ConnectArguments:
    """Return what an app would connect with, for what connects in its place."""
    return ConnectArguments(app._source, app.service, app.clock, app._hooks, app._publisher, tuple(app._middleware))


def _read(
    function: Callable[..., Any],
    scope: Mapping[str, Any],
    batch: bool,
    middleware: tuple[AnyMiddleware, ...],
    given: Once | ClaimStore | None,
) -> tuple[Signature, tuple[AnyMiddleware, ...]]:
    """Return a handler's signature, and the middleware around it alone: what does it once is the innermost."""
    if given is None:
        return read_signature(function, scope, batch=batch), middleware
    from polybus.once.around import filling, once_of, standing_around

    once = once_of(given)
    fills = None if batch else filling(once, blocking=blocks(function))
    signature = read_signature(function, scope, batch=batch, filling=fills)
    return signature, (*middleware, standing_around(once, transaction=signature.filled))


def _checked(middleware: Sequence[AnyMiddleware]) -> tuple[AnyMiddleware, ...]:
    if not middleware:
        return ()
    from polybus.bus.chain import checked

    return checked(middleware)


def _where(executor: str | None, signature: Signature) -> Where:
    """Return where a handler runs; raise ConfigError where it can't run there."""
    if executor is None:
        return "thread" if signature.blocking else "loop"
    handler = f"handler {signature.name} ({signature.place})"
    if executor == "process" and signature.filled:
        raise ConfigError(f"{handler}: executor='process': a transaction of this process can't be there")
    if executor not in ("thread", "process"):
        raise ConfigError(f"{handler}: executor={executor!r}: 'thread' or 'process', or nothing")
    if executor == "thread" and not signature.blocking:
        raise ConfigError(f"{handler}: executor='thread' is for `def`; `async def` runs on the event loop")
    return "thread" if executor == "thread" else "process"


def _calls(  # noqa: PLR0917 - what a handler may say about it
    concurrency: int | None,
    prefetch: int | None,
    batching: Batching | None,
    per_key: PerKey | None,
    room: Room | None,
    priority: int,
) -> int:
    """Return how many calls run at once; raise ValueError for what doesn't go together."""
    if per_key is not None or room is not None:
        said = "per_key" if room is None else "room"
        if batching is not None:
            raise ValueError(f"{said} and max_batch don't go together: one call would have messages of several turns")
        if prefetch is not None:
            raise ValueError(f"prefetch={prefetch!r}: with {said}, how many are taken is told by that")
    if room is not None:
        if concurrency is not None:
            raise ValueError(f"concurrency={concurrency!r}: the room says how many calls run at once")
        return room.calls
    if priority:
        raise ValueError(f"priority={priority!r}: among handlers that share a room: give it to all of them")
    return _DEFAULT.concurrency if concurrency is None else concurrency


def _batching(
    max_batch: int | None, max_wait: Duration | None, concurrency: int | None, where: Where
) -> Batching | None:
    """Return how messages are handled together; raise ValueError where they can't be so."""
    if max_batch is None:
        if max_wait is not None:
            raise ValueError(f"max_wait={max_wait!r} is for batches: give max_batch, too")
        return None
    if where == "process":
        raise ValueError("executor='process' takes one message at a time: leave max_batch out")
    if not 1 <= max_batch <= MOST_BATCH:
        raise ValueError(f"max_batch={max_batch!r}: 1 to {MOST_BATCH:,} messages")
    wait = 1.0 if max_wait is None else seconds(max_wait, "max_wait")
    if not 0 <= wait <= LONGEST_WAIT:
        raise ValueError(f"max_wait={max_wait!r}: 0 to {LONGEST_WAIT:g} s")
    calls = 1 if concurrency is None else concurrency
    if calls < 1:
        raise ValueError(f"concurrency={concurrency!r}: at least 1")
    return Batching(max_batch, wait, calls)


def _refuse_in_child(app: App) -> None:
    """Raise ConfigError where this process only runs a handler: it imports what would run the app once more."""
    child = sys.modules.get("polybus.app.child")
    if child is not None and child.is_child():
        raise ConfigError(
            f"{app!r} is run where its module is imported: with executor='process', write "
            "`if __name__ == '__main__':` before what runs it"
        )


async def _close(bus: Bus, session: Session) -> None:
    """Close a bus within the time that the drain has left; raise what fails, AppFailed where it hangs."""
    from polybus.app.ending import bounded

    closing = asyncio.create_task(bus.aclose(), name="polybus closing")
    seconds = max(session.time_left - _LEAST, _LEAST / 2)
    if not await bounded(bus.clock, closing, seconds):
        what = f"closing {bus!r} took longer than {seconds:.1f} s"
        _log.error("%s; it is left to itself", what)
        raise AppFailed(what)
    closing.result()
