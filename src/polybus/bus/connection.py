"""What an open bus works with: its driver, and all that runs on that and is closed before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from polybus import registry
from polybus.binding import Binding, Entity
from polybus.bus.administration import Administration
from polybus.bus.calls import CONSUMER, DriverBug, closed, ended, look_at, wrong_part
from polybus.bus.loop_guard import LoopGuard
from polybus.bus.options import ConsumerOptions, PublisherOptions
from polybus.bus.retry import Attempts
from polybus.bus.rights import check_features
from polybus.clock import Clock
from polybus.driver import AdminDriver, ConsumerDriver, Driver, PublisherDriver
from polybus.errors import BackendError, BusClosed, FaultKind
from polybus.feature import Feature
from polybus.telemetry import Hooks

# What publishes, consumes and looks at dead letters is imported by the first call that needs it.
if TYPE_CHECKING:
    from polybus.bus.operating import Job
    from polybus.bus.publisher import Publisher
    from polybus.bus.receiver import Receiver

__all__ = ["Connection"]

T = TypeVar("T")
_log = logging.getLogger("polybus")

# Seconds that a redrive which is told to stop has to end: those of a drain after its grace (contract, D12).
ENDING = 10.0
# Seconds for a backend's driver to close its connections: with a receiver's own end, within the 10 s after the grace.
CLOSE = 2.0


class Connection:
    """One bus's driver, publishers, receivers and administration; for one event loop."""

    def __init__(
        self,
        binding: Binding,
        *,
        origin: str,
        clock: Clock,
        hooks: Hooks | None,
        options: PublisherOptions,
        driver: Driver | None,
    ) -> None:
        self.clock = clock
        self.hooks = hooks
        self.publishers: dict[str, Publisher] = {}
        """By the names of what they publish to; opened by the first message, and empty once the bus is closed."""
        self.receivers: set[Receiver] = set()
        """All that consumes."""
        self.given = driver
        """The driver to use instead of the one that is registered."""
        self._binding = binding
        self._origin = origin
        self._options = options
        self._driver: Driver | None = None
        self._jobs: set[Job] = set()
        self._administration = Administration(clock, options.deadline)
        self._closed = False
        self._loop_guard: LoopGuard | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def driver(self) -> Driver:
        """The backend's driver; raises BusClosed where the bus isn't open, in a fork, and on another loop."""
        self.check_loop()
        return self.opened()

    def opened(self) -> Driver:
        """Return the driver, from any thread; raise BusClosed where the bus isn't open."""
        if self._driver is None:
            raise self._not_open()
        return self._driver

    def check_loop(self) -> None:
        """Raise BusClosed in a fork, and on another loop than that of the bus."""
        if self._loop_guard is not None:
            self._loop_guard.check()

    def _closing(self) -> bool:
        return self._closed

    def _not_open(self) -> BusClosed:
        state = "closed" if self._closed else "not open: use it as `async with polybus.connect() as bus`"
        return BusClosed(f"bus {self._binding.bus!r} is {state}")

    async def open(self) -> None:
        """Load the driver, and check that it can do what the topology asks for."""
        if self._closed or self._driver is not None:
            raise BusClosed(f"bus {self._binding.bus!r} was opened before; connect again")
        driver = self.given or registry.load(self._binding.backend)(self._binding, self.clock)
        try:
            check_features(self._binding, driver)
        except BaseException:
            await driver.aclose()
            raise
        self._loop_guard = LoopGuard(f"bus {self._binding.bus!r}")
        self._driver = driver
        _log.info("bus %r on backend %r, from %s", self._binding.bus, self._binding.backend, self._origin)

    async def aclose(self) -> None:
        """Do what `Bus.aclose` says."""
        driver, self._closed = self._driver, True
        if self._loop_guard is not None and self._loop_guard.forked:
            return
        if self._ending is not None:
            await asyncio.wait([self._ending])
            return
        if driver is None:
            return
        self.check_loop()
        ending = self._ending = asyncio.create_task(self._end(driver))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            for receiver in self.receivers:
                receiver.end_grace()
            await ending
            raise

    async def _end(self, driver: Driver) -> None:
        async with AsyncExitStack() as last:
            last.push_async_callback(self.close_in_time, "the backend's driver", driver.aclose)
            last.push_async_callback(self.close_in_time, "its administration", self._administration.aclose)
            last.push_async_callback(self._close_publishers)
            jobs = list(self._jobs)
            for job in jobs:
                job.stop()
            theirs = {job.receiver for job in jobs}  # which they drain themselves, once what is put back is removed
            ending = [job.ended(ENDING) for job in jobs]
            await _all([*ending, *(each.drain() for each in list(self.receivers) if each not in theirs)])

    async def close_in_time(self, what: str, close: Callable[[], Awaitable[None]]) -> None:
        """Wait for a part to close, for a few seconds; what hangs is left to itself and logged."""

        async def call() -> None:
            await close()

        closing = asyncio.create_task(call())
        if await ended(self.clock, closing, CLOSE):
            closed(closing, what)
            return
        closing.cancel()
        closing.add_done_callback(look_at)
        _log.warning("bus %r: %s does not close; it is left to itself", self._binding.bus, what)

    async def _close_publishers(self) -> None:
        self._driver = None
        publishers = list(self.publishers.values())
        self.publishers.clear()
        await _all(publisher.aclose() for publisher in publishers)

    # What runs on it -------------------------------------------------------------------------------------------------

    def publisher(self, entity: Entity) -> Publisher:
        """Return the publisher to a topic or queue; one for all calls."""
        from polybus.bus.publisher import Publisher

        driver = self.driver
        publisher = Publisher(
            driver, lambda: driver.open_publisher(entity), entity, clock=self.clock, options=self._options
        )
        self.publishers[entity.name] = publisher
        return publisher

    async def receiver(self, entity: Entity, options: ConsumerOptions, stop: asyncio.Event | None = None) -> Receiver:
        """Return a receiver that isn't started; try again what may pass, until `stop` or the deadline."""
        from polybus.bus.options import Pace
        from polybus.bus.receiver import Receiver

        driver = self.driver
        if self._closing():
            raise self._not_open()
        what = f"consuming from {entity.name!r}"
        pace = Pace(options, counts=Feature.ATTEMPTS not in driver.features(entity))

        async def open() -> ConsumerDriver[Any]:
            given = await driver.open_consumer(entity, prefetch=pace.at_first, concurrency=options.concurrency)
            if (wrong := wrong_part(given, CONSUMER)) is not None:
                detail = f"{what}: the driver gave {wrong}; a bug of this backend"
                raise BackendError(DriverBug(FaultKind.INVALID, detail))
            return given

        opened = await self._attempts(driver).at(what, open, stop)
        receiver = Receiver(
            driver,
            opened,
            entity,
            backend=self._binding.backend,
            clock=self.clock,
            options=options,
            pace=pace,
            hooks=self.hooks,
            on_closed=self.receivers.discard,
        )
        if self._closing():  # while it was opened: the drain of all the others began without it
            await receiver.drain(0)
            raise self._not_open()
        self.receivers.add(receiver)
        return receiver

    async def call(self, function: Callable[[AdminDriver], Awaitable[T]], *, seconds: float | None = None) -> T:
        """Run one call of the backend's administration, for so many seconds; the publisher's deadline where None.

        Raises BackendError where the backend fails it or gives no answer; what polybus itself refuses is raised as it
        is. Cancelled, it waits for what the driver has to give back, for some seconds.
        """
        return await self._administration.call(self.driver, function, seconds)

    async def open_return(self, source: Entity) -> Publisher:
        """Return a publisher that reaches one subscription or queue alone, for redrive."""
        from polybus.bus.publisher import Publisher

        opened = await self.call(lambda admin: admin.open_return(source))

        async def given() -> PublisherDriver[Any]:
            return opened

        return Publisher(self.driver, given, source, clock=self.clock, options=self._options)

    async def open_receiver(self, entity: Entity, window: int) -> Receiver:
        """Return a receiver that isn't started, for redrive."""
        return await self.receiver(entity, ConsumerOptions(concurrency=window, prefetch=window))

    async def run(self, job: Job) -> None:
        """Run what goes through dead letters; closing the bus ends it first."""
        self._jobs.add(job)
        await job.run(lambda: self._jobs.discard(job))

    def _attempts(self, driver: Driver) -> Attempts:
        return Attempts(driver, self.clock, self._options.retry, self._options.deadline)


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all of them, and raise the first error of any."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
