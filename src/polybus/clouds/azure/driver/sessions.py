"""Receiving from an entity with sessions: several at once, each in order (contract, D10).

A session is a link of its own and has one lock for all of its messages. Links that wait for a session are kept ready,
as many again as there are sessions at work, since opening one takes five exchanges.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver

from polybus.binding import Entity
from polybus.clock import Clock, Timer
from polybus.clouds.azure.driver.bounds import ANSWER, OPEN, bounded, each
from polybus.clouds.azure.driver.clients import ACCEPT, Clients
from polybus.clouds.azure.driver.consume import SETTLED_AT_ONCE, SLICE, Reader, answer_seconds, received, settlement
from polybus.clouds.azure.driver.faults import fault, is_conclusive, is_no_session, is_not_open
from polybus.clouds.azure.driver.leases import Leases
from polybus.clouds.azure.driver.sieve import Sieve
from polybus.clouds.azure.limits import AZURE
from polybus.driver import Ack, BatchLimits, LeaseUntil, Nack, Received, Settlement
from polybus.errors import Fault, FaultKind
from polybus.message import Message

__all__ = ["Receipt", "SessionConsumer"]

# A session with nothing left is let go after this many seconds, for others to have it within one.
IDLE = 0.5
# Links that wait for a session where none is at work: two keys that come together are both served at once.
SPARE = 2
# A message that came so many seconds before its session was ours woke the link that waited for one: no other had it.
FRESH = 0.05


@dataclass(slots=True, eq=False)
class Receipt:
    """A message, the session that it came from, and whether it was settled."""

    session: Session
    message: ServiceBusReceivedMessage
    settled: bool = False


class Session:
    """One session that is ours: hands its messages to `pool`, until it has none left or is lost."""

    def __init__(self, pool: SessionConsumer, link: ServiceBusReceiver) -> None:
        self.link = link
        self.until = 0.0
        self.closing = False
        # When the service gave us the session, by its own clock.
        self._granted = 0.0
        self._pool = pool
        self._reader = Reader(link)
        # What is not settled yet, with the lease that was granted for it.
        self._held: dict[Receipt, float] = {}
        self._changed = asyncio.Event()
        self._timer: Timer | None = None

    @property
    def name(self) -> str:
        return str(self.link.session.session_id)

    def may_have_had(self, message: Message) -> bool:
        """Say whether an earlier owner of the session may have had a message.

        The service doesn't count what an owner had whose connection ended. Both times are the service's own.
        """
        return message.published_at is not None and message.published_at < self._granted - FRESH

    # Receiving -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Receive until the session is empty, given back, or lost; then its link is closed."""
        pool = self._pool
        try:
            await self._begin()
            while not self.closing:
                self._changed.clear()
                room = pool.share - len(self._held)
                if min(self._held.values(), default=math.inf) <= pool.clock.monotonic():
                    self.give_up()
                elif room <= 0:
                    await self._wait()
                elif not await self._receive(room):
                    break
            while self._held:
                self._changed.clear()
                await self._wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def _begin(self) -> None:
        """Find out how long the session is ours: its lock may have been granted long before its answer came."""
        leases = self._pool.leases
        locked = _locked(self.link)
        self._granted = 0.0 if locked is None else locked - leases.seconds
        if leases.known:
            self.until = leases.until(locked)
            if self.until <= leases.clock.monotonic():
                self.give_up()
            return
        try:
            self.until = await bounded(self._renew(), self._pool.patience, "renewing a session's lock")
        except Exception as error:  # noqa: BLE001 - told to the next receive
            self._lose(error)
            if fault(error).kind is not FaultKind.LEASE_LOST:
                self._pool.fail(error)

    async def _renew(self) -> float:
        begun = self._pool.clock.monotonic()
        until = await self.link.session.renew_lock(timeout=ANSWER)
        _locked(self.link)
        return self._pool.leases.renewed(begun, until.timestamp())

    async def _receive(self, room: int) -> bool:
        """Receive once; say whether to go on.

        There is no pause between two receives while fewer came than were asked for: what comes in such a pause, while
        settlements read the link, is released by the library, and would come again after what followed it.
        """
        try:
            batch = await self._reader.take(room, SLICE if self._held else IDLE)
        except Exception as error:  # noqa: BLE001 - whatever it was, the session goes with its link
            self._lose(error)
            return False
        if self.closing:
            return False  # what came is given back with the link
        if not batch:
            return bool(self._held)
        for message in batch:
            receipt = Receipt(self, message)
            self._held[receipt] = self.until
            if self._pool.sieve.passes(message.application_properties):
                self._pool.offer(receipt, self.until)
            else:
                self._pool.refuse(receipt, self.until)
        return True

    def _lose(self, error: Exception) -> None:
        if fault(error).kind in (FaultKind.TIMEOUT, FaultKind.UNAVAILABLE):
            self._pool.suspect()
        self._pool.forget(self)
        self.give_up()

    async def _wait(self) -> None:
        """Wait until something is settled or extended, or the first lease that isn't extended ends."""
        clock = self._pool.clock
        now = clock.monotonic()
        ends = min(self._held.values(), default=now)
        if ends <= now:
            self.give_up()
            return
        self._timer = clock.call_later(ends - now, self._changed.set)
        await self._changed.wait()
        self._timer.cancel()

    # Ending ----------------------------------------------------------------------------------------------------------

    def give_up(self) -> None:
        """Let the session go with all that is held, to come again in order.

        A lease that ended without being extended was given up by the bus: what follows must not come before it.
        """
        self.closing = True
        self._held.clear()
        self._changed.set()

    def give_back(self) -> None:
        """Take nothing more from it, and let it go once what is held is settled."""
        self.closing = True
        self._changed.set()

    def drop(self, receipt: Receipt) -> None:
        """Forget a message that nobody took; it goes back with the session."""
        self._held.pop(receipt, None)
        self.give_back()

    # Settling --------------------------------------------------------------------------------------------------------

    async def settle(self, settled: Settlement[Receipt]) -> Fault | None:
        receipt = settled.received.receipt
        if receipt not in self._held:
            return self._lost()
        if isinstance(settled, Nack):
            # What follows may be here already, and must not come before it: so the session is given back, at once.
            self.give_back()
            if settled.attempts is not None and settled.attempts < settled.received.attempt:
                # No handler began: it goes back with the session, which the service doesn't count.
                self._held.pop(receipt, None)
                self._changed.set()
                receipt.settled = True
                return None
        found = await self._settle(settled, receipt)
        receipt.settled = found is None
        if found is None or not found.retryable:
            self._held.pop(receipt, None)
            self._changed.set()
            if found is not None:
                self.give_back()
        return found

    async def _settle(self, settled: Settlement[Receipt], receipt: Receipt) -> Fault | None:
        try:
            await settlement(self.link, settled, receipt.message)
        except Exception as error:  # noqa: BLE001 - each settlement has an answer of its own
            return self._failed(error)
        return None

    def _failed(self, error: Exception) -> Fault | None:
        if is_conclusive(error):
            return None
        if is_not_open(error):
            return self._lost()  # a session ends with its link
        return fault(error)

    def late(self) -> Fault:
        """Let go of a session whose connection no longer answers; whoever waited for it has lost it."""
        self.give_up()
        self._pool.suspect()
        detail = (
            f"no answer within {self._pool.patience:.1f} s; the session is given back to {self._pool.source.name!r}"
        )
        return Fault(FaultKind.LEASE_LOST, detail)

    def _lost(self) -> Fault:
        return Fault(FaultKind.LEASE_LOST, f"the session was lost, or given back to {self._pool.source.name!r}")

    async def extend(self, seconds: float) -> LeaseUntil | Fault:
        """Renew the session's lock, for all of its messages that are held."""
        begun = self._pool.clock.monotonic()
        try:
            self.until = await self._renew()
        except Exception as error:  # noqa: BLE001 - each renewal has an answer of its own
            found = self._failed(error) or self._lost()
            if self._pool.clock.monotonic() >= self.until:
                found = self._lost()  # whatever the library makes of it: the link may be gone with the lock
            if found.kind is FaultKind.LEASE_LOST:
                self.give_up()
            return found
        return LeaseUntil(min(self.until, begun + seconds))

    def extended(self, receipt: Receipt, until: float) -> bool:
        """Note how long a message is the bus's; say whether it still is."""
        if receipt not in self._held:
            return False
        self._held[receipt] = until
        self._changed.set()
        return True


def _locked(link: ServiceBusReceiver) -> float | None:
    """Return when the service's clock says that the session's lock ends, and keep the library from acting on it.

    It compares that time with this machine's clock before each call, and takes the session for lost where the
    machine's is ahead. It has no public way to be told otherwise; where the private one is another, it goes on so.
    """
    session = link.session
    locked = session.locked_until_utc
    if "_locked_until_utc" in vars(session):
        vars(session)["_locked_until_utc"] = None
    return None if locked is None else locked.timestamp()


class SessionConsumer:
    """Consumes an ordered queue or subscription: up to `concurrency` sessions at once."""

    limits = BatchLimits(count=SETTLED_AT_ONCE, total_bytes=AZURE.default_message_bytes)

    def __init__(self, clients: Clients, source: Entity, clock: Clock, *, prefetch: int, concurrency: int) -> None:
        window = max(prefetch, 1)
        self.source = source
        self.clock = clock
        self.leases = Leases(clock, AZURE.lease.clamp(source.lease), source.name, clients.skew)
        self.patience = answer_seconds(self.leases.seconds)
        self._most = max(min(concurrency, window), 1)
        # Messages of one session that are here at most, so that all together fit into the bus's window.
        self.share = max(window // self._most, 1)
        self.sieve = Sieve(source)
        self._clients = clients
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        # With when it began to open its link.
        self._accepting: dict[asyncio.Task[None], tuple[ServiceBusReceiver, float]] = {}
        self._buffer: deque[tuple[Receipt, float]] = deque()
        self._came = asyncio.Event()
        self._error: Exception | None = None
        self._stopping = False

    async def open(self) -> None:
        """Begin to wait for sessions; what is wrong is raised by the first receive."""
        self._accept()

    # Accepting -------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        """Keep as many links waiting for a session as there are at work, within the limit."""
        wanted = min(self._most - len(self._sessions), max(SPARE, len(self._sessions)))
        while not self._stopping and self._error is None and len(self._accepting) < wanted:
            link = self._clients.session(self.source)
            task = asyncio.get_running_loop().create_task(self._wait_for_session(link))
            self._accepting[task] = (link, asyncio.get_running_loop().time())
            task.add_done_callback(self._accepted)

    async def _wait_for_session(self, link: ServiceBusReceiver) -> None:
        try:
            # The service answers after `ACCEPT` at the latest; one that doesn't is out of reach.
            await self._clients.links.open_within(ACCEPT + OPEN, link)
        except Exception as error:  # noqa: BLE001 - told to the next receive, which has someone to tell
            if not is_no_session(error):
                self.fail(error)
            return
        if self._stopping:
            self._clients.links.close_soon(link)
            return
        session = Session(self, link)
        task = asyncio.get_running_loop().create_task(session.run())
        self._sessions[session] = task
        task.add_done_callback(lambda done: self._ended(session, done))

    def _accepted(self, task: asyncio.Task[None]) -> None:
        self._accepting.pop(task, None)
        self._accept()

    def suspect(self) -> None:
        """Wait for sessions on new connections: one as old as these has just been found dead."""
        alive = asyncio.get_running_loop().time() - self.patience
        for task in [task for task, (_, begun) in self._accepting.items() if begun < alive]:
            del self._accepting[task]
            self._clients.links.finish(task)
            task.cancel()
        self._accept()

    def _ended(self, session: Session, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self.fail(error)
        session.give_up()
        del self._sessions[session]
        self.forget(session)
        self._clients.links.close_soon(session.link)
        self._accept()

    # Receiving -------------------------------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """Tell the next receive what went wrong."""
        self._error = error
        self._came.set()

    def offer(self, receipt: Receipt, until: float) -> None:
        """Take a message of a session, for the next receive."""
        self._buffer.append((receipt, until))
        self._came.set()

    def refuse(self, receipt: Receipt, until: float) -> None:
        """Complete what the subscription's rule refuses and came before it, while the session goes on receiving.

        What can't be completed is held until its lease ends, and comes again with its session.
        """
        self.sieve.note(1)
        settling = self.settle_batch([Ack(self._received(receipt, until))])
        self._clients.links.finish(asyncio.get_running_loop().create_task(settling))

    def forget(self, session: Session) -> None:
        """Drop what nobody took of a session that is over."""
        self._buffer = deque(entry for entry in self._buffer if entry[0].session is not session)

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[Receipt]]:
        """Return what sessions have brought; raise once what ended the waiting for them."""
        end = self.clock.monotonic() + wait
        self._accept()
        while not self._buffer and not self._stopping and self._error is None and self.clock.monotonic() < end:
            self._came.clear()
            timer = self.clock.call_later(end - self.clock.monotonic(), self._came.set)
            try:
                await self._came.wait()
            finally:
                timer.cancel()
        if self._buffer:
            return self._take(count)
        error, self._error = self._error, None
        if error is not None:
            raise error
        return ()

    def _take(self, count: int) -> list[Received[Receipt]]:
        taken: list[Received[Receipt]] = []
        while self._buffer and len(taken) < count:
            receipt, until = self._buffer.popleft()
            session = receipt.session
            if session.closing:
                session.drop(receipt)
                continue
            taken.append(self._received(receipt, until))
        return taken

    def _received(self, receipt: Receipt, until: float) -> Received[Receipt]:
        session = receipt.session
        plain: Received[Any] = received(receipt.message, self.source, until, group=session.name)
        again = plain.redelivered or session.may_have_had(plain.message)
        return msgspec.structs.replace(plain, receipt=receipt, redelivered=again)

    # Settling --------------------------------------------------------------------------------------------------------

    def lost(self, received: Received[Receipt]) -> None:
        """Let a session go of which a message was given up: what is here of it, or comes, would pass that one."""
        received.receipt.session.give_up()
        self.forget(received.receipt.session)

    async def settle_batch(self, settlements: Sequence[Settlement[Receipt]]) -> Sequence[Fault | None]:
        """Settle each by a call of its own, several at once; those of one session leave in their order."""
        return await each(
            lambda one: one.received.receipt.session.settle(one),
            settlements,
            self.patience,
            lambda one: one.received.receipt.session.late(),
        )

    async def extend_batch(self, received: Sequence[Received[Receipt]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        """Renew the lock of each session once, for all of its messages."""
        sessions = list(dict.fromkeys(one.receipt.session for one in received))
        settled = {one.receipt for one in received if one.receipt.settled}
        found = await each(
            lambda session: session.extend(seconds), sessions, self.patience, lambda session: session.late()
        )
        answers = dict(zip(sessions, found, strict=True))
        return [self._extended(one.receipt, answers[one.receipt.session], one.receipt in settled) for one in received]

    def _extended(self, receipt: Receipt, answer: LeaseUntil | Fault, was_settled: bool) -> LeaseUntil | Fault:
        if receipt.settled and not was_settled:
            return answer  # it was settled meanwhile, as whoever waits for that is told: nothing was lost
        if isinstance(answer, LeaseUntil) and not receipt.session.extended(receipt, answer.at):
            return Fault(FaultKind.LEASE_LOST, f"its session was given back to {self.source.name!r}")
        return answer

    # Ending ----------------------------------------------------------------------------------------------------------

    async def stop(self) -> Sequence[Received[Receipt]]:
        """Wait for no more sessions, and take nothing more of those at work; what nobody took goes back with them."""
        self._stopping = True
        self._came.set()
        for task in list(self._accepting):
            self._clients.links.finish(task)
            task.cancel()
        while self._buffer:
            receipt, _ = self._buffer.popleft()
            receipt.session.drop(receipt)
        for session in list(self._sessions):
            session.give_back()
        return ()

    async def aclose(self) -> None:
        """Let all sessions go."""
        for session, task in list(self._sessions.items()):
            session.give_up()
            self._clients.links.finish(task)
