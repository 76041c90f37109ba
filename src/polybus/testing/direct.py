"""Drivers without a bus in between: what the driver-level tests of the suite work with."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from polybus.binding import Binding, Entity
from polybus.driver import (
    Ack,
    AdminDriver,
    ConsumerDriver,
    Driver,
    LeaseUntil,
    Nack,
    Outgoing,
    Prepared,
    PublisherDriver,
    Received,
    Settlement,
)
from polybus.errors import Fault, FaultKind
from polybus.message import Message, Sent
from polybus.testing.rig import Rig

__all__ = ["Direct", "Hand", "kind_of"]

# A receive call of a test waits for so many seconds: long enough to be woken by what comes, and short beside every
# lease of the suite, so that no lease began long before the call returns.
WAIT = 1.0


def kind_of(answer: object) -> FaultKind | None:
    """Return the kind of a fault, None for any other answer."""
    return answer.kind if isinstance(answer, Fault) else None


class Hand:
    """One consumer driver in a test's hand; `seen` is all that it received, in order."""

    def __init__(self, direct: Direct, consumer: ConsumerDriver[Any], source: Entity, window: int) -> None:
        self._window = window
        self.consumer = consumer
        self.source = source
        self.seen: list[Received[Any]] = []
        self._held: dict[int, Received[Any]] = {}
        self._stopped = self._closed = False
        self._direct = direct

    async def receive(self, most: int = 1, *, wait: float = WAIT) -> list[Received[Any]]:
        """Receive once; asserts that no more comes than was asked for."""
        got = list(await self.consumer.receive_batch(most, wait=wait))
        assert len(got) <= most, f"{len(got)} were received where {most} were asked for"
        self.seen += got
        self._held.update((id(each), each) for each in got)
        await asyncio.sleep(0)  # a driver that doesn't wait mustn't keep the loop to itself
        return got

    async def take(self, identities: Iterable[str], *, most: int = 10) -> list[Received[Any]]:
        """Receive until each of these messages has come; return them in the order in which they came.

        What else comes is acked: it is what other tests left behind.
        """
        wanted = set(identities)
        found: list[Received[Any]] = []
        end = self._direct.end()
        while missing := wanted - {each.message.id for each in found}:
            assert self._direct.now() < end, (
                f"{len(missing)} of {len(wanted)} messages from {self.source.name!r}: {self._direct.patience}"
            )
            got = await self.receive(min(most, len(missing)))
            found += [each for each in got if each.message.id in wanted]
            others = [each for each in got if each.message.id not in wanted]
            if others:
                await self.settle(*(Ack(each) for each in others))
        return found

    async def one(self, identity: str) -> Received[Any]:
        """Receive until this message has come."""
        [received] = await self.take([identity], most=1)
        return received

    async def sift(self, identities: Iterable[str]) -> list[str]:
        """Return which of these messages can be received now.

        Markers are published and waited for, so that what could come has had its chance; all that comes is given back.
        """
        wanted = set(identities)
        found: list[Received[Any]] = []
        end = self._direct.end()
        markers: set[str] = set()
        seen = 0
        while seen < 2:
            assert self._direct.now() < end, f"the marker: {self._direct.patience}"
            if not markers:  # one that another consumer has taken is followed by the next
                markers.update(await self._direct.publish(self.source.topic or self.source, b"marker"))
            got = await self.receive(self._window)
            found += [each for each in got if each.message.id in wanted]
            others = [each for each in got if each.message.id not in wanted]
            await self.settle(*(Ack(each) for each in others))
            seen += any(each.message.id in markers for each in others)
            if not got or seen:
                markers.clear()
        if found:
            await self.settle(*(Nack(each) for each in found))
        return [each.message.id for each in found]

    async def settle(self, *settlements: Settlement[Any]) -> list[FaultKind | None]:
        """Settle in one call; return the kind of each fault, None for what is done."""
        answers = await self.consumer.settle_batch(settlements) if settlements else ()
        for settlement in settlements:
            self._held.pop(id(settlement.received), None)
        assert len(answers) == len(settlements), f"{len(answers)} answers for {len(settlements)} settlements"
        return [kind_of(answer) for answer in answers]

    async def extend(self, received: Sequence[Received[Any]], seconds: float) -> list[LeaseUntil | Fault]:
        """Extend in one call."""
        answers = list(await self.consumer.extend_batch(received, seconds))
        assert len(answers) == len(received), f"{len(answers)} answers for {len(received)} leases"
        return answers

    async def stop(self) -> None:
        """End its intake, so that what comes again comes to others; what it holds stays as good as it is."""
        if not self._stopped:
            self._stopped = True
            buffered = await self._direct.hasten(self.consumer.stop())
            if buffered:
                await self.consumer.settle_batch([Nack(each) for each in buffered])

    async def close(self) -> None:
        """Stop, give back what is held, and close."""
        if self._closed:
            return
        self._closed = True
        await self.stop()
        if self._held:
            await self.consumer.settle_batch([Nack(each) for each in self._held.values()])
        await self.consumer.aclose()


class Direct:
    """Two drivers, as two processes have them, and what tests open on them; closed with the environment.

    `hasten` waits for what may sit out the end of a long poll; `name` makes names, keys and bodies of their own.
    """

    def __init__(
        self,
        rig: Rig,
        binding: Binding,
        *,
        hasten: Callable[[Awaitable[Any]], Awaitable[Any]],
        name: Callable[[str], str],
    ) -> None:
        self.hasten = hasten
        self._rig = rig
        self._binding = binding
        self._name = name
        self._drivers: list[Driver] = []
        self._publishers: dict[str, PublisherDriver[Any]] = {}
        self._admin: AdminDriver | None = None
        self.patience = f"not within {rig.patience:g} s"

    def now(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def end(self) -> float:
        """Return the loop's time at which the rig's patience is over."""
        return self.now() + self._rig.patience

    def driver(self, number: int = 0) -> Driver:
        """Return the first driver, or another."""
        while len(self._drivers) <= number:
            self._drivers.append(self._rig.driver(self._binding))
        return self._drivers[number]

    async def admin(self) -> AdminDriver:
        """Return what operators have."""
        if self._admin is None:
            self._admin = await self.driver().open_admin()
        return self._admin

    @asynccontextmanager
    async def hand(self, source: Entity | str, *, number: int = 0, window: int = 10) -> AsyncIterator[Hand]:
        """Open a consumer of a source on one of the drivers, for up to `window` messages at once."""
        entity = self._binding.source(source) if isinstance(source, str) else source
        consumer = await self.driver(number).open_consumer(entity, prefetch=window, concurrency=window)
        hand = Hand(self, consumer, entity, window)
        try:
            yield hand
        finally:
            await hand.close()

    def message(self, target: Entity | str, body: bytes = b"", *, key: str | None = None, **more: Any) -> Message:
        """Return a message that fits a target: with an id, and, where it is ordered, a key (of its own where None)."""
        entity = self._binding.target(target) if isinstance(target, str) else target
        if not entity.ordered:
            key = None
        elif key is None:
            key = self._name("key")
        return Message(body, ordering_key=key, id=str(uuid.uuid4()), **more)

    async def publish(self, target: Entity | str, *messages: Outgoing | Message | bytes) -> list[str]:
        """Publish one after the other; return the ids, as the driver says them."""
        entity = self._binding.target(target) if isinstance(target, str) else target
        publisher = self._publishers.get(entity.name)
        if publisher is None:
            publisher = self._publishers[entity.name] = await self.driver().open_publisher(entity)
        identities = []
        for each in messages:
            given = self.message(entity, each) if isinstance(each, bytes) else each
            outgoing = given if isinstance(given, Outgoing) else Outgoing(given)
            identities.append(await send(publisher, outgoing))
        return identities

    async def put_back(self, source: Entity, *letters: Outgoing) -> None:
        """Return letters to their source, as redrive does."""
        publisher = await (await self.admin()).open_return(source)
        try:
            for letter in letters:
                await send(publisher, letter)
        finally:
            await publisher.aclose()

    async def aclose(self) -> None:
        """Close all that was opened."""
        for publisher in self._publishers.values():
            await self.hasten(publisher.aclose())
        if self._admin is not None:
            await self.hasten(self._admin.aclose())
        for driver in self._drivers:
            await self.hasten(driver.aclose())


async def send(publisher: PublisherDriver[Any], outgoing: Outgoing) -> str:
    """Send one message; return its id."""
    prepared = publisher.prepare(outgoing)
    assert isinstance(prepared, Prepared), prepared
    [outcome] = await publisher.publish_batch([prepared])
    assert isinstance(outcome, Sent), outcome
    return outcome.id
