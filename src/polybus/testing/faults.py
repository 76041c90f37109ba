"""Faults on demand, between the bus and any driver.

`FaultyDriver(driver, clock)` forwards everything and keeps a record; its `faults` break what a test asks for: one
message, a whole call before or after it was done, the answer to a call, or everything from now on, as a crash does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from polybus.clock import Clock
from polybus.driver import Ack, LeaseUntil, Received, Settlement
from polybus.errors import Fault, FaultKind
from polybus.message import Message

__all__ = ["CRASHED", "Copy", "Faults", "Gate", "InjectedFault", "Operation", "Try"]

I = TypeVar("I")  # noqa: E741 - an item of a batch
A = TypeVar("A")
T = TypeVar("T")

CRASHED = Fault(FaultKind.LEASE_LOST, "the test cut this driver off")


class Operation(Enum):
    """The calls of a driver that can be broken."""

    OPEN = "open"  # of publishers and consumers
    PUBLISH = "publish_batch"
    RECEIVE = "receive_batch"
    SETTLE = "settle_batch"
    EXTEND = "extend_batch"
    STOP = "stop"
    CLOSE = "aclose"  # of publishers and consumers


class InjectedFault(Exception):
    """What a broken call raises; `FaultyDriver.fault` gives its `fault`."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


class Gate:
    """Holds calls until a test opens it."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        """Let what waits, and all that follows, go on."""
        self._opened.set()

    async def wait(self) -> None:
        """Wait as a call does, and tell the test that one is here."""
        self.reached.set()
        await self._opened.wait()


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt at sending one message; `at` is a reading of the clock's `monotonic`, `call` numbers the calls."""

    id: str
    at: float
    call: int


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a message in one source: what an accepted ack ends for good."""

    source: str
    id: str
    token: str
    moves: int


@dataclass(slots=True)
class _Rule:
    operation: Operation
    fault: Fault
    times: int
    when: Callable[[Message], bool] | None
    done: bool = False

    def is_for(self, message: Message | None) -> bool:
        """Say whether it breaks this message, or, where that is None, whole calls."""
        return self.when is None if message is None else self.when is not None and self.when(message)


@dataclass(slots=True)
class _Throw:
    operation: Operation
    error: Callable[[], BaseException]
    times: int


@dataclass(slots=True)
class _Hold:
    operation: Operation
    gate: Gate
    after: bool


@dataclass(slots=True)
class Faults:
    """What to break, and the record of what went through.

    `calls` counts the calls that were begun, `ended` the batch calls that are over, however they ended.
    `tries` are the messages that were sent, `received` those that came, `asked` what the backend was to settle, and
    `settled` what of it was accepted, in order. `in_hand` are the deliveries that were received and not settled since,
    and `leases` until when they are held.
    `acked` are the copies whose ack was accepted, of all drivers that share the set, `repeats` what came after that.
    `receiving` are the receive calls under way, with the clock's reading when each began;
    `stopped` counts the consumers whose intake was ended.
    """

    clock: Clock
    calls: Counter[Operation] = field(default_factory=Counter)
    ended: Counter[Operation] = field(default_factory=Counter)
    tries: list[Try] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    received: list[Received[Any]] = field(default_factory=list)
    asked: list[Settlement[Any]] = field(default_factory=list)
    settled: list[Settlement[Any]] = field(default_factory=list)
    in_hand: dict[int, Received[Any]] = field(default_factory=dict)
    leases: dict[int, float] = field(default_factory=dict)
    copies: dict[int, Copy] = field(default_factory=dict)
    acked: set[Copy] = field(default_factory=set)
    repeats: list[Copy] = field(default_factory=list)
    receiving: dict[object, float] = field(default_factory=dict)
    stopped: int = 0
    garbled: bool = False
    """Whether `Driver.fault` raises, as one with a bug does."""
    _severed: bool = False
    _rules: list[_Rule] = field(default_factory=list)
    _holds: list[_Hold] = field(default_factory=list)
    _throws: list[_Throw] = field(default_factory=list)
    _short: Counter[Operation] = field(default_factory=Counter)

    # What a test asks for -----------------------------------------------------------------------------------------

    def fail(
        self, operation: Operation, fault: Fault, *, times: int = 1, when: Callable[[Message], bool] | None = None
    ) -> None:
        """Answer `fault` for the next `times` messages that pass `when`, without forwarding them."""
        self._rules.append(_Rule(operation, fault, times, when or (lambda message: True)))

    def cut(self, operation: Operation, fault: Fault, *, times: int = 1, done: bool = False) -> None:
        """Let the next `times` calls raise: before they are forwarded, or, `done`, after, so that nobody knows."""
        self._rules.append(_Rule(operation, fault, times, None, done))

    def throw(self, operation: Operation, error: Callable[[], BaseException], *, times: int = 1) -> None:
        """Let the next `times` calls raise what `error` makes, instead of being forwarded; a CancelledError, say."""
        self._throws.append(_Throw(operation, error, times))

    def shorten(self, operation: Operation, *, times: int = 1) -> None:
        """Let the answers of the next `times` calls lack their last, as a driver with a bug gives them."""
        self._short[operation] += times

    def hold(self, operation: Operation, *, after: bool = False) -> Gate:
        """Hold every call at a gate before it is forwarded, or, `after`, before its answer is returned."""
        hold = _Hold(operation, Gate(), after)
        self._holds.append(hold)
        return hold.gate

    def sever(self) -> None:
        """Cut this driver off as a crash does: nothing that it does from now on reaches the backend.

        Receiving brings nothing, settling and extending answer LEASE_LOST, publishing raises UNAVAILABLE. What was
        received stays leased until its lease ends.
        """
        self._severed = True

    def is_severed(self) -> bool:
        """Say whether the driver was cut off."""
        return self._severed

    def heal(self) -> None:
        """Break nothing more; what is held goes on."""
        self._rules.clear()
        self._throws.clear()
        self._short.clear()
        self.garbled = False
        for hold in self._holds:
            hold.gate.open()
        self._holds.clear()

    def sent(self, identity: str) -> int:
        """Count the attempts at sending a message."""
        return sum(attempt.id == identity for attempt in self.tries)

    def remaining(self) -> float | None:
        """Return the seconds that the shortest lease in hand has left, or None with no good lease in hand."""
        now = self.clock.monotonic()
        ends = [end for receipt in self.in_hand if (end := self.leases[receipt]) > now]
        return min(ends) - now if ends else None

    def in_words(self) -> str:
        """Say what is in hand, for how long, and how many extensions were begun and ended."""
        now = self.clock.monotonic()
        hands = [f"{each.message.id} {self.leases[key] - now:.3f} s" for key, each in self.in_hand.items()]
        calls = f"{self.calls[Operation.EXTEND]} extensions begun, {self.ended[Operation.EXTEND]} ended"
        return f"{calls}; leases: {', '.join(hands) or 'none'}"

    # What the driver calls ----------------------------------------------------------------------------------------

    async def run(
        self,
        operation: Operation,
        items: Sequence[I],
        message_of: Callable[[I], Message],
        forward: Callable[[Sequence[I]], Awaitable[Sequence[A]]],
    ) -> list[A | Fault]:
        """Forward a batch call, broken as asked; return an answer for each item."""
        self.calls[operation] += 1
        try:
            return await self._run(operation, items, message_of, forward)
        finally:
            self.ended[operation] += 1

    async def _run(
        self,
        operation: Operation,
        items: Sequence[I],
        message_of: Callable[[I], Message],
        forward: Callable[[Sequence[I]], Awaitable[Sequence[A]]],
    ) -> list[A | Fault]:
        faults: list[Fault | None] = []

        async def pass_on() -> Sequence[A]:
            if self._severed:
                raise InjectedFault(CRASHED)
            faults.extend(self._fault_each(operation, [message_of(item) for item in items]))
            passing = [item for item, fault in zip(items, faults, strict=True) if fault is None]
            return await forward(passing) if passing or not items else ()

        answers = iter(await self._broken(operation, pass_on))
        whole = [fault if fault is not None else next(answers) for fault in faults]
        if self._short[operation] > 0:
            self._short[operation] -= 1
            return whole[:-1]
        return whole

    async def call(self, operation: Operation, forward: Callable[[], Awaitable[T]]) -> T:
        """Forward a call that has no items, broken as asked."""
        self.calls[operation] += 1
        return await self._broken(operation, forward)

    async def _broken(self, operation: Operation, forward: Callable[[], Awaitable[T]]) -> T:
        await self._pass(operation, after=False)
        self._throw(operation)
        cut = self._take(operation)
        if cut is not None and not cut.done:
            raise InjectedFault(cut.fault)
        answer = await forward()
        if cut is not None:
            raise InjectedFault(cut.fault)
        await self._pass(operation, after=True)
        return answer

    def note_copies(self, received: Sequence[Received[Any]], source: str) -> None:
        """Note what the backend gave: at once, whatever holds it up afterwards."""
        for each in received:
            copy = Copy(source, each.message.id, each.token, each.moves)
            if copy in self.acked:
                self.repeats.append(copy)
            self.copies[id(each)] = copy

    def note_received(self, received: Sequence[Received[Any]]) -> None:
        """Note what the bus was given: it has that in hand until it settles or loses it."""
        for each in received:
            self.received.append(each)
            self.in_hand[id(each)] = each
            self.leases[id(each)] = each.lease_until

    def note_settled(self, settlement: Settlement[Any], answer: Fault | None) -> None:
        """Note a settlement that was asked for, and what the backend answered."""
        if answer is None or answer.kind is FaultKind.LEASE_LOST:
            self.in_hand.pop(id(settlement.received), None)
        if answer is None:
            self.settled.append(settlement)
            copy = self.copies.get(id(settlement.received))  # a proxy around this one may have made another of it
            if isinstance(settlement, Ack) and copy is not None:
                self.acked.add(copy)

    def note_extended(self, received: Received[Any], answer: LeaseUntil | Fault) -> None:
        """Note an extension that was asked for, and what the backend answered."""
        if isinstance(answer, LeaseUntil):
            self.leases[id(received)] = answer.at
        elif answer.kind is FaultKind.LEASE_LOST:
            self.in_hand.pop(id(received), None)

    async def _pass(self, operation: Operation, *, after: bool) -> None:
        for hold in list(self._holds):
            if hold.operation is operation and hold.after is after:
                await hold.gate.wait()

    def _throw(self, operation: Operation) -> None:
        for throw in self._throws:
            if throw.operation is operation and throw.times > 0:
                throw.times -= 1
                raise throw.error()

    def _fault_each(self, operation: Operation, messages: Sequence[Message]) -> list[Fault | None]:
        """Choose each message's fault; with it fail the later ones of its key, as where a batch is sent in order."""
        faults: list[Fault | None] = []
        keys: dict[str, Fault] = {}
        for message in messages:
            key = message.ordering_key if operation is Operation.PUBLISH else None
            rule = self._take(operation, message)
            fault = rule.fault if rule is not None else keys.get(key) if key is not None else None
            if fault is not None and key is not None:
                keys[key] = fault
            faults.append(fault)
        return faults

    def _take(self, operation: Operation, message: Message | None = None) -> _Rule | None:
        """Use up the next rule for one message, or, where that is None, for a whole call."""
        for rule in self._rules:
            if rule.operation is operation and rule.times > 0 and rule.is_for(message):
                rule.times -= 1
                return rule
        return None
