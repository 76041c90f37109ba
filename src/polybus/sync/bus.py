"""The bus, for code that blocks."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from polybus.binding import Binding
from polybus.bus.blocked import Blocked
from polybus.bus.bus import Bus
from polybus.bus.connect import connect as connect_async
from polybus.bus.options import PublisherOptions
from polybus.bus.outgoing import check_several
from polybus.clock import Clock
from polybus.driver import Peeked, Stats
from polybus.durations import Duration
from polybus.errors import Fault
from polybus.feature import Feature
from polybus.message import Message, Sent
from polybus.sync.consume import SyncConsumption
from polybus.sync.portal import Portal, ThreadPortal
from polybus.telemetry import Hooks

if TYPE_CHECKING:
    from polybus.middleware import AnyMiddleware
    from polybus.topology.model import Topology

__all__ = ["SyncBus", "SyncDeadLetters", "connect", "over"]

T = TypeVar("T")


def connect(
    source: Binding | Topology | Path | str | None = None,
    *,
    service: str | None = None,
    clock: Clock | None = None,
    hooks: Sequence[Hooks] = (),
    publisher: PublisherOptions | None = None,
    middleware: Sequence[AnyMiddleware] = (),
) -> SyncBus:
    """Connect, and return a bus for code that blocks; close it, or use it as `with polybus.sync.connect() as bus`.

    Arguments and errors are those of `polybus.connect`; `clock` must serve several threads (SystemClock, SteppedClock).
    Hooks and asynchronous middleware run on the portal's thread. After a fork the child must connect again.
    """
    bus = connect_async(source, service=service, clock=clock, hooks=hooks, publisher=publisher, middleware=middleware)
    portal = ThreadPortal()
    try:
        portal.call(bus.__aenter__)
    except BaseException:
        portal.close()
        raise
    return SyncBus(bus, portal)


def over(bus: Bus) -> SyncBus:
    """Return a blocking face of a bus that is open on the running event loop, for the threads of its handlers.

    Call it on the loop, say in an app's lifespan: `bus = polybus.sync.over(app.bus)`. Closing it leaves `bus` open.
    """
    return SyncBus(bus, Portal(asyncio.get_running_loop(), threading.get_ident()))


class SyncBus:
    """Publishes to and consumes from what one binding names; for any thread. See `polybus.Bus` for what is raised."""

    def __init__(self, bus: Bus, portal: Portal) -> None:
        self._bus = bus
        self._portal = portal

    def __repr__(self) -> str:
        return f"Sync{self._bus!r}"

    @property
    def binding(self) -> Binding:
        """What it was connected by."""
        return self._bus.binding

    @property
    def origin(self) -> str:
        """Where the binding came from."""
        return self._bus.origin

    @property
    def backend(self) -> str:
        """The backend's registered name."""
        return self._bus.backend

    def publish(
        self,
        target: str,
        body: object,
        *,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
        delay: Duration = 0.0,
    ) -> str:
        """Publish one message to a topic or queue; return its id once the backend has durably accepted it.

        Interrupted by KeyboardInterrupt, it may have been published all the same.
        """
        return self._portal.call(
            lambda: self._bus.publish(target, body, attributes=attributes, ordering_key=ordering_key, delay=delay)
        )

    @overload
    def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: Literal[False] = False
    ) -> list[str]: ...

    @overload
    def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: Literal[True]
    ) -> list[Sent | Fault]: ...

    def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: bool = False
    ) -> list[str] | list[Sent | Fault]:
        """Publish messages, in order; return their ids, or with `outcomes` a Sent or a Fault for each."""
        check_several(messages)
        batch = list(messages)  # in this thread: the iterable may block
        if outcomes:
            return self._portal.call(lambda: self._bus.publish_many(target, batch, outcomes=True))
        return self._portal.call(lambda: self._bus.publish_many(target, batch))

    def resume(self, target: str, ordering_key: str | None = None) -> None:
        """Let messages of an ordering key, or of all keys, pass again after one of them failed (contract, P6)."""
        self._call(lambda: self._bus.resume(target, ordering_key))

    def blocked(self, target: str) -> Blocked:
        """Return the ordering keys of a topic or queue that wait for `resume`, each with why its message failed."""
        return self._call(lambda: self._bus.blocked(target))

    def consume(
        self,
        source: str,
        *,
        concurrency: int = 16,
        prefetch: int | None = None,
        max_lease: Duration = 3600.0,
        grace: Duration = 30.0,
    ) -> SyncConsumption:
        """Return the deliveries of a subscription or queue, as `with bus.consume(...) as deliveries`."""
        opening = self._bus.consume(
            source, concurrency=concurrency, prefetch=prefetch, max_lease=max_lease, grace=grace
        )
        return SyncConsumption(self._portal, opening)

    def dead_letters(self, name: str) -> SyncDeadLetters:
        """Return the dead letters of a subscription or queue."""
        return SyncDeadLetters(self._bus, self._portal, name)

    def stats(self, name: str) -> Stats:
        """Return what is known of a subscription or queue now, its dead letters counted."""
        return self._portal.call(lambda: self._bus.stats(name))

    def peek(self, name: str, count: int = 100) -> list[Peeked]:
        """Look at up to `count` messages that wait, without changing anything that others see."""

        async def peek() -> list[Peeked]:
            return [peeked async for peeked in self._bus.peek(name, count)]

        return self._portal.call(peek)

    def purge(self, name: str) -> int | None:
        """Delete every message that waits in a subscription or queue; return how many, where the cloud tells.

        A service has to consume it too; who may only operate purges `dead_letters(name)`.
        """
        return self._portal.call(lambda: self._bus.purge(name))

    def describe(self, name: str) -> Mapping[str, Any]:
        """Return the cloud's own description of a topic, subscription or queue."""
        return self._portal.call(lambda: self._bus.describe(name))

    def ping(self) -> None:
        """Reach the backend; raise BackendError where it can't be reached or refuses."""
        self._portal.call(self._bus.ping)

    def features(self, name: str) -> Feature:
        """Return what the backend can do with a topic, subscription or queue."""
        return self._bus.features(name)

    def raw(self, name: str) -> object:
        """Return the SDK's own client and the address; they belong to the portal's thread."""
        return self._bus.raw(name)

    def close(self) -> None:
        """Drain what consumes, send what was published, disconnect, and end the thread; may be called again.

        In a forked process it does nothing: the bus is its parent's.
        """
        portal = self._portal
        if portal.closed or portal.forked:
            return
        try:
            if isinstance(portal, ThreadPortal):
                portal.call(self._bus.aclose)
        finally:
            portal.close()

    def __enter__(self) -> SyncBus:
        self._call(lambda: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        portal = getattr(self, "_portal", None)
        if isinstance(portal, ThreadPortal) and not portal.closed and not portal.forked:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)
            portal.abandon()

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self._portal.call(call)


class SyncDeadLetters:
    """The dead letters of one subscription or queue."""

    def __init__(self, bus: Bus, portal: Portal, name: str) -> None:
        self._letters = bus.dead_letters(name)
        self._portal = portal

    def stats(self) -> Stats:
        """Return what is known of the letters now, as of messages."""
        return self._portal.call(self._letters.stats)

    def peek(self, count: int = 100) -> list[Peeked]:
        """Look at up to `count` of them, oldest first."""

        async def peek() -> list[Peeked]:
            return [peeked async for peeked in self._letters.peek(count)]

        return self._portal.call(peek)

    def find(self, match: Callable[[Message], bool], *, enough: int | None = None) -> list[Peeked]:
        """Return those that `match` chooses, up to `enough` of them. It runs on the portal's thread."""
        return self._portal.call(lambda: self._letters.find(match, enough=enough))

    def redrive(
        self,
        *,
        limit: int | None = None,
        match: Callable[[Message], bool] | None = None,
        edit: Callable[[Message], Message] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Put them back to where they came from; return how many. The functions run on the portal's thread."""

        def redrive() -> Coroutine[Any, Any, int]:
            return self._letters.redrive(limit=limit, match=match, edit=edit, progress=progress)

        return self._portal.call(redrive)

    def purge(self) -> int | None:
        """Delete all of them; return how many, where the cloud tells."""
        return self._portal.call(self._letters.purge)
