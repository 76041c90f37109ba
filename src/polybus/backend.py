"""Base classes for backends: what every small driver would write again.

A driver needs none of them: `polybus.driver` is what the bus asks for, and what overrides one of these may do all by
itself. They take the parts that differ between systems, as lists in and answers out, and make the rest of it:

- `BaseDriver`: a table of what the SDK's errors mean, and what operators do, with defaults.
- `BasePublisher`: checks what is the same everywhere, and the size, before `encode`.
- `BaseConsumer`: settlements by kind, leases as seconds, and dead letters for a system that has none.
- `PollingConsumer`: the receive loop of a system that can only be asked what is there now.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from polybus import portable
from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock, wait_for
from polybus.driver import (
    Ack,
    AdminDriver,
    BatchLimits,
    ConsumerDriver,
    LeaseUntil,
    Nack,
    Outgoing,
    Peeked,
    Prepared,
    PublisherDriver,
    Received,
    Settlement,
    Stats,
    ToDeadLetters,
)
from polybus.errors import BackendError, Fault, FaultKind, PolybusError, UnsupportedFeature
from polybus.feature import Feature
from polybus.message import Message, Sent
from polybus.topology.limits import DEAD_LETTER_RESERVE_BYTES

__all__ = ["BaseConsumer", "BaseDriver", "BasePublisher", "Letter", "Polled", "PollingConsumer"]

R = TypeVar("R")
W = TypeVar("W")
T = TypeVar("T")

# What Python itself raises where the way to a server is down; a driver's own table goes before it.
_FAULTS: Final[Mapping[type[BaseException], FaultKind]] = MappingProxyType(
    {TimeoutError: FaultKind.TIMEOUT, ConnectionError: FaultKind.UNAVAILABLE}
)
# What a system may mean by one item of a call: the others are asked for by themselves then.
_OF_ONE = frozenset({FaultKind.INVALID, FaultKind.TOO_LARGE})
# The least wait, in seconds, for what is due: clocks of two machines are never quite the same.
_TICK = 0.001
# A wait that ends sooner than this, in seconds, with nothing there, is quick: another consumer was faster. After so
# many in a row each is followed by a pause, so that a `wait` that doesn't wait is no busy loop.
_QUICK = 0.01
_QUICK_IN_A_ROW = 3
_PAUSE = 0.05
# Seconds that a `wait` has to end once it is cancelled.
_ENDING = 5.0


class Letter(Outgoing, frozen=True, gc=False):
    """A message on its way to dead letters, by `BaseConsumer.dead_letter`: `encode` has to keep why it is there."""

    reason: str = ""
    description: str = ""


class Polled(msgspec.Struct, Generic[R], frozen=True):
    """One attempt at handing a message over, as `polybus.driver.Received` says; what is None here is derived.

    `lease` is how many seconds were granted, counted from when they were asked for; None for the entity's `lease`.
    `group` is the message's ordering key where the source keeps order. `redelivered` says so from the second attempt
    on, and of what was moved.
    """

    message: Message
    receipt: R
    attempt: int = 1
    moves: int = 0
    reason: str | None = None
    description: str | None = None
    token: str = ""
    at: float | None = None
    lease: float | None = None
    group: str | None = None
    redelivered: bool | None = None


class BaseDriver(ABC):
    """One backend, connected by one binding: itself a `polybus.driver.DriverFactory`.

    `name` is the backend's, for errors. `faults` says what an error of the SDK means by its type, the nearest of its
    bases first, and `codes` by what `code` returns of it, which goes before its type. Python's own ConnectionError and
    TimeoutError are known.
    """

    name: ClassVar[str]
    faults: ClassVar[Mapping[type[BaseException], FaultKind]] = MappingProxyType({})
    codes: ClassVar[Mapping[str, FaultKind]] = MappingProxyType({})

    def __init__(self, binding: Binding, clock: Clock) -> None:
        self.binding = binding
        self.clock = clock

    @abstractmethod
    async def open_publisher(self, target: Entity, *, returns: bool = False) -> PublisherDriver[Any]:
        """Return a publisher to a topic or queue; raise where it isn't there or can't be reached.

        With `returns`, one that puts messages back to this one subscription or queue and no other (contract, D13); and
        to dead letters, where `BaseConsumer.dead_letter` is used.
        """

    @abstractmethod
    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        """Return a consumer, as `polybus.driver.Driver.open_consumer` says."""

    async def open_admin(self) -> AdminDriver:
        """Return what operators do: this driver's own methods."""
        return _Admin(self)

    def features(self, entity: Entity) -> Feature:
        """Return what the backend can do with an entity: nothing that isn't said."""
        return Feature.NONE

    def raw(self, entity: Entity) -> object:
        """Return the SDK's own client and the entity's address; here there is no more than the address."""
        return entity.address

    async def aclose(self) -> None:  # noqa: B027 - what has nothing to close needs none
        """Close all connections; here there are none."""

    # What operators do ------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Reach the backend, or raise: here by opening the first thing of the binding, and closing it.

        To be overridden where opening doesn't connect.
        """
        opened: PublisherDriver[Any] | ConsumerDriver[Any] | None = None
        for target in (*self.binding.topics.values(), *self.binding.queues.values()):
            opened = await self.open_publisher(target)
            break
        else:
            for source in self.binding.sources():
                opened = await self.open_consumer(source, prefetch=1, concurrency=1)
                break
        if opened is not None:
            await opened.aclose()

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        """Return the system's own description of an entity; here it has none."""
        return {}

    async def stats(self, entity: Entity) -> Stats:
        """Return what is known of an entity; here nothing is."""
        return Stats()

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        """Return up to `count` messages, as `AdminDriver.peek` says; here it is refused."""
        raise UnsupportedFeature(f"{entity.kind.value} {entity.name!r}: {self.name} shows no messages")

    async def purge(self, entity: Entity) -> int | None:
        """Delete what waits, as `AdminDriver.purge` says; here it is refused."""
        raise UnsupportedFeature(
            f"{entity.kind.value} {entity.name!r}: {self.name} deletes nothing that isn't received"
        )

    # What errors mean -------------------------------------------------------------------------------------------------

    def fault(self, error: Exception) -> Fault:
        """Say what an exception means, by `codes` and `faults`; what they don't know is INTERNAL, with its type."""
        if isinstance(error, BackendError):
            return error.fault
        if isinstance(error, PolybusError):  # about the binding, say: trying again mends nothing
            return Fault(FaultKind.INVALID, str(error))
        code = self.code(error)
        kind = None if code is None else self.codes.get(code)
        if kind is None:
            kind = _nearest(error, self.faults) or _nearest(error, _FAULTS)
        if kind is None:
            return Fault(FaultKind.INTERNAL, f"{self.name}: {type(error).__name__}", code)
        return Fault(kind, f"{self.name}: {self.say(error)}", code)

    def code(self, error: Exception) -> str | None:
        """Return the code that the SDK gives an error, None where it has none."""
        return None

    def say(self, error: Exception) -> str:
        """Return a known error in words, without secrets."""
        return str(error) or type(error).__name__


def _nearest(error: Exception, table: Mapping[type[BaseException], FaultKind]) -> FaultKind | None:
    return next((table[each] for each in type(error).__mro__ if each in table), None)


class _Admin:
    """What operators do, as methods of a driver; closing it closes nothing."""

    def __init__(self, driver: BaseDriver) -> None:
        self.ping = driver.ping
        self.describe = driver.describe
        self.stats = driver.stats
        self.peek = driver.peek
        self.purge = driver.purge
        self._driver = driver

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        return await self._driver.open_publisher(source, returns=True)

    async def aclose(self) -> None:
        """Do nothing."""


class BasePublisher(ABC, Generic[W]):
    """Sends to one topic or queue; or back to one subscription or queue, or to dead letters, with `returns`.

    `limits` is what one batch may hold; `max_size` the bytes of the largest message where the binding says none.
    """

    limits: BatchLimits
    max_size: int

    def __init__(self, driver: BaseDriver, target: Entity, *, returns: bool = False) -> None:
        self.driver = driver
        self.target = target
        self.returns = returns

    @abstractmethod
    def encode(self, outgoing: Outgoing) -> tuple[W, int] | Fault:
        """Return a message's wire form and its size in bytes as the system counts it, or why it can't be sent.

        Pure. Its id, its attributes and its key are checked already, unless it `moves`: then it was delivered once as
        it is, with any names and any key. The wire form is a copy: the caller may go on changing attributes. A `Letter`
        takes along its reason, its description and its moves.
        """

    @abstractmethod
    async def publish_batch(self, batch: Sequence[Prepared[W]]) -> Sequence[Sent | Fault]:
        """Send a batch, as `polybus.driver.PublisherDriver.publish_batch` says."""

    def prepare(self, outgoing: Outgoing) -> Prepared[W] | Fault:
        """Check a message, encode it, and keep room for its dead letter (contract, P4, D13, D14).

        What moves may have any names and any key, and take that room: it was delivered once as it is.
        """
        moved = self.returns or outgoing.moves > 0
        wrong = portable.problem(outgoing, self.target, self.driver.name, moved=moved)
        if wrong is not None:
            return wrong
        encoded = self.encode(outgoing)
        if isinstance(encoded, Fault):
            return encoded
        wire, size = encoded
        limit = self.target.max_size or self.max_size
        reserve = 0 if moved else DEAD_LETTER_RESERVE_BYTES
        if size > limit - reserve:
            return portable.too_large(self.target, self.driver.name, size, limit)
        return Prepared(outgoing, size, wire)

    async def aclose(self) -> None:
        """Free what it holds; here nothing."""


class BaseConsumer(ABC, Generic[R]):
    """Settles and extends by kind; `receive_batch` is the subclass's, or `PollingConsumer`'s.

    Each method that takes a list returns as many answers, in its order, and raises what the SDK raises where it fails
    as a whole. `limits` is what one list may hold. `ordered` says whether order is kept here, `letters` whether these
    are dead letters. `stopping` is set once `stop` was called.
    """

    limits: BatchLimits

    def __init__(self, driver: BaseDriver, source: Entity) -> None:
        self.driver = driver
        self.source = source
        self.clock = driver.clock
        self.letters = source.kind is Kind.DEAD_LETTERS
        self.ordered = source.keeps_order
        self.stopping = False
        self._letter_publisher: PublisherDriver[Any] | None = None
        self._one_opens = asyncio.Lock()

    @abstractmethod
    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[R]]:
        """Receive, as `polybus.driver.ConsumerDriver.receive_batch` says."""

    @abstractmethod
    async def ack(self, received: Sequence[Received[R]]) -> Sequence[Fault | None]:
        """Remove each for good; LEASE_LOST for a receipt that is no longer good."""

    @abstractmethod
    async def nack(self, nacks: Sequence[Nack[R]]) -> Sequence[Fault | None]:
        """Give each back; LEASE_LOST as for `ack`."""

    @abstractmethod
    async def extend(self, received: Sequence[Received[R]], seconds: float) -> Sequence[float | Fault]:
        """Extend each lease; answer for how many seconds from the call on, or with LEASE_LOST as for `ack`."""

    async def dead_letter(self, letters: Sequence[ToDeadLetters[R]]) -> Sequence[Fault | None]:
        """Put each among the dead letters; here by a copy that is published there, and an ack after that.

        For systems that can't move a message. Leases are extended first, so that nothing is buried by a receipt whose
        message somebody else has. A crash after the copy leaves the letter and a redelivery, never neither (contract,
        D7); so does an ack that fails, and what is settled again then leaves a second letter, unless the system
        deduplicates by `Outgoing.dedup_id`.
        """
        answers: list[Fault | None] = [None] * len(letters)
        await _part(self._hold, dict(enumerate(letters)), answers, self.driver.fault)
        await self._copy(letters, answers)
        copied = {place: letters[place].received for place, answer in enumerate(answers) if answer is None}
        await _part(self.ack, copied, answers, self.driver.fault)
        return answers

    def received(self, polled: Polled[R], began: float) -> Received[R]:
        """Return what the bus takes; `began` is the clock's `monotonic` before the call that granted the lease."""
        again = polled.attempt > 1 or polled.moves > 0
        group = polled.message.ordering_key if polled.group is None and self.ordered else polled.group
        return Received(
            polled.message,
            polled.attempt,
            began + (self.source.lease if polled.lease is None else polled.lease),
            polled.receipt,
            group,
            again if polled.redelivered is None else polled.redelivered,
            polled.moves,
            polled.reason,
            polled.description,
            polled.token,
            polled.at,
        )

    async def extend_batch(self, received: Sequence[Received[R]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        began = self.clock.monotonic()
        granted = await self.extend(received, seconds)
        return [each if isinstance(each, Fault) else LeaseUntil(began + each) for each in granted]

    async def settle_batch(self, settlements: Sequence[Settlement[R]]) -> Sequence[Fault | None]:
        """Hand each kind to its method, side by side, and put each answer at its place."""
        acks: dict[int, Received[R]] = {}
        nacks: dict[int, Nack[R]] = {}
        letters: dict[int, ToDeadLetters[R]] = {}
        for place, each in enumerate(settlements):
            if isinstance(each, Ack):
                acks[place] = each.received
            elif isinstance(each, Nack):
                nacks[place] = each
            else:
                letters[place] = each
        if len(acks) == len(settlements):  # nearly always
            return await self.ack(list(acks.values()))
        answers: list[Fault | None] = [None] * len(settlements)
        if self.letters and letters:
            answers = [_FINAL if place in letters else None for place in range(len(settlements))]
            letters = {}
        parts = [
            _part(self.ack, acks, answers, self.driver.fault),
            _part(self.nack, nacks, answers, self.driver.fault),
            _part(self.dead_letter, letters, answers, self.driver.fault),
        ]
        await asyncio.gather(*parts)
        return answers

    async def stop(self) -> Sequence[Received[R]]:
        """End intake; here nothing is buffered."""
        self.stopping = True
        return []

    async def aclose(self) -> None:
        """Free what it holds: what dead letters were sent by. Call it where you override it."""
        publisher, self._letter_publisher = self._letter_publisher, None
        if publisher is not None:
            await publisher.aclose()

    # Dead letters as copies -------------------------------------------------------------------------------------------

    async def _hold(self, letters: Sequence[ToDeadLetters[R]]) -> Sequence[Fault | None]:
        """Extend the leases; say of each receipt why it is no longer good."""
        held = await self.extend([each.received for each in letters], self.source.lease)
        return [each if isinstance(each, Fault) else None for each in held]

    async def _copy(self, letters: Sequence[ToDeadLetters[R]], answers: list[Fault | None]) -> None:
        """Publish a copy of each that has no answer yet; note why one couldn't be."""
        publisher = await self._open_letter_publisher()
        ready: dict[int, Prepared[Any]] = {}
        for place, each in enumerate(letters):
            if answers[place] is None:
                prepared = publisher.prepare(_letter(each))
                if isinstance(prepared, Fault):
                    answers[place] = prepared
                else:
                    ready[place] = prepared

        async def send(batch: Sequence[Prepared[Any]]) -> Sequence[Fault | None]:
            return [_unless_sent(outcome) for outcome in await publisher.publish_batch(batch)]

        for batch in _batches(ready, publisher.limits):
            await _part(send, batch, answers, self.driver.fault)

    async def _open_letter_publisher(self) -> PublisherDriver[Any]:
        async with self._one_opens:
            if self._letter_publisher is None:
                self._letter_publisher = await self.driver.open_publisher(self.source.dead_letters, returns=True)
            return self._letter_publisher


class PollingConsumer(BaseConsumer[R]):
    """Receives from a system that can only be asked what is there now, again and again."""

    def __init__(self, driver: BaseDriver, source: Entity) -> None:
        super().__init__(driver, source)
        self._end_wait: Callable[[], None] = _nothing

    @abstractmethod
    async def poll(self, count: int) -> tuple[Sequence[Polled[R]], float | None]:
        """Lease up to `count` of what is there now, without waiting; say in how many seconds something falls due.

        What falls due is the end of a delay or of a lease of anybody's; None where nothing will, or nobody knows. It is
        looked at only where nothing was there. One poll at a time, none after `stop`, and what it returns is always
        handed on.
        """

    async def wait(self, seconds: float) -> None:
        """Wait until something may be there, or for about `seconds`; it may end sooner for no reason.

        What came between the last poll and this call must end it too. It is cancelled once the time is over by the
        bus's clock, and at `stop`, and must end then. Here it sleeps for a second at most, as for systems that tell
        nobody what comes.
        """
        await self.clock.sleep(min(seconds, 1.0))

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[R]]:
        """Poll, and wait, until there is something, the time is over, or `stop` is called."""
        await asyncio.sleep(0)  # a poll may never wait, and a busy consumer must not keep the event loop to itself
        now = self.clock.monotonic
        deadline, quick = now() + wait, 0
        while not self.stopping:
            began = now()
            batch, due = await self.poll(count)
            if batch:
                return [self.received(each, began) for each in batch]
            waits = now()
            if waits >= deadline or self.stopping:
                break
            until = deadline if due is None else min(deadline, max(began + due, waits + _TICK))
            await self._until(until - waits, self.wait(until - waits))
            quick = quick + 1 if now() - waits < _QUICK else 0
            if quick > _QUICK_IN_A_ROW:
                await self._until(_PAUSE, self.clock.sleep(_PAUSE))
        return []

    async def stop(self) -> Sequence[Received[R]]:
        """End intake: a receive that waits returns at once, one that polls with what it brings."""
        self.stopping = True
        self._end_wait()
        return []

    async def _until(self, seconds: float, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for `waiting`, so many seconds at most, or until `stop`; raise what it raises."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        task = asyncio.ensure_future(waiting)
        task.add_done_callback(end)
        timer = self.clock.call_later(seconds, end)
        self._end_wait = end
        try:
            if not self.stopping:
                await over
        finally:
            self._end_wait = _nothing
            timer.cancel()
            task.cancel()
            if not task.done():  # else the next poll would run beside what is left of it
                with contextlib.suppress(TimeoutError):
                    await wait_for(self.clock, asyncio.wait([task]), _ENDING)
        if not task.done():
            detail = f"{self.driver.name}: wait() doesn't end when it is cancelled; a bug of this backend"
            raise BackendError(Fault(FaultKind.INTERNAL, detail))
        if not task.cancelled():
            task.result()


_FINAL: Final = Fault(
    FaultKind.INVALID, "a dead letter can't be dead-lettered again; ack it, give it back, or redrive it"
)


async def _part(
    call: Callable[[Sequence[T]], Coroutine[Any, Any, Sequence[Fault | None]]],
    items: Mapping[int, T],
    answers: list[Fault | None],
    fault: Callable[[Exception], Fault],
) -> None:
    """Make one call for some items, and put the answers at their places; what fails here fails these alone."""
    if not items:
        return
    try:
        found: Sequence[Fault | None] = await call(list(items.values()))
    except Exception as error:  # noqa: BLE001 - the other kinds have answers of their own
        told = fault(error)
        if told.kind in _OF_ONE and len(items) > 1:  # for one of them, perhaps
            for place, item in items.items():
                await _part(call, {place: item}, answers, fault)
            return
        found = [told] * len(items)
    if len(found) != len(items):
        detail = f"the driver gave {len(found)} answers for {len(items)} items; a bug of this backend"
        found = [Fault(FaultKind.INVALID, detail)] * len(items)
    for place, answer in zip(items, found, strict=True):
        answers[place] = answer


def _letter(settlement: ToDeadLetters[Any]) -> Letter:
    received = settlement.received
    return Letter(
        received.message,
        moves=received.moves + 1,
        token=received.token,
        reason=settlement.reason,
        description=settlement.description,
    )


def _unless_sent(outcome: object) -> Fault | None:
    if isinstance(outcome, Sent):
        return None
    if isinstance(outcome, Fault):
        return outcome
    detail = f"the driver gave {type(outcome).__qualname__} as an outcome; a bug of this backend"
    return Fault(FaultKind.INVALID, detail)


def _batches(ready: Mapping[int, Prepared[Any]], limits: BatchLimits) -> Iterator[dict[int, Prepared[Any]]]:
    """Cut what is ready into batches; dead letters have no order to keep."""
    batch: dict[int, Prepared[Any]] = {}
    size, key = 0, None
    for place, each in ready.items():
        full = len(batch) >= limits.count or size + each.size > limits.total_bytes
        other = not limits.mixes_keys and each.outgoing.message.ordering_key != key
        if batch and (full or other):
            yield batch
            batch, size = {}, 0
        batch[place] = each
        size, key = size + each.size, each.outgoing.message.ordering_key
    if batch:
        yield batch


def _nothing() -> None:
    pass
