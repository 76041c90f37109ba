"""One session that is ours: a link of its own, with one lock for all of its messages."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver

from polybus.binding import Entity
from polybus.clock import Clock, Timer
from polybus.clouds.azure.driver.bounds import ANSWER, bounded
from polybus.clouds.azure.driver.consume import SLICE, Reader, settlement
from polybus.clouds.azure.driver.faults import fault, is_conclusive, is_not_open
from polybus.clouds.azure.driver.leases import Leases
from polybus.clouds.azure.driver.sieve import Sieve
from polybus.driver import LeaseUntil, Nack, Settlement
from polybus.errors import Fault, FaultKind
from polybus.message import Message

__all__ = ["Pool", "Receipt", "Session"]

# A session with nothing left is let go after this many seconds, for others to have it within one.
IDLE = 0.5
# A message that came so many seconds before its session was ours woke the link that waited for one: no other had it.
FRESH = 0.05


class Pool(Protocol):
    """What a session knows of the consumer that it works for.

    `share` is how many messages of one session may be here at most, `patience` for how many seconds an answer is waited
    for.
    """

    source: Entity
    clock: Clock
    leases: Leases
    sieve: Sieve
    share: int
    patience: float

    def offer(self, receipt: Receipt, until: float) -> None:
        """Take a message, for the next receive."""

    def refuse(self, receipt: Receipt, until: float) -> None:
        """Complete a message that the subscription's rule refuses."""

    def forget(self, session: Session) -> None:
        """Drop what nobody took of a session that is over."""

    def fail(self, error: Exception) -> None:
        """Tell the next receive what went wrong."""

    def suspect(self) -> None:
        """Trust no connection that is as old as one that has just been found dead."""


@dataclass(slots=True, eq=False)
class Receipt:
    """A message, the session that it came from, and whether it was settled."""

    session: Session
    message: ServiceBusReceivedMessage
    settled: bool = False


class Session:
    """One session that is ours: hands its messages to `pool`, until it has none left or is lost."""

    def __init__(self, pool: Pool, link: ServiceBusReceiver) -> None:
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
