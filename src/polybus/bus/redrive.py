"""Looking at dead letters, and putting them back where they came from (contract, D13)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from polybus.binding import Entity
from polybus.bus.delivery import Delivery
from polybus.bus.publisher import Publisher
from polybus.driver import AdminDriver, Outgoing, Peeked
from polybus.errors import BackendError, Fault, LeaseLost
from polybus.message import Message

if TYPE_CHECKING:
    from polybus.bus.bus import Bus

__all__ = ["DeadLetters", "peek"]

_log = logging.getLogger("polybus")

# Letters under way at once: a few batches of the smallest cloud batch (SQS: 10).
WINDOW = 50
# A long poll of this many seconds that brings nothing says that there is nothing: SQS asks all of its servers when a
# receive waits at all, and only a sample of them when it doesn't (SQS developer guide, short and long polling).
LAST_LOOK = 2.0
PAGE = 100

Match = Callable[[Message], bool]
Edit = Callable[[Message], Message]


class DeadLetters:
    """The dead letters of one subscription or queue."""

    def __init__(self, bus: Bus, source: Entity) -> None:
        self._bus = bus
        self.source = source
        self.entity = source.dead_letters

    def peek(self, count: int = PAGE) -> AsyncIterator[Peeked]:
        """Look at up to `count` letters, oldest first where the cloud keeps an order, without changing anything."""
        return peek(self._bus, self.entity, count)

    async def redrive(
        self,
        *,
        limit: int | None = None,
        match: Match | None = None,
        edit: Edit | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Put letters back to their own subscription or queue; return how many.

        `match` chooses among them, `edit` returns what to put back instead (its id stays). A letter is gone from here
        only once it is back there: a crash in between may do it twice, and loses none. What fails again during the
        call isn't redriven again. Raises BackendError with the first letter that can't be put back, or can't be
        removed once it is; it stays.
        """
        run = _Redrive(self._bus, self.source, match=match, edit=edit, progress=progress)
        return await run.run(limit)

    async def purge(self) -> int | None:
        """Delete all letters; return how many, where the cloud tells."""
        return await self._bus.call(lambda admin: admin.purge(self.entity))


async def peek(bus: Bus, entity: Entity, count: int) -> AsyncIterator[Peeked]:
    """Yield up to `count` waiting messages of an entity, page by page."""
    after: str | None = None
    while count > 0:
        page = await bus.call(_peek_page(entity, min(count, PAGE), after))
        for peeked in page:
            yield peeked
        if not page:
            return
        count -= len(page)
        after = page[-1].position


def _peek_page(entity: Entity, count: int, after: str | None) -> Callable[[AdminDriver], Awaitable[Sequence[Peeked]]]:
    return lambda admin: admin.peek(entity, count, after)


class _Redrive:
    def __init__(
        self,
        bus: Bus,
        source: Entity,
        *,
        match: Match | None,
        edit: Edit | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._bus = bus
        self._source = source
        self._entity = source.dead_letters
        self._match = match
        self._edit = edit
        self._progress = progress
        self._seen: set[str] = set()
        self._done = 0

    async def run(self, limit: int | None) -> int:
        publisher = await self._bus.open_return(self._source)
        try:
            return await self._run(limit, publisher)
        finally:
            await publisher.aclose()

    async def _run(self, limit: int | None, publisher: Publisher) -> int:
        receiver = await self._bus.open_receiver(self._entity, window=WINDOW)
        try:
            while limit is None or self._done < limit:
                letters = await receiver.fetch(self._most(limit), self._bus.last_look(self._entity, LAST_LOOK))
                if not letters:
                    break
                await self._put_back(letters, publisher)
        finally:
            await receiver.drain(0)  # gives back what was not put back
        return self._done

    def _most(self, limit: int | None) -> int:
        return WINDOW if limit is None else min(WINDOW, limit - self._done)

    async def _put_back(self, letters: list[Delivery], publisher: Publisher) -> None:
        chosen = [letter for letter in letters if self._choose(letter)]
        outgoing = [self._outgoing(letter) for letter in chosen]  # all, before any is back and not yet removed here
        sent = [
            (letter, publisher.put(each, blocks=False).future) for letter, each in zip(chosen, outgoing, strict=True)
        ]
        outcomes = [(letter, await future) for letter, future in sent]
        faults = [outcome for _, outcome in outcomes if isinstance(outcome, Fault)]
        back = [letter for letter, outcome in outcomes if not isinstance(outcome, Fault)]
        faults += await self._remove(back)
        self._done += len(back)
        if self._progress is not None and back:
            self._progress(self._done)
        if faults:
            raise BackendError(faults[0])

    async def _remove(self, back: Sequence[Delivery]) -> list[Fault]:
        """Remove what was put back; return what the backend refused. A lease that ended meanwhile is only said."""
        faults: list[Fault] = []
        for result in await asyncio.gather(*(letter.ack() for letter in back), return_exceptions=True):
            if isinstance(result, LeaseLost):
                _log.warning(
                    "a letter of %r was put back and is still among the dead letters: %s", self._source.name, result
                )
            elif isinstance(result, BackendError):
                faults.append(result.fault)
            elif result is not None:
                raise result
        return faults

    def _choose(self, letter: Delivery) -> bool:
        """Say whether to redrive it; what isn't stays leased until the end, or it would come again and again."""
        message = letter.message
        if message.id in self._seen or (self._match is not None and not self._match(message)):
            return False
        self._seen.add(message.id)
        return True

    def _outgoing(self, letter: Delivery) -> Outgoing:
        message = letter.message
        if self._edit is not None:
            message = msgspec.structs.replace(self._edit(message), id=message.id)
        return Outgoing(message, moves=letter.received.moves + 1, token=letter.received.token)
