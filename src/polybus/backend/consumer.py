"""The base of consumers: settlements by kind, leases as seconds, and dead letters for a system that has none."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from polybus.backend.driver import BaseDriver
from polybus.backend.letters import batches, letter_of, unless_sent
from polybus.backend.parts import part
from polybus.backend.polled import Polled
from polybus.binding import Entity, Kind
from polybus.driver import (
    Ack,
    BatchLimits,
    LeaseUntil,
    Nack,
    Prepared,
    PublisherDriver,
    Received,
    Settlement,
    ToDeadLetters,
)
from polybus.errors import Fault, FaultKind

__all__ = ["BaseConsumer"]

R = TypeVar("R")

_FINAL: Final = Fault(
    FaultKind.INVALID, "a dead letter can't be dead-lettered again; ack it, give it back, or redrive it"
)


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
        await part(self._hold, dict(enumerate(letters)), answers, self.driver.fault)
        await self._copy(letters, answers)
        copied = {place: letters[place].received for place, answer in enumerate(answers) if answer is None}
        await part(self.ack, copied, answers, self.driver.fault)
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
            part(self.ack, acks, answers, self.driver.fault),
            part(self.nack, nacks, answers, self.driver.fault),
            part(self.dead_letter, letters, answers, self.driver.fault),
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
                prepared = publisher.prepare(letter_of(each))
                if isinstance(prepared, Fault):
                    answers[place] = prepared
                else:
                    ready[place] = prepared

        async def send(batch: Sequence[Prepared[Any]]) -> Sequence[Fault | None]:
            return [unless_sent(outcome) for outcome in await publisher.publish_batch(batch)]

        for batch in batches(ready, publisher.limits):
            await part(send, batch, answers, self.driver.fault)

    async def _open_letter_publisher(self) -> PublisherDriver[Any]:
        async with self._one_opens:
            if self._letter_publisher is None:
                self._letter_publisher = await self.driver.open_publisher(self.source.dead_letters, returns=True)
            return self._letter_publisher
