"""The bus: what services hold in their hands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from polybus import registry
from polybus.binding import Binding, Entity
from polybus.bus.administration import Administration
from polybus.bus.bounds import closed, ended, look_at
from polybus.bus.calls import DriverBug
from polybus.bus.driver_checks import CONSUMER, wrong_part
from polybus.bus.hooks import combine
from polybus.bus.loop_guard import LoopGuard
from polybus.bus.options import ConsumerOptions, PublisherOptions
from polybus.bus.outgoing import Encoder, check_several
from polybus.bus.retry import Attempts
from polybus.bus.rights import Checker, check_features
from polybus.bus.send_queue import WAITING, Item
from polybus.clock import Clock
from polybus.driver import AdminDriver, ConsumerDriver, Driver, Peeked, PublisherDriver, Stats
from polybus.errors import BackendError, BusClosed, Fault, FaultKind, PublishFailed
from polybus.feature import Feature
from polybus.message import Sent
from polybus.telemetry import Hooks

# What publishes, consumes and looks at dead letters is imported by the first call that needs it: a service that only
# publishes starts without the other half, and reading what `polybus` exports takes neither.
if TYPE_CHECKING:
    from polybus.bus.blocked import Blocked
    from polybus.bus.consumer import Consumer, Consumption, Handler
    from polybus.bus.operating import Job
    from polybus.bus.publisher import Publisher
    from polybus.bus.receiver import Receiver
    from polybus.bus.redrive import DeadLetters

__all__ = ["Bus"]

T = TypeVar("T")
_log = logging.getLogger("polybus")

# Seconds that a redrive which is told to stop has to end: those of a drain after its grace (contract, D12).
LOOKING = 10.0
# After so many messages `publish_many` lets others run, though none waited for room: each takes some 10 us.
TURN = 1_000
# Seconds for a backend's driver to close its connections: with a receiver's own end, within the 10 s after the grace.
CLOSE = 2.0


class Bus:
    """Publishes to and consumes from what one binding names; for one event loop, within its `async with` block."""

    def __init__(
        self,
        binding: Binding,
        *,
        origin: str,
        service: str | None,
        clock: Clock,
        hooks: Sequence[Hooks],
        publisher: PublisherOptions,
        driver: Driver | None,
    ) -> None:
        self.binding = binding
        self.origin = origin
        self.clock = clock
        self._checker = Checker(binding, service)
        self._hooks = combine(hooks)
        self._options = publisher
        self._given = driver
        self._driver: Driver | None = None
        self._publishers: dict[str, Publisher] = {}
        self._encoders: dict[str, Encoder] = {}
        self._receivers: set[Receiver] = set()
        self._jobs: set[Job] = set()
        self._administration = Administration(clock, publisher.deadline)
        self._closed = False
        self._loop_guard: LoopGuard | None = None
        self._ending: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Bus({self.binding.bus!r}, backend={self.backend!r}, from {self.origin})"

    @property
    def backend(self) -> str:
        """The backend's registered name."""
        return self.binding.backend

    @property
    def driver(self) -> Driver:
        """The backend's driver; raises BusClosed outside the `async with` block, in a fork, and on another loop."""
        self._check_loop()
        return self._opened()

    def _opened(self) -> Driver:
        if self._driver is None:
            raise self._not_open()
        return self._driver

    def _check_loop(self) -> None:
        if self._loop_guard is not None:
            self._loop_guard.check()

    def _closing(self) -> bool:
        return self._closed

    def _not_open(self) -> BusClosed:
        state = "closed" if self._closed else "not open: use it as `async with polybus.connect() as bus`"
        return BusClosed(f"bus {self.binding.bus!r} is {state}")

    async def __aenter__(self) -> Bus:
        if self._closed or self._driver is not None:
            raise BusClosed(f"bus {self.binding.bus!r} was opened before; connect again")
        driver = self._given or registry.load(self.backend)(self.binding, self.clock)
        try:
            check_features(self.binding, driver)
        except BaseException:
            await driver.aclose()
            raise
        self._loop_guard = LoopGuard(f"bus {self.binding.bus!r}")
        self._driver = driver
        _log.info("bus %r on backend %r, from %s", self.binding.bus, self.backend, self.origin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Drain what consumes, send what was published, and disconnect; may be called again, which waits for the first.

        Handlers that finish meanwhile may still publish; nothing new is consumed. Once they are done, publishing
        raises BusClosed. Cancelling it ends the grace of every handler; each time it is cancelled again it ends
        what it waits for then: the drain first, then what was published. Whatever fails is raised once everything
        else is closed; what hangs is left to itself and logged. In a forked process it does nothing: the bus is its
        parent's.
        """
        driver, self._closed = self._driver, True
        if self._loop_guard is not None and self._loop_guard.forked:
            return
        if self._ending is not None:
            await asyncio.wait([self._ending])
            return
        if driver is None:
            return
        self._check_loop()
        ending = self._ending = asyncio.create_task(self._end(driver))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            for receiver in self._receivers:
                receiver.end_grace()
            await ending
            raise

    async def _end(self, driver: Driver) -> None:
        async with AsyncExitStack() as last:
            last.push_async_callback(self._close_in_time, "the backend's driver", driver.aclose)
            last.push_async_callback(self._close_in_time, "its administration", self._administration.aclose)
            last.push_async_callback(self._close_publishers)
            jobs = list(self._jobs)
            for job in jobs:
                job.stop()
            theirs = {job.receiver for job in jobs}  # which they drain themselves, once what is put back is removed
            ending = [job.ended(LOOKING) for job in jobs]
            await _all([*ending, *(each.drain() for each in list(self._receivers) if each not in theirs)])

    async def _close_in_time(self, what: str, close: Callable[[], Awaitable[None]]) -> None:
        async def call() -> None:
            await close()

        closing = asyncio.create_task(call())
        if await ended(self.clock, closing, CLOSE):
            closed(closing, what)
            return
        closing.cancel()
        closing.add_done_callback(look_at)
        _log.warning("bus %r: %s does not close; it is left to itself", self.binding.bus, what)

    async def _close_publishers(self) -> None:
        self._driver = None
        publishers, self._publishers = self._publishers, {}
        await _all(publisher.aclose() for publisher in publishers.values())

    # Publishing ------------------------------------------------------------------------------------------------------

    async def publish(
        self,
        target: str,
        body: object,
        *,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
        delay: float | timedelta = 0.0,
    ) -> str:
        """Publish one message to a topic or queue; return its id once the backend has durably accepted it.

        `body` is bytes, str, a Message, or what JSON can say: dict, dataclass, msgspec or pydantic model. `delay` is
        in seconds, at most the target's declared `max_delay`. Waits while the publisher is full. Raises PublishFailed
        with the reason otherwise, UnsupportedFeature for a key or delay that the topology doesn't declare,
        BindingError for an unknown target.
        """
        self._check_loop()
        encoder = self._encoders.get(target) or self._encoder(target)
        outgoing, blocks = encoder.outgoing(body, attributes, ordering_key, delay)
        publisher = self._publishers.get(target) or self._publisher(target)
        outcome = await publisher.send(outgoing, encoder.listener(outgoing), blocks=blocks)
        if isinstance(outcome, Fault):
            raise PublishFailed((outcome,))
        return outcome.id

    @overload
    async def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: Literal[False] = False
    ) -> list[str]: ...

    @overload
    async def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: Literal[True]
    ) -> list[Sent | Fault]: ...

    async def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: bool = False
    ) -> list[str] | list[Sent | Fault]:
        """Publish messages, in order; return their ids once all are accepted.

        `messages` are bodies as in `publish`, or Message values; they are taken as there is room for them. What can't
        be sent (it can't be encoded, or has a key that the topology doesn't declare) fails alone. Raises PublishFailed
        with the outcome of each once all are known; with `outcomes` it returns them instead, a Sent or a Fault for
        each. What is published meanwhile comes after all of them. Where one waits in vain for as long as the deadline,
        or the publisher can't be opened, the rest fails with it. Cancelled, it ends at once; what was taken is sent.
        Raises TypeError for one body instead of several.
        """
        self._check_loop()
        check_several(messages)
        encoder = self._encoders.get(target) or self._encoder(target)
        publisher = self._publishers.get(target) or self._publisher(target)
        taken: list[Item | Fault] = []
        refused: Exception | None = None
        try:
            with publisher.turn() as turn:
                for message in messages:  # one by one: what the publisher has no room for isn't even made yet (P7)
                    try:
                        outgoing, blocks = encoder.outgoing(message, None, None, 0.0)
                    except Exception as error:  # noqa: BLE001 - a body's own code may raise anything
                        refused = refused or error
                        taken.append(publisher.refuse(message, encoder.refusal(error)))
                    else:
                        item = publisher.put(outgoing, encoder.listener(outgoing), blocks=blocks, turn=turn)
                        taken.append(item)
                        if item.stage == WAITING:
                            await publisher.room(item)
                    if not len(taken) % TURN:
                        await asyncio.sleep(0)
        except Exception as error:
            known = await _outcomes(publisher, taken)
            failed = sum(isinstance(outcome, Fault) for outcome in known)
            error.add_note(f"of the messages to {target!r} before, {len(known) - failed} were sent and {failed} failed")
            raise
        known = await _outcomes(publisher, taken)
        if outcomes:
            return known
        sent = [outcome.id for outcome in known if isinstance(outcome, Sent)]
        if len(sent) < len(known):
            raise PublishFailed(known) from refused
        return sent

    def resume(self, target: str, ordering_key: str | None = None) -> None:
        """Let messages of an ordering key, or of all keys, pass again after one of them failed (contract, P6)."""
        self._checker.target(target)
        if (publisher := self._publishers.get(target)) is not None:
            publisher.resume(ordering_key)

    def blocked(self, target: str) -> Blocked:
        """Return the ordering keys of a topic or queue that wait for `resume`, each with why its message failed."""
        self._checker.target(target)
        from polybus.bus.blocked import Blocked

        publisher = self._publishers.get(target)
        return publisher.blocked() if publisher is not None else Blocked({}, all=False)

    def _encoder(self, target: str) -> Encoder:
        entity = self._checker.target(target)
        encoder = self._encoders[target] = Encoder(entity, self.backend, self._hooks)
        return encoder

    def _publisher(self, target: str) -> Publisher:
        from polybus.bus.publisher import Publisher

        entity = self._checker.target(target)
        driver = self.driver
        publisher = Publisher(
            driver, lambda: driver.open_publisher(entity), entity, clock=self.clock, options=self._options
        )
        self._publishers[target] = publisher
        return publisher

    # Consuming -------------------------------------------------------------------------------------------------------

    def consume(
        self,
        source: str,
        *,
        concurrency: int = 16,
        prefetch: int | None = None,
        max_lease: float = 3600.0,
        grace: float = 30.0,
    ) -> Consumption:
        """Return the deliveries of a subscription or queue, as `async with bus.consume(...) as deliveries`.

        Options are those of ConsumerOptions; here `concurrency` only sizes the prefetch. Raises BindingError for an
        unknown source; iterating raises BackendError where the backend ends it.
        """
        from polybus.bus.consumer import Consumption

        options = ConsumerOptions(concurrency, prefetch, max_lease, grace)
        entity = self._checker.source(source)
        return Consumption(lambda: self._open_receiver(entity, options))

    def consumer(self, source: str, handler: Handler, *, options: ConsumerOptions | None = None) -> Consumer:
        """Return a consumer that calls `handler` for each delivery of a subscription or queue, once it is run."""
        from polybus.bus.consumer import Consumer

        entity = self._checker.source(source)
        chosen = options or ConsumerOptions()
        return Consumer(lambda stop: self._open_receiver(entity, chosen, stop), handler, chosen)

    async def _open_receiver(
        self, entity: Entity, options: ConsumerOptions, stop: asyncio.Event | None = None
    ) -> Receiver:
        from polybus.bus.pace import Pace
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
            backend=self.backend,
            clock=self.clock,
            options=options,
            pace=pace,
            hooks=self._hooks,
            on_closed=self._receivers.discard,
        )
        if self._closing():  # while it was opened: the drain of all the others began without it
            await receiver.drain(0)
            raise self._not_open()
        self._receivers.add(receiver)
        return receiver

    # Operating -------------------------------------------------------------------------------------------------------

    def dead_letters(self, name: str) -> DeadLetters:
        """Return the dead letters of a subscription or queue."""
        from polybus.bus.redrive import DeadLetters

        return DeadLetters(self, self._checker.operated(name))

    async def stats(self, name: str) -> Stats:
        """Return what is known of a subscription or queue now, its dead letters counted."""
        entity = self._checker.operated(name)
        stats = await self.call(lambda admin: admin.stats(entity))
        if stats.dead is None and entity.dead_letter is not None:
            dead = await self.call(lambda admin: admin.stats(entity.dead_letters))
            stats = Stats(stats.waiting, stats.leased, stats.delayed, dead.waiting, stats.oldest_age)
        return stats

    def peek(self, name: str, count: int = 100) -> AsyncIterator[Peeked]:
        """Look at up to `count` messages that wait, without changing anything that others see."""
        from polybus.bus.redrive import peek

        return peek(self, self._checker.operated(name), count)

    async def purge(self, name: str) -> int | None:
        """Delete every message that waits in a subscription or queue; return how many, where the cloud tells.

        A service has to consume it too: what waits is live, and who may only operate purges `dead_letters(name)`.
        """
        from polybus.bus.redrive import LONG

        entity = self._checker.purged(name)
        return await self.call(lambda admin: admin.purge(entity), seconds=LONG)

    async def describe(self, name: str) -> Mapping[str, Any]:
        """Return the cloud's own description of a topic, subscription or queue; raise BackendError where it is gone."""
        entity = self.binding.entity(name)
        return await self.call(lambda admin: admin.describe(entity))

    async def ping(self) -> None:
        """Reach the backend; raise BackendError where it can't be reached or refuses."""
        await self.call(lambda admin: admin.ping())

    def features(self, name: str) -> Feature:
        """Return what the backend can do with a topic, subscription or queue."""
        return self._opened().features(self.binding.entity(name))  # from any thread: nothing waits

    def raw(self, name: str) -> object:
        """Return the SDK's own client and the address, for what polybus doesn't do."""
        return self._opened().raw(self.binding.entity(name))

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
        return await self._open_receiver(entity, ConsumerOptions(concurrency=window, prefetch=window))

    async def run(self, job: Job) -> None:
        """Run what goes through dead letters; closing the bus ends it first."""
        self._jobs.add(job)
        await job.run(lambda: self._jobs.discard(job))

    def _attempts(self, driver: Driver) -> Attempts:
        return Attempts(driver, self.clock, self._options.retry, self._options.deadline)


async def _outcomes(publisher: Publisher, taken: Iterable[Item | Fault]) -> list[Sent | Fault]:
    return [each if isinstance(each, Fault) else each.outcome or await publisher.outcome(each) for each in taken]


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Wait for all of them, and raise the first error of any."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
