"""Receiving from an entity without sessions, and settling."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver

from polybus.binding import Entity, Kind
from polybus.clock import Clock
from polybus.clouds.azure.driver.bounds import ANSWER, Late, Within, bounded, each
from polybus.clouds.azure.driver.clients import Clients
from polybus.clouds.azure.driver.faults import fault, is_conclusive, is_not_open, is_of_one
from polybus.clouds.azure.driver.leases import Leases
from polybus.clouds.azure.driver.sieve import Sieve
from polybus.clouds.azure.driver.wire import decode, sayable, token, why
from polybus.clouds.azure.limits import AZURE
from polybus.driver import Ack, BatchLimits, LeaseUntil, Received, Settlement, ToDeadLetters
from polybus.errors import Fault, FaultKind

__all__ = ["QueueConsumer", "Reader", "answer_seconds", "received", "settlement"]

Receipt = ServiceBusReceivedMessage

# Settlements that the bus hands over at once.
SETTLED_AT_ONCE = 200
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
# A link that brought nothing for so many seconds is asked whether it still could: a network forgets an idle connection
# without telling its ends. One question in this time costs less than the flow of the receives.
SILENCE = 30.0
# The question: a look at the message with the highest number there could be.
LAST_NUMBER = 2**63 - 1
# Characters of a reason that are left where there is no room for more.
SHORT = 64
_LOCKED_UNTIL = b"x-opt-locked-until"


def answer_seconds(lease: float) -> float:
    """Return how long an answer about a message is waited for: there must be time left to ask again elsewhere."""
    return min(ANSWER, max(lease / 3, 1.5))


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
    again = attempt > 1 or moves > 0
    return Received(content, attempt, until, message, group, again, moves, reason, description, token(message))


def _locked_until(message: Receipt) -> float | None:
    """Return when the service's clock says that the lock ends, and keep the library from acting on it.

    It compares that time with this machine's clock before each settlement, and refuses to ask the service where the
    machine's is ahead. When a lease is over is decided by the bus.
    """
    annotations = message.raw_amqp_message.annotations
    locked = None if annotations is None else annotations.pop(_LOCKED_UNTIL, None)
    return None if locked is None else float(locked) / 1000


async def settlement(receiver: ServiceBusReceiver, settled: Settlement[Any], message: Receipt) -> None:
    """Settle a message by the library's call for it; raise what that raises."""
    if isinstance(settled, Ack):
        await receiver.complete_message(message)
    elif isinstance(settled, ToDeadLetters):
        reason = sayable(settled.reason)
        try:
            await receiver.dead_letter_message(message, reason, sayable(settled.description))
        except Exception as error:
            if not is_of_one(error):
                raise
            # A foreign message may leave no room for what is said of it: the letter goes before the words.
            await receiver.dead_letter_message(message, reason[:SHORT], "")
    else:
        await receiver.abandon_message(message)


class Reader:
    """Receives from one link as soon as there is something, and in batches where there is much."""

    def __init__(self, link: ServiceBusReceiver) -> None:
        self.link = link
        self._calls = 0
        self._quiet = asyncio.Event()
        self._more = False

    async def take(self, count: int, wait: float) -> list[ServiceBusReceivedMessage]:
        """Return up to `count` messages, after about `wait` seconds at most; raise what the library raises, or Late.

        The library fills a batch for as long as messages come, and 0.2 s longer: so the first is asked for alone, and
        a batch only where one was there.
        """
        # No task of its own: what comes in a pause between two receives is released, and what follows it is not.
        with Within(wait + 2 * YIELD + ANSWER, "receiving"):
            return await self._take(count, wait)

    async def _take(self, count: int, wait: float) -> list[ServiceBusReceivedMessage]:
        await self._pause()
        if self._more and count > 1:
            batch = await self._gather(count, wait)
            if batch:
                return batch
            await self._pause()
        batch = await self.link.receive_messages(max_message_count=1, max_wait_time=wait)
        self._more = bool(batch)
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


class QueueConsumer:
    """Consumes a queue, a subscription, or the dead letters of one, without sessions.

    Locks outlive their link: what came by one can be settled by the next.
    """

    limits = BatchLimits(count=SETTLED_AT_ONCE, total_bytes=AZURE.default_message_bytes)

    def __init__(self, clients: Clients, source: Entity, clock: Clock) -> None:
        self._clients = clients
        self._source = source
        self._clock = clock
        self._leases = Leases(clock, AZURE.lease.clamp(source.lease), source.name, clients.skew)
        self._patience = answer_seconds(self._leases.seconds)
        self._sieve = Sieve(source)
        self._reader: Reader | None = None
        self._opening: asyncio.Task[Reader] | None = None
        self._heard = 0.0
        self._stopping = False
        self._closed = False

    # The link --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to connect; what is wrong is raised by the first receive."""
        self._begin()

    def _begin(self) -> asyncio.Task[Reader]:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.get_running_loop().create_task(self._open())
            self._clients.links.finish(self._opening)
        return self._opening

    async def _ready(self) -> Reader:
        """Return the open link; after trouble with the last one it is a new one, on a new connection."""
        if self._reader is not None:
            return self._reader
        opening = self._begin()
        # Whoever waits may give up; the link is opened for all.
        await asyncio.wait([opening])
        if opening.cancelled():
            raise Late(message=f"connecting to {self._source.name!r} was given up: it is no longer consumed")
        return opening.result()

    async def _ready_unless_stopped(self) -> Reader | None:
        try:
            return await self._ready()
        except Exception:
            if self._stopping:
                return None
            raise

    async def _open(self) -> Reader:
        link = self._clients.receiver(self._source)
        await self._clients.links.open(link)
        reader = self._reader = Reader(link)
        self._heard = self._clock.monotonic()
        if self._closed:
            self._drop(reader)
        return reader

    def _drop(self, reader: Reader) -> None:
        """Use a link no more: it is broken, or nobody knows what it will answer."""
        if self._reader is reader:
            self._reader = None
            self._clients.links.close_soon(reader.link)

    async def _sound(self, reader: Reader) -> None:
        """Ask a link that was silent for long whether it still carries anything; raise where it doesn't."""
        if self._clock.monotonic() - self._heard < SILENCE:
            return
        await bounded(_look(reader.link), ANSWER, f"a link that was silent for {SILENCE:.0f} s")
        self._heard = self._clock.monotonic()

    # Receiving -------------------------------------------------------------------------------------------------------

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Receipt]]:
        """Receive in short calls, one after the other: one that is cut off would leave messages locked."""
        end = self._clock.monotonic() + wait
        while not self._stopping:
            reader = await self._ready_unless_stopped()
            if reader is None:
                break
            try:
                await self._sound(reader)
                batch = await reader.take(count, SLICE)
                wanted, refused = self._sieve.divide(batch, lambda message: message.application_properties)
                found = await self._granted(reader, wanted)
                if refused:
                    await self._complete(refused)
            except BaseException as error:
                current = self._reader is reader
                self._drop(reader)
                if current or not isinstance(error, Exception):
                    raise
                continue  # another call dropped the link meanwhile, and says why
            if found or self._clock.monotonic() >= end:
                return found
        return ()

    async def _complete(self, refused: Sequence[Receipt]) -> None:
        """Complete what isn't for this subscription; what can't be now comes again with the end of its lock."""
        until = self._clock.monotonic() + self._leases.seconds
        await self.settle_batch([Ack(received(message, self._source, until)) for message in refused])

    async def _granted(self, reader: Reader, batch: Sequence[Receipt]) -> list[Received[Receipt]]:
        """Say of each message when its lease ends, renewing one where the service's clock isn't known."""
        if not batch:
            return []
        self._heard = self._clock.monotonic()
        locked = [_locked_until(message) for message in batch]
        ends: dict[int, float] = {}
        for place, message in enumerate(batch):
            if self._leases.known:
                break
            begun = self._clock.monotonic()
            with reader.calling():
                answer = await bounded(self._renewed(reader, message), self._patience, "renewing a lock")
            # One that is not to be had any more was lost on its way: the bus says so.
            ends[place] = answer if answer is not None else begun
        return [
            received(message, self._source, ends[place] if place in ends else self._leases.until(locked[place]))
            for place, message in enumerate(batch)
        ]

    async def _renewed(self, reader: Reader, message: Receipt) -> float | None:
        """Renew a lock; return the lease's end, or None where it was lost. Raises what the library raises."""
        begun = self._clock.monotonic()
        try:
            # A copy: the library notes the new end on what it is given, and would act on it (_locked_until).
            until = await reader.link.renew_message_lock(copy.copy(message), timeout=ANSWER)
        except Exception as error:
            if fault(error).kind is FaultKind.LEASE_LOST:
                return None
            raise
        self._heard = self._clock.monotonic()
        return self._leases.renewed(begun, until.timestamp())

    # Settling --------------------------------------------------------------------------------------------------------

    async def settle_batch(self, settlements: Sequence[Settlement[Receipt]]) -> Sequence[Fault | None]:
        """Settle each by a call of its own, several at once: the library has no other, and they share round trips."""
        try:
            reader = await bounded(self._ready(), self._patience, "connecting to Service Bus")
        except Exception as error:  # noqa: BLE001 - each settlement has an answer
            return [fault(error)] * len(settlements)

        async def settle(settled: Settlement[Receipt]) -> Fault | None:
            if isinstance(settled, ToDeadLetters) and self._source.kind is Kind.DEAD_LETTERS:
                return Fault(FaultKind.INVALID, "a dead letter can't be dead-lettered again")
            try:
                await settlement(reader.link, settled, settled.received.receipt)
            except Exception as error:  # noqa: BLE001 - each settlement has an answer of its own
                return None if is_conclusive(error) else self._failed(reader, error)
            self._heard = self._clock.monotonic()
            return None

        with self._suspected(reader), reader.calling():
            return await each(settle, settlements, self._patience, lambda _: self._late(reader))

    async def extend_batch(self, received: Sequence[Received[Receipt]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        """Renew each lock; the service grants the entity's lock duration, whatever is asked for."""
        try:
            reader = await bounded(self._ready(), self._patience, "connecting to Service Bus")
        except Exception as error:  # noqa: BLE001 - each renewal has an answer
            return [fault(error)] * len(received)

        async def renew(one: Received[Receipt]) -> LeaseUntil | Fault:
            begun = self._clock.monotonic()
            try:
                until = await self._renewed(reader, one.receipt)
            except Exception as error:  # noqa: BLE001 - each renewal has an answer of its own
                if is_conclusive(error):
                    return Fault(FaultKind.LEASE_LOST, "it was settled meanwhile")
                return self._failed(reader, error)
            if until is None:
                return Fault(FaultKind.LEASE_LOST, f"its lock on {self._source.name!r} was lost")
            return LeaseUntil(min(until, begun + seconds))

        with self._suspected(reader), reader.calling():
            return await each(renew, received, self._patience, lambda _: self._late(reader))

    @contextlib.contextmanager
    def _suspected(self, reader: Reader) -> Iterator[None]:
        """Drop the link where the block is cancelled: an answer may come that is nobody's."""
        try:
            yield
        except asyncio.CancelledError:
            self._drop(reader)
            raise

    def _late(self, reader: Reader) -> Fault:
        self._drop(reader)
        detail = f"{self._source.name!r}: no answer within {self._patience:.1f} s; the link is replaced"
        return fault(Late(message=detail))

    def _failed(self, reader: Reader, error: Exception) -> Fault:
        if is_not_open(error):
            self._drop(reader)
            return Fault(FaultKind.UNAVAILABLE, f"the link to {self._source.name!r} was broken, and is opened again")
        found = fault(error)
        if found.kind in (FaultKind.TIMEOUT, FaultKind.UNAVAILABLE):
            self._drop(reader)
        return found

    # Ending ----------------------------------------------------------------------------------------------------------

    async def stop(self) -> Sequence[Received[Receipt]]:
        """Make no more calls; one that is under way ends within a slice, and connecting is given up."""
        self._stopping = True
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
        return ()

    async def aclose(self) -> None:
        """Close the link; what is still on its way to it is released."""
        self._closed = True
        if self._reader is not None:
            self._drop(self._reader)


async def _look(link: ServiceBusReceiver) -> None:
    await link.peek_messages(max_message_count=1, sequence_number=LAST_NUMBER, timeout=ANSWER)
