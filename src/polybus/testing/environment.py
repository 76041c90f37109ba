"""What a test of the suite works with: a realised topology, buses on it, and its clock."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from polybus.binding import Binding
from polybus.bus.bus import Bus
from polybus.bus.connect import connect
from polybus.bus.consumer import Consumer
from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions, PublisherOptions
from polybus.clock import SteppedClock
from polybus.driver import Driver, Peeked
from polybus.errors import Fault, PublishFailed
from polybus.telemetry import Hooks, LeaseLostEvent, NoHooks, Settled
from polybus.testing import matrix
from polybus.testing.direct import Direct
from polybus.testing.faults import Copy, Faults, Operation
from polybus.testing.faulty_driver import FaultyDriver
from polybus.testing.listener import Listener
from polybus.testing.rig import Rig
from polybus.testing.topology import suite_topology

T = TypeVar("T")

# Seconds that a receive call waits at most (`ConsumerDriver.receive_batch`).
LONGEST_POLL = 20.0
# What is left for the last part of a jump, in seconds: with the longest poll less than the shortest lease of the suite
# (30 s), and more than a slow machine takes between two lines of a test.
LAST_STEP = 5.0
# Real seconds to wait for receive calls to return. One that takes longer waits by a clock of its own: its driver takes
# the lease's end from its cloud then, which the jump can't make too early.
RETURN = 0.5

# Turns of the event loop from a jump to the call that it makes due: its timer, the task, and the call itself take one
# each; the rest is for what wraps them.
TURNS = 10

# `hasten`: so many seconds pass in so many real ones.
HASTE = 0.5
HASTE_EVERY = 0.02
# Real seconds after which time passes for what is to end between two tests, or after the last. It takes a fraction, or
# a backend doesn't answer: then the bus ends it, by its clock.
ENDING = 1.0
# So many seconds pass then in HASTE_EVERY real ones: a lease that nobody needs any more is over soon.
ENDING_HASTE = 5.0
# How often a test that hangs is cancelled: what it leaves behind may hang as well, a call at a time.
CANCELS = 5

__all__ = ["Environment", "Peer", "Recorder", "Worker"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A bus of its own, as another process has it, and what breaks its driver."""

    bus: Bus
    faults: Faults


class Recorder(NoHooks):
    """Hooks that note what became of deliveries: `outcomes` as (id, outcome), and the ids of `lost` ones."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str]] = []
        self.lost: list[str] = []

    def settled(self, event: Settled) -> None:
        """Note how a delivery was settled."""
        self.outcomes.append((event.message.id, event.outcome))

    def lease_lost(self, event: LeaseLostEvent) -> None:
        """Note a delivery whose lease was lost."""
        self.lost.append(event.message.id)


@dataclass(frozen=True, slots=True)
class Worker:
    """A consumer that runs a handler; `running` ends when it has drained."""

    consumer: Consumer
    running: asyncio.Task[None]


class Environment:
    """The suite's topology on one rig; entered once for a class of tests.

    `bus` is shared by the tests: opening an AMQP link costs 40 ms of processor time. A test that breaks its driver,
    limits its publisher or plays two processes connects buses of its own. `direct` has drivers without a bus.
    `limit` is the time that the running test has.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.clock = rig.clock
        self.binding: Binding
        self.bus: Bus
        self.faults: Faults
        self.direct: Direct
        self.limit: asyncio.Timeout | None = None
        self._names = itertools.count(1)
        self._peers: list[Faults] = []
        self._acked: set[Copy] = set()
        self._repeats: list[Copy] = []
        self._repeatable: set[str] = set()
        self._shared: dict[str, Listener] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Environment:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.rig.drop)
            self.binding = await self.rig.realise(suite_topology(self.rig.refuses, ordering=self.rig.ordering))
            self.direct = Direct(self.rig, self.binding, hasten=self.hasten, name=self.name)
            stack.push_async_callback(self.direct.aclose)
            peer = await stack.enter_async_context(self.connect())
            self.bus, self.faults = peer.bus, peer.faults
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *reason: object) -> None:
        try:
            await self.hasten(asyncio.gather(*(listener.close() for listener in self._shared.values())))
        finally:
            async with self._passing(ENDING):
                await self._stack.aclose()

    @asynccontextmanager
    async def connect(
        self,
        *,
        publisher: PublisherOptions | None = None,
        hooks: Sequence[Hooks] = (),
        binding: Binding | None = None,
    ) -> AsyncIterator[Peer]:
        """Connect a bus with a driver of its own, as another process would."""
        binding = binding or self.binding
        driver = FaultyDriver(self.rig.driver(binding), self.clock)
        options = publisher or PublisherOptions()
        driver.faults.acked, driver.faults.repeats = self._acked, self._repeats
        self._peers.append(driver.faults)
        try:
            outer = self.outer(driver)
            async with connect(binding, driver=outer, clock=self.clock, publisher=options, hooks=hooks) as bus:
                try:
                    yield Peer(bus, driver.faults)
                finally:
                    driver.faults.heal()  # or closing would wait for what a failed test still holds
        finally:
            self._peers = [faults for faults in self._peers if faults is not driver.faults]

    def outer(self, driver: Driver) -> Driver:
        """Return what the bus gets instead of a driver that breaks on demand; for mutants."""
        return driver

    # Consuming -------------------------------------------------------------------------------------------------------

    def listen(self, source: str, *, bus: Bus | None = None, **options: Any) -> Listener:
        """Return a listener on a source, to be entered."""
        return Listener(
            bus or self.bus,
            source,
            patience=self.rig.patience,
            hasten=self.hasten,
            may_repeat=self.rig.may_repeat(self.binding.source(source)),
            **options,
        )

    async def shared(self, source: str) -> Listener:
        """Return the listener on a source that all tests share; it stays open, so nothing else may consume there."""
        if source not in self._shared:
            self._shared[source] = await self._stack.enter_async_context(self.listen(source, prefetch=500))
        return self._shared[source]

    async def letters(self, source: str, identity: str) -> list[Peeked]:
        """Look for a message among the dead letters of a source."""

        async def look() -> list[Peeked]:
            peeked = self.bus.dead_letters(source).peek(1_000)
            return [letter async for letter in peeked if letter.message.id == identity]

        return await self.hasten(look())

    async def letter(self, source: str, identity: str) -> Peeked:
        """Wait until a message is among the dead letters of a source; return it."""
        try:
            async with asyncio.timeout(self.rig.patience):
                while not (found := await self.letters(source, identity)):  # noqa: ASYNC110 - a cloud sets no event
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{identity} is not among the dead letters of {source!r}") from None
        return found[0]

    def expect_repeats(self, *identities: str) -> None:
        """Say that these messages may come again after an ack: they were published twice, or put back twice."""
        self._repeatable.update(identities)

    def check_repeats(self) -> None:
        """Assert that nothing came again, to any consumer, that had been acked (contract, D3)."""
        sources = [*self.binding.subscriptions.values(), *self.binding.queues.values()]
        excused = {each.address for each in sources if self.rig.may_repeat(each)}
        found = {each for each in self._repeats if each.id not in self._repeatable and each.source not in excused}
        assert not found, f"came again after its ack: {sorted(found, key=str)}"

    async def tidy(self) -> None:
        """Rid the shared listeners of what a test left there, so that it doesn't fill their window."""
        self._acked.clear()
        self._repeats.clear()
        self._repeatable.clear()
        async with self._passing(ENDING):
            for listener in self._shared.values():
                await listener.tidy()

    async def end(self, test: asyncio.Task[None]) -> None:
        """End a test that may not be over; what doesn't end is left to itself."""
        async with self._passing(0.0):
            for _ in range(CANCELS):
                if test.done():
                    break
                test.cancel()
                await asyncio.wait([test], timeout=self.rig.patience)
        if test.done() and not test.cancelled():
            test.exception()

    @asynccontextmanager
    async def work(
        self,
        source: str,
        handler: Callable[[Delivery], Awaitable[None]],
        *,
        bus: Bus | None = None,
        options: ConsumerOptions | None = None,
    ) -> AsyncIterator[Worker]:
        """Run a consumer with a handler; drain it at the end."""
        consumer = (bus or self.bus).consumer(source, handler, options=options or ConsumerOptions())
        running = asyncio.create_task(consumer.run())
        try:
            yield Worker(consumer, running)
        except BaseException:
            running.cancel()
            await self.hasten(asyncio.wait([running]))
            raise
        await self.hasten(consumer.drain())
        await self.hasten(running)

    async def fence(self, target: str, *listeners: Listener) -> None:
        """Publish markers and wait until one of `listeners` has them.

        What could have been delivered to them before has then had its chance: whatever the order in which a cloud
        delivers, a wrong message that is there is likely to be seen, and a right one is never taken for wrong.
        """
        for _ in range(2):
            key = self.name("fence") if self.binding.target(target).ordered else None
            marker = await self.bus.publish(target, b"fence", ordering_key=key)
            await self.until(lambda marker=marker: any(each.count(marker) for each in listeners), "the marker")  # type: ignore[misc]
            for each in listeners:
                if each.count(marker):
                    await (await each.get(marker)).ack()

    # Time ------------------------------------------------------------------------------------------------------------

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once: leases that are shorter end.

        A lease counts from before the receive call that got it. One that began long before the jump would bring a
        message whose lease is over already; so a jump is made in two parts, and such calls return in between.

        Where the clock can't be moved, they are waited for, and the test may take longer by as much.
        """
        if self.limit is not None and not isinstance(self.clock, SteppedClock):
            self.limit.reschedule((self.limit.when() or 0.0) + seconds)
        if seconds > LAST_STEP:
            await self.rig.advance(seconds - LAST_STEP)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETURN):
                    while self._overdue():  # noqa: ASYNC110 - a call that returns sets no event
                        await asyncio.sleep(0.001)
            seconds = LAST_STEP
        await self.rig.advance(seconds)

    def _overdue(self) -> bool:
        """Say whether a receive call is under way that should have returned by now."""
        begun = self.clock.monotonic() - LONGEST_POLL
        return any(at <= begun for faults in self._peers for at in faults.receiving.values())

    def stand_still(self, seconds: float) -> None:
        """Let `seconds` pass while nothing else on this event loop runs, as where a handler blocks it."""
        if isinstance(self.clock, SteppedClock):
            self.clock.advance(seconds)
        else:
            time.sleep(seconds)
            if self.limit is not None:
                self.limit.reschedule((self.limit.when() or 0.0) + seconds)

    async def keep(self, seconds: float, faults: Faults, lease: float) -> None:
        """Let `seconds` pass in steps, each time until the leases of `lease` seconds in hand have been extended.

        A step is a quarter of the lease at most, and leaves another: the bus extends at half of it. No step is made
        while an extension is under way: the bus would give up a call that takes a slow machine a moment.
        """
        least = lease / 4

        def extended() -> bool:
            under_way = faults.calls[Operation.EXTEND] > faults.ended[Operation.EXTEND]
            return not under_way and (faults.remaining() or lease) > least

        end = self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            remaining = faults.remaining()
            step = min(left, least, max(remaining - least, 0.0) if remaining is not None else least)
            await self.advance(step)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            try:
                await self.until(extended, "leases extended")
            except AssertionError as late:
                raise AssertionError(f"{late}; {faults.in_words()}") from None

    async def extended_again(self, faults: Faults, lease: float) -> None:
        """Wait until the extension that is under way has failed, and another has given the leases most of `lease`.

        The failure is waited for before time passes for the next try: a jump in between would give up the call that
        is to fail, and leave of the lease what only real seconds use up.
        """
        calls = faults.calls[Operation.EXTEND]
        await self.until(lambda: faults.ended[Operation.EXTEND] >= calls, "the extension that fails")
        await self.hasten(self.until(lambda: faults.calls[Operation.EXTEND] > calls, "another extension"))
        await self.until(lambda: (faults.remaining() or 0.0) > lease / 2, "the lease extended")

    # Waiting ---------------------------------------------------------------------------------------------------------

    async def within(self, awaitable: Awaitable[T]) -> T:
        """Return what comes within the rig's patience; raise AssertionError otherwise."""
        try:
            async with asyncio.timeout(self.rig.patience):
                return await awaitable
        except TimeoutError:
            raise AssertionError(f"nothing came within {self.rig.patience:g} s") from None

    async def hasten(self, awaitable: Awaitable[T]) -> T:
        """As `within`, while the clock runs faster, so that nobody sits out the end of a long poll.

        A few seconds pass for what takes none otherwise: for the ends of consumers, and for looks at dead letters.
        """
        task = asyncio.ensure_future(awaitable)
        try:
            async with asyncio.timeout(self.rig.patience):
                while not (await asyncio.wait([task], timeout=HASTE_EVERY))[0]:
                    await self.rig.advance(HASTE)
        except TimeoutError:
            raise AssertionError(f"nothing came within {self.rig.patience:g} s") from None
        finally:
            task.cancel()
        return task.result()

    @asynccontextmanager
    async def _passing(self, after: float) -> AsyncIterator[None]:
        """Let time pass once the block has taken `after` real seconds: what the bus bounds by its clock ends then."""

        async def pass_on() -> None:
            await asyncio.sleep(after)
            while True:
                await self.rig.advance(ENDING_HASTE)
                await asyncio.sleep(HASTE_EVERY)

        passing = asyncio.get_running_loop().create_task(pass_on())
        try:
            yield
        finally:
            passing.cancel()
            await asyncio.wait([passing])
            if not passing.cancelled():
                passing.exception()  # the rig's own: it says so where a test lets time pass

    async def until(self, predicate: Callable[[], bool], what: str) -> None:
        """Wait until something holds; raise AssertionError that says `what` after the rig's patience."""
        try:
            async with asyncio.timeout(self.rig.patience):
                while not predicate():  # noqa: ASYNC110 - what is waited for sets no event
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise AssertionError(f"{what}: not within {self.rig.patience:g} s") from None

    # Names, notes and faults -----------------------------------------------------------------------------------------

    def name(self, stem: str) -> str:
        """Return a name, key or body that no other test uses."""
        return f"{stem}-{next(self._names)}"

    def note(self, feature: str, value: str) -> None:
        """Note what was measured, for the capability table."""
        matrix.note(self.rig.name, feature, value)

    async def refused(self, publishing: Awaitable[object]) -> Fault:
        """Return the fault with which a publish of one message fails; raise AssertionError where it doesn't."""
        try:
            await self.within(publishing)
        except PublishFailed as error:
            [fault] = error.faults
            return fault
        raise AssertionError("it was accepted")
