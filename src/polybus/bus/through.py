"""Publishing through middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from polybus.bus.chain import publishing, surround
from polybus.bus.outcomes import note
from polybus.bus.outgoing import Encoder
from polybus.bus.places import ManyPlace, Place, Places, within
from polybus.clock import Clock
from polybus.driver import Outgoing
from polybus.durations import Duration, seconds
from polybus.errors import Fault, FaultKind, PublishFailed
from polybus.message import Message, Sent
from polybus.middleware import AnyMiddleware, Publication

if TYPE_CHECKING:
    from polybus.bus.options import PublisherOptions
    from polybus.bus.publisher import Publisher

__all__ = ["Through"]

# How many messages of one `publish_many` are with middleware at once: the largest batch that a cloud takes (Google's).
AT_ONCE = 1_000

_TOO_LATE = frozenset({FaultKind.DEADLINE, FaultKind.TIMEOUT})


class Through:
    """Publishes what has passed through middleware; for one event loop.

    `encoder` and `publisher` give those of a target, and raise as `Bus.publish` does.
    """

    def __init__(
        self,
        middleware: Sequence[AnyMiddleware],
        *,
        clock: Clock,
        options: PublisherOptions,
        encoder: Callable[[str], Encoder],
        publisher: Callable[[str], Publisher],
    ) -> None:
        self._links = publishing(middleware)
        self._clock = clock
        self._options = options
        self._encoder = encoder
        self._publisher = publisher
        self._places: dict[str, Places] = {}

    async def publish(
        self,
        target: str,
        body: object,
        *,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
        delay: Duration = 0.0,
    ) -> str:
        """Do what `Bus.publish` does."""
        self._publisher(target)  # raises for a target that isn't there, and where the bus isn't open
        outgoing, token = self._draft(target, body, attributes, ordering_key, delay)
        return await self.again(outgoing, token)

    async def again(self, outgoing: Publication, token: str) -> str:
        """Publish what was drafted before, perhaps in another process; `token` names that call (polybus.driver)."""
        self._publisher(outgoing.target)
        places, key = self._places_of(outgoing.target), outgoing.message.ordering_key
        place = None if places is None or key is None else places.take(key)
        return await self._pass(outgoing, token, place)

    async def publish_each(
        self, target: str, messages: Iterable[object]
    ) -> tuple[list[Sent | Fault], Exception | None]:
        """Publish messages; return the outcome of each, and the first of what they raised before the bus had them."""
        self._publisher(target)
        places = self._places_of(target)
        place = None if places is None else places.take_many()
        many = _Many(self, target, place)
        try:
            with within(place):
                await many.run(messages)
        finally:
            if place is not None:
                place.leave()
        return many.known, many.refused

    def _draft(
        self, target: str, body: object, attributes: Mapping[str, str] | None, key: str | None, delay: Duration
    ) -> tuple[Publication, str]:
        message, token = self._encoder(target).draft(body, attributes, key)
        return Publication(target, message, float(seconds(delay, "delay"))), token

    def _places_of(self, target: str) -> Places | None:
        """Return the places of a target; None where it has no order."""
        if not self._encoder(target).ordered:
            return None
        return self._places.get(target) or self._places.setdefault(target, Places())

    async def _pass(self, outgoing: Publication, token: str, place: Place | None) -> str:
        id, handed_on = outgoing.message.id, False

        async def end(changed: Publication) -> str:
            nonlocal handed_on
            if place is not None:
                await place.turn()
            encoder = self._encoder(changed.target)
            prepared, blocks = encoder.outgoing(changed.message, None, None, changed.delay)
            if prepared.message.id == id:
                prepared = _with_token(prepared, token)
            publisher = self._publisher(changed.target)
            handed_on = True
            if place is not None:
                place.leave()  # those behind it come after this step, in which the publisher takes the message
            outcome = await publisher.send(prepared, encoder.listener(prepared), blocks=blocks)
            if isinstance(outcome, Fault):
                raise PublishFailed((outcome,))
            return outcome.id

        try:
            with within(place):
                return await surround(self._links, end)(outgoing)
        except Exception as error:
            if place is not None and not handed_on:
                await place.turn()  # what came before it isn't held up
                self._refuse(outgoing.target, outgoing.message, error)
            raise
        finally:
            if place is not None:
                place.leave()

    def _refuse(self, target: str, message: object, error: Exception) -> Fault:
        """Hold up the ordering key of a message that failed before the bus had it; return why, as a fault."""
        fault = self._fault(target, error)
        return self._publisher(target).refuse(message, fault)

    def _fault(self, target: str, error: Exception) -> Fault:
        if isinstance(error, PublishFailed) and len(error.outcomes) == 1 and isinstance(error.outcomes[0], Fault):
            return error.outcomes[0]
        return self._encoder(target).refusal(error)


class _Many:
    """The messages of one `publish_many`: several are with middleware at once, and each has its outcome."""

    def __init__(self, through: Through, target: str, place: ManyPlace | None) -> None:
        self._through = through
        self._target = target
        self._place = place
        self._options = through._options
        self._outcomes: list[Sent | Fault | None] = []
        self.refused: Exception | None = None
        # Of what is with middleware: how many messages, and the bytes of their bodies (contract, P7).
        self._count = self._bytes = 0
        self._room: asyncio.Future[None] | None = None
        self._well = through._clock.monotonic()
        self._in_vain: Fault | None = None

    @property
    def known(self) -> list[Sent | Fault]:
        """The outcomes, once all are known."""
        cut_off = Fault(FaultKind.CANCELLED, "middleware cancelled it")
        return [cut_off if outcome is None else outcome for outcome in self._outcomes]

    async def run(self, messages: Iterable[object]) -> None:
        """Publish all of them, and wait for their outcomes."""
        failed: Exception | None = None
        async with asyncio.TaskGroup() as group:
            try:
                for message in messages:  # one by one: what there is no room for isn't even made yet (P7)
                    await self._begin(group, message)
            except Exception as error:  # noqa: BLE001 - the iterable's; it is raised once what was taken is done with
                failed = error
        if failed is not None:
            note(failed, self._target, self.known)
            raise failed

    async def _begin(self, group: asyncio.TaskGroup, message: object) -> None:
        at = len(self._outcomes)
        if self._in_vain is not None:
            self._outcomes.append(self._in_vain)
            return
        self._outcomes.append(None)
        key = message.ordering_key if isinstance(message, Message) else None
        place = None if self._place is None or not isinstance(key, str) else self._place.take(key)
        try:
            outgoing, token = self._through._draft(self._target, message, None, None, 0.0)
        except Exception as error:  # noqa: BLE001 - a body's own code may raise anything
            await self._enter(0)
            group.create_task(self._cannot(at, message, place, error))
        else:
            await self._enter(len(outgoing.message.body))
            group.create_task(self._one(at, outgoing, token, place))

    async def _enter(self, size: int) -> None:
        most = min(AT_ONCE, self._options.max_outstanding)
        while self._count and (self._count >= most or self._bytes + size > self._options.max_outstanding_bytes):
            self._room = asyncio.get_running_loop().create_future()
            await self._room
        self._count += 1
        self._bytes += size

    def _leave(self, size: int) -> None:
        self._count -= 1
        self._bytes -= size
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def _cannot(self, at: int, message: object, place: Place | None, error: Exception) -> None:
        try:
            if place is not None:
                await place.turn()
            self._note(at, self._through._refuse(self._target, message, error), error)
        finally:
            if place is not None:
                place.leave()
            self._leave(0)

    async def _one(self, at: int, outgoing: Publication, token: str, place: Place | None) -> None:
        try:
            self._outcomes[at] = Sent(await self._through._pass(outgoing, token, place))
            self._well = self._through._clock.monotonic()
        except Exception as error:  # noqa: BLE001 - it is this message's outcome
            self._note(at, self._through._fault(self._target, error), error)
        finally:
            self._leave(len(outgoing.message.body))

    def _note(self, at: int, fault: Fault, error: Exception) -> None:
        self._outcomes[at] = fault
        if not isinstance(error, PublishFailed):
            self.refused = self.refused or error
        idle = self._through._clock.monotonic() - self._well
        if fault.kind in _TOO_LATE and idle >= self._options.deadline:
            self._in_vain = fault  # nothing was sent for as long: the rest would wait in vain, too


def _with_token(outgoing: Outgoing, token: str) -> Outgoing:
    return outgoing if outgoing.token == token else msgspec.structs.replace(outgoing, token=token)
