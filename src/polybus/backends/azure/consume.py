"""Receiving from an entity without sessions, and settling."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver

from polybus.backends.azure.clients import Clients
from polybus.backends.azure.faults import fault, is_conclusive, is_not_open
from polybus.backends.azure.wire import decode, why
from polybus.binding import Entity, Kind
from polybus.clock import Clock
from polybus.driver import Ack, BatchLimits, DeadLetter, LeaseUntil, Received, Settlement
from polybus.errors import Fault, FaultKind
from polybus.topology.limits import AZURE

__all__ = ["Lease", "QueueConsumer", "Reader", "each", "received", "settlement"]

Receipt = ServiceBusReceivedMessage
T = TypeVar("T")
A = TypeVar("A")

# Settlements that the bus hands over at once. Of these, as many are under way together as there are workers: each waits
# for its answer in turns of the link, so that many cost more than they save (measured: 200 at once, three times the
# processor time of 8). The bus makes four such calls: 32 share a round trip.
SETTLED_AT_ONCE = 200
WORKERS = 16
# How long one call of the library waits for the first message, in seconds. A drain waits for one that is under way, and
# each costs one frame of 40 bytes.
SLICE = 0.25
# How long a call waits for more where a message came at once, so that a backlog comes in batches: enough for a round
# trip to the region next door, and no message is later for it that a busy consumer would notice.
GATHER = 0.02
# So many times at most, so that a steady trickle is handed over after a tenth of a second.
GATHERINGS = 5
# How long a receive waits for settlements that are under way, in seconds. Whoever reads a link gets the next frame,
# whosesoever it is: a receive beside settlements takes answers from them, and each then waits for a turn in vain.
YIELD = 0.5


@dataclass(frozen=True, slots=True)
class Lease:
    """Turns the service's lock ends, by its clock, into ours: never later than a lock from now would end."""

    clock: Clock
    seconds: float

    @classmethod
    def of(cls, source: Entity, clock: Clock) -> Lease:
        return cls(clock, AZURE.lease.clamp(source.lease))

    def until(self, locked: float | None, begun: float) -> float:
        """Return the end as a reading of `monotonic`; `locked` in seconds since the epoch, `begun` when we asked."""
        latest = begun + self.seconds
        if locked is None:
            return latest
        return min(latest, self.clock.monotonic() + locked - self.clock.time())


def received(
    message: Receipt, source: Entity, until: float, *, group: str | None = None
) -> Received[ServiceBusReceivedMessage]:
    """Return a message of the library as the bus takes it."""
    content, envelope = decode(message, source)
    letter = source.kind is Kind.DEAD_LETTERS
    attempt = (message.delivery_count or 0) + 1
    # Native dead-lettering moves a message without changing it: that move is counted here.
    moves = envelope.moves + 1 if letter else envelope.moves
    reason, description = why(message, source)
    return Received(content, attempt, until, message, group, attempt > 1 or moves > 0, moves, reason, description)


def settlement(receiver: ServiceBusReceiver, settled: Settlement[Any], message: Receipt) -> Awaitable[None]:
    """Return the library's call for a settlement of a message."""
    if isinstance(settled, Ack):
        return receiver.complete_message(message)
    if isinstance(settled, DeadLetter):
        return receiver.dead_letter_message(message, settled.reason, settled.description)
    return receiver.abandon_message(message)


async def each(call: Callable[[T], Awaitable[A]], items: Sequence[T]) -> list[A]:
    """Call for each item, begun in their order, several under way at once; return the answers in that order."""
    if len(items) == 1:
        return [await call(items[0])]
    answers: dict[int, A] = {}
    numbered = enumerate(items)

    async def work() -> None:
        for place, item in numbered:
            answers[place] = await call(item)

    await asyncio.gather(*(work() for _ in range(min(WORKERS, len(items)))))
    return [answers[place] for place in range(len(items))]


class Reader:
    """Receives from one link as soon as there is something, and in batches where there is much."""

    def __init__(self, link: ServiceBusReceiver) -> None:
        self.link = link
        self._calls = 0
        self._quiet = asyncio.Event()
        self._more = False
        self._broken = False
        self._mending = asyncio.Lock()

    async def take(self, count: int, wait: float) -> list[ServiceBusReceivedMessage]:
        """Return up to `count` messages, after about `wait` seconds at most; raise what the library raises.

        The library fills a batch for as long as messages come, and 0.2 s longer: so the first is asked for alone, and
        a batch only where one was there.
        """
        await self.mend()
        await self._pause()
        try:
            if self._more and count > 1:
                batch = await self._gather(count, wait)
                if batch:
                    return batch
                await self._pause()
            batch = await self.link.receive_messages(max_message_count=1, max_wait_time=wait)
            self._more = bool(batch)
        except Exception:
            self._broken = True
            raise
        return batch

    async def _pause(self) -> None:
        """Let settlements that are under way be answered first."""
        if self._calls:
            self._quiet.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(YIELD):
                    await self._quiet.wait()

    async def _gather(self, count: int, wait: float) -> list[ServiceBusReceivedMessage]:
        """Receive until there are `count`, or nothing comes for a moment.

        What was asked for and didn't come yet is sent all the same. Were it to come while settlements read the link and
        no receive is under way, the library would release it, and the service send it once more.
        """
        batch: list[ServiceBusReceivedMessage] = []
        for _ in range(GATHERINGS):
            more = await self.link.receive_messages(
                max_message_count=count - len(batch), max_wait_time=min(GATHER, wait)
            )
            batch += more
            if not more or len(batch) >= count:
                break
        return batch

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Note that the block waits for answers on the link."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._quiet.set()

    async def mend(self) -> None:
        """Open the link again after an error closed it."""
        if not self._broken:
            return
        async with self._mending:
            if self._broken:
                await self.link.__aenter__()
                self._broken = False

    def broke(self) -> None:
        """Note that a call found the link closed."""
        self._broken = True


class QueueConsumer:
    """Consumes a queue, a subscription, or the dead letters of one, without sessions."""

    limits = BatchLimits(count=SETTLED_AT_ONCE, total_bytes=AZURE.default_message_bytes)

    def __init__(self, clients: Clients, source: Entity, clock: Clock) -> None:
        self._clients = clients
        self._source = source
        self._clock = clock
        self._lease = Lease.of(source, clock)
        self._reader = Reader(clients.receiver(source))
        self._stopping = False

    async def open(self) -> None:
        """Open the link; raise what the library raises."""
        await self._reader.link.__aenter__()

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Receipt]]:
        """Receive in short calls, one after the other: one that is cut off would leave messages locked."""
        end = self._clock.monotonic() + wait
        while not self._stopping:
            batch = await self._reader.take(count, SLICE)
            if batch or self._clock.monotonic() >= end:
                now = self._clock.monotonic()
                return [received(message, self._source, self._until(message, now)) for message in batch]
        return ()

    def _until(self, message: Receipt, now: float) -> float:
        locked = message.locked_until_utc
        return self._lease.until(None if locked is None else locked.timestamp(), now)

    async def settle_batch(self, settlements: Sequence[Settlement[Receipt]]) -> Sequence[Fault | None]:
        """Settle each by a call of its own, several at once: the library has no other, and they share round trips."""
        with self._reader.calling():
            return await each(self._settle, settlements)

    async def _settle(self, settled: Settlement[Receipt]) -> Fault | None:
        try:
            await settlement(self._reader.link, settled, settled.received.receipt)
        except Exception as error:  # noqa: BLE001 - each settlement has an answer of its own
            return await self._failed(error)
        return None

    async def _failed(self, error: Exception) -> Fault | None:
        if is_conclusive(error):
            return None
        if not is_not_open(error):
            return fault(error)
        self._reader.broke()
        try:
            await self._reader.mend()
        except Exception as opening:  # noqa: BLE001 - why the link can't be opened is this settlement's answer
            return fault(opening)
        return Fault(FaultKind.UNAVAILABLE, f"the link to {self._source.name!r} was broken, and is open again")

    async def extend_batch(self, received: Sequence[Received[Receipt]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        """Renew each lock; the service grants the entity's lock duration, whatever is asked for."""
        with self._reader.calling():
            return await each(lambda one: self._renew(one.receipt, seconds), received)

    async def _renew(self, message: Receipt, seconds: float) -> LeaseUntil | Fault:
        begun = self._clock.monotonic()
        try:
            until = await self._reader.link.renew_message_lock(message)
        except Exception as error:  # noqa: BLE001 - each renewal has an answer of its own
            done = Fault(FaultKind.LEASE_LOST, "it was settled meanwhile")
            return await self._failed(error) or done
        return LeaseUntil(min(self._lease.until(until.timestamp(), begun), begun + seconds))

    async def stop(self) -> Sequence[Received[Receipt]]:
        """Make no more calls; one that is under way ends within a slice."""
        self._stopping = True
        return ()

    async def aclose(self) -> None:
        """Close the link; what is still on its way to it is released."""
        self._clients.close_soon(self._reader.link)
