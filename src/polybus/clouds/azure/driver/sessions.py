"""Receiving from an entity with sessions: several at once, each in order (contract, D10).

A session is a link of its own and has one lock for all of its messages. Links that wait for a session are kept ready,
as many again as there are sessions at work, since opening one takes five exchanges.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from azure.servicebus.aio import ServiceBusReceiver

from polybus.binding import Entity
from polybus.clock import Clock
from polybus.clouds.azure.driver.bounds import OPEN, each
from polybus.clouds.azure.driver.clients import ACCEPT, Clients
from polybus.clouds.azure.driver.consume import SETTLED_AT_ONCE, answer_seconds, received
from polybus.clouds.azure.driver.faults import is_no_session
from polybus.clouds.azure.driver.leases import Leases
from polybus.clouds.azure.driver.session import Receipt, Session
from polybus.clouds.azure.driver.sieve import Sieve
from polybus.clouds.azure.limits import AZURE
from polybus.driver import Ack, BatchLimits, LeaseUntil, Received, Settlement
from polybus.errors import Fault, FaultKind

__all__ = ["SessionConsumer"]

# Links that wait for a session where none is at work: two keys that come together are both served at once.
SPARE = 2


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
