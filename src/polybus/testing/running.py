"""A service developer's test: the app as it is, on a bus in memory, with a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from polybus.app import App, Session
from polybus.app.application import connect_arguments
from polybus.binding import Binding
from polybus.bus.bus import Bus
from polybus.bus.connect import connect
from polybus.bus.options import PublisherOptions
from polybus.bus.resolve import resolve
from polybus.clock import ManualClock
from polybus.driver import Peeked
from polybus.durations import Duration
from polybus.durations import seconds as in_seconds
from polybus.embedded.memory import Store
from polybus.errors import Fault
from polybus.message import Message, Sent
from polybus.telemetry import NoHooks, Processing, Publishing
from polybus.topology.model import Topology

__all__ = ["RunningApp", "run"]

T = TypeVar("T")

# Real seconds that a handler may take, for its own input and output: a test that waits longer hangs.
PATIENCE = 30.0
# Rounds in a row in which nothing may happen before all is called quiet. A round gives the loop the turns of
# `ManualClock.settle`, more than lie between any two events of the bus.
QUIET_ROUNDS = 3

# Why a consumer may take nothing that ends as handlers go on.
_SOON = (None, "room", "key", "priority")


class _Watch(NoHooks):
    """Notes what is published and what is being handled; `events` counts all that happens."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Message]] = []
        self.outstanding = 0
        self.handling: list[str] = []
        self.events = 0

    def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
        self.outstanding += 1

        def done(outcome: Sent | Fault) -> None:
            self.outstanding -= 1
            self.events += 1
            if isinstance(outcome, Sent):
                self.published.append((event.target.name, event.message))

        return done

    def processing(self, event: Processing) -> AbstractContextManager[None]:
        return self._handle(event.source.name)

    @contextmanager
    def _handle(self, source: str) -> Iterator[None]:
        self.events += 1
        self.handling.append(source)
        try:
            yield
        finally:
            self.handling.remove(source)


class RunningApp:
    """An app that runs in a test; nothing moves its `clock` but `advance`.

    `bus` is the test's own: it may publish and look everywhere, whatever the app's service declares.
    """

    def __init__(self, app: App, bus: Bus, clock: ManualClock, watch: _Watch, session: Session) -> None:
        self.app = app
        self._session = session
        self.bus = bus
        self.clock = clock
        self._watch = watch

    async def publish(
        self,
        target: str,
        body: object,
        *,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
        delay: Duration = 0.0,
    ) -> str:
        """Publish a message as another service would; see `Bus.publish`. `idle` waits until it is handled."""
        return await self.bus.publish(target, body, attributes=attributes, ordering_key=ordering_key, delay=delay)

    async def idle(self) -> None:
        """Wait until everything that can be delivered now is handled, and what that published, too.

        Messages that wait for a delay, for their retry or for more of their batch don't count: `advance` has them come.
        Raises AssertionError where a handler still runs after 30 real seconds.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        quiet, events = 0, -1
        while quiet < QUIET_ROUNDS:
            if loop.time() > deadline:
                raise AssertionError(
                    f"handlers of {sorted(set(self._watch.handling))} still run after {PATIENCE:g} s; one that waits "
                    "for time to pass goes on when the test advances the clock"
                )
            await self.clock.settle()
            busy = (
                len(self._watch.handling) > self._session.gathering or self._watch.outstanding or await self._waiting()
            )
            quiet = 0 if busy or events != self._watch.events else quiet + 1
            events = self._watch.events
            if busy:
                await asyncio.sleep(0.001)  # real time, for handlers that use threads and sockets

    async def advance(self, seconds: Duration) -> None:
        """Let time pass, in seconds or as a text ("1h") or timedelta, and wait until what falls due is handled."""
        await self.clock.advance(in_seconds(seconds, "seconds"))
        await self.idle()

    def published(self, target: str) -> list[Message]:
        """Return all that was published to a topic or queue since the start, by the app and by the test, in order."""
        return [message for name, message in self._watch.published if name == target]

    async def dead_letters(self, source: str) -> list[Peeked]:
        """Return the dead letters of a subscription or queue, oldest first, with their reasons."""
        return [letter async for letter in self.bus.dead_letters(source).peek(10_000)]

    async def _waiting(self) -> int:
        """Count what could be delivered to the app's handlers now and isn't."""
        stats = [
            await self.bus.stats(handler.source)
            for handler, consumer in zip(self.app.handlers, self.app.consumers, strict=False)
            if consumer.not_taking in _SOON  # else it waits for time to pass, or to be let go on
        ]
        return sum(each.waiting or 0 for each in stats)


@asynccontextmanager
async def run(app: App, topology: Topology | Binding | Path | str | None = None) -> AsyncIterator[RunningApp]:
    """Run an app on a bus in memory for the length of the block, as `async with polybus.testing.run(app) as t`.

    `topology` is what the app runs on: a Topology, or the path of a polybus.toml. Without it: what the app was made
    with, else the polybus.toml upward from the working directory. The app's lifespan runs, and its hooks hear
    everything. Nothing is read from or written to any real backend. Raises ConfigError as `polybus.connect` does, and
    at the end of the block what a consumer failed with.
    """
    given = connect_arguments(app)
    source = topology if topology is not None else given.source
    binding, _ = resolve(source if source is not None else "embedded")
    binding = msgspec.structs.replace(binding, backend="memory", settings={"store": Store()})
    clock, watch = ManualClock(), _Watch()
    hooks = (*given.hooks, watch)
    options = PublisherOptions(linger=0.0)  # no clock runs by itself that could end it
    async with (
        connect(binding, clock=clock, hooks=[watch], publisher=options) as outside,
        connect(
            binding,
            service=given.service,
            clock=clock,
            hooks=hooks,
            publisher=options,
            middleware=given.middleware,
        ) as bus,
        app.running(bus=bus) as session,
    ):
        await clock.settle()
        try:
            yield RunningApp(app, outside, clock, watch, session)
        finally:
            await _with_time(clock, session.drain(0.0))


async def _with_time(clock: ManualClock, awaitable: Awaitable[T]) -> T:
    """Return what `awaitable` gives while time passes: a drain gives handlers seconds to end."""
    task = asyncio.ensure_future(awaitable)
    while not (await asyncio.wait([task], timeout=0.001))[0]:
        await clock.advance(0.1)
    return task.result()
