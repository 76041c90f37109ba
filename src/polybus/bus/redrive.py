"""Looking at dead letters (here: letters), and putting them back where they came from (contract, D13)."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing

import msgspec

from polybus.binding import Entity, Kind
from polybus.bus.held import HeldDelivery
from polybus.bus.leased_peek import leased_peek
from polybus.bus.operating import OperatedBus
from polybus.bus.publisher import Publisher
from polybus.bus.scan import HOLD, WINDOW, Scan
from polybus.bus.work import Work
from polybus.driver import AdminDriver, Outgoing, Peeked, Stats
from polybus.errors import BackendError, Fault, FaultKind, LeaseLost
from polybus.feature import Feature
from polybus.message import Message

__all__ = ["LONG", "DeadLetters", "peek"]

_log = logging.getLogger("polybus")

PAGE = 100
# Letters that one call may hold for its time: twice as many as a look (`looking.HOLD`), some seconds of SQS's time.
AT_ONCE = 2 * HOLD
# Seconds for a call that takes the longer the more letters there are: an hour, at 300 a second a million of them.
LONG = 3600.0
# So many letters in a row that can't be put back say that it isn't the letters: two windows.
FAILURES = 2 * WINDOW
# As many ids are remembered of what was put back, some 100 bytes each, so that what fails again isn't put back again
# and again. A call that has put back so many ends.
MOST = 1_000_000
Match = Callable[[Message], bool]
Edit = Callable[[Message], Message]

# What a backend says that could not be reached in a whole deadline: the next letter would take as long.
_AWAY = frozenset({FaultKind.DEADLINE, FaultKind.TIMEOUT})


class DeadLetters:
    """The dead letters of one subscription or queue."""

    def __init__(self, bus: OperatedBus, source: Entity) -> None:
        self._bus = bus
        self._source = source
        self._entity = source.dead_letters

    async def stats(self) -> Stats:
        """Return what is known of the letters now, as of messages: those that wait, and how long the oldest does."""
        return await self._bus.call(lambda admin: admin.stats(self._entity))

    def peek(self, count: int = PAGE) -> AsyncIterator[Peeked]:
        """Look at up to `count` letters, oldest first where the cloud keeps an order, without changing anything.

        Where the cloud can only show what it hands over, they are leased for the time of the look; of more than a
        thousand, in any order then, some hundreds are held at a time. Leaving the iteration early ends the look once
        it is closed (`contextlib.aclosing`).
        """
        return peek(self._bus, self._entity, count)

    async def find(self, match: Match, *, enough: int | None = None) -> list[Peeked]:
        """Return the letters that `match` chooses among all there are, up to `enough` of them."""
        found: list[Peeked] = []
        async with aclosing(peek(self._bus, self._entity, sys.maxsize)) as letters:
            async for letter in letters:
                if match(letter.message):
                    found.append(letter)
                    if len(found) == enough:
                        break
        return found

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
        call isn't redriven again. A letter that can't be put back, or can't be removed once it is, stays, and the
        others go on: BackendError is raised at the end, with how many and the first one's reason. Cancelled, it gives
        back what it holds, in the background where that takes longer than a second.
        """
        run = _Redrive(self._bus, self._source, limit=limit, match=match, edit=edit, progress=progress)
        await self._bus.run(run)
        return run.done

    async def purge(self) -> int | None:
        """Delete all letters; return how many, where the cloud tells."""
        return await self._bus.call(lambda admin: admin.purge(self._entity), seconds=LONG)


async def peek(bus: OperatedBus, entity: Entity, count: int) -> AsyncGenerator[Peeked, None]:
    """Yield up to `count` waiting messages of an entity, each once.

    Page by page where that changes nothing for others. Where the backend has to hold what it shows, another call may
    show the same ones in another order: there it is one call for all, and for dead letters that are more than such a
    call may hold, a look that lets go of them as it goes on.
    """
    if Feature.PEEK not in bus.driver.features(entity):
        most = AT_ONCE if entity.kind is Kind.DEAD_LETTERS else count
        found = await bus.call(_peek_page(entity, min(count, most), None), seconds=LONG)
        if len(found) < most or count <= most:
            for peeked in found:
                yield peeked
            return
        async with aclosing(leased_peek(bus, entity, count)) as one_by_one:
            async for peeked in one_by_one:
                yield peeked
        return
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


class _Redrive(Work):
    """Puts letters back; `done` counts them."""

    def __init__(
        self,
        bus: OperatedBus,
        source: Entity,
        *,
        limit: int | None,
        match: Match | None,
        edit: Edit | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        super().__init__(bus, source.dead_letters)
        self._source = source
        self._limit = limit
        self._match = match
        self._edit = edit
        self._progress = progress
        self._moved: dict[str, int] = {}
        self._faults: list[Fault] = []
        self._failed = 0
        self._publisher: Publisher
        self._in_a_row = 0
        self.done = 0

    async def _run(self) -> None:
        self._publisher = await self._bus.open_return(self._source)
        try:
            await super()._run()
        finally:
            await self._publisher.aclose()
        if self._faults:
            raise BackendError(self._summary())

    async def _go_through(self, scan: Scan) -> None:
        while not self.stopping and (most := self._most()) > 0:
            letters = await scan.next(most)
            if not letters:
                return
            await self._put_back(letters, self._publisher, scan)
            if self._in_a_row >= FAILURES:
                return

    def _most(self) -> int:
        left = MOST - len(self._moved)
        if left <= 0:
            _log.warning("%d letters of %r are back; redrive again for the others", self.done, self._source.name)
        return min(WINDOW, left, WINDOW if self._limit is None else self._limit - self.done)

    async def _put_back(self, letters: list[HeldDelivery], publisher: Publisher, scan: Scan) -> None:
        chosen = [letter for letter in letters if self._choose(letter)]
        outgoing = [self._outgoing(letter) for letter in chosen]  # all, before any is back and not yet removed here
        scan.keep([letter for letter in letters if letter not in chosen])
        sent = [publisher.put(each, blocks=False) for each in outgoing]
        outcomes = [(letter, await publisher.outcome(item)) for letter, item in zip(chosen, sent, strict=True)]
        failed = [(letter, outcome) for letter, outcome in outcomes if isinstance(outcome, Fault)]
        back = [letter for letter, outcome in outcomes if not isinstance(outcome, Fault)]
        scan.keep([letter for letter, _ in failed])
        for letter in back:
            self._moved[letter.id] = min(letter.received.moves, self._moved.get(letter.id, sys.maxsize))
        self._count([fault for _, fault in failed] + await self._remove(back), len(back))

    def _count(self, faults: list[Fault], back: int) -> None:
        self._failed += len(faults)
        self._faults += faults[: 1 - len(self._faults)]
        away = not back and any(fault.kind in _AWAY for fault in faults)
        self._in_a_row = FAILURES if away else 0 if back else self._in_a_row + len(faults)
        self.done += back
        if self._progress is not None and back:
            self._progress(self.done)

    async def _remove(self, back: Sequence[HeldDelivery]) -> list[Fault]:
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

    def _choose(self, letter: HeldDelivery) -> bool:
        """Say whether to redrive it: not what came back since, which has moved further than what was put back."""
        if letter.received.moves > self._moved.get(letter.id, sys.maxsize):
            return False
        return self._match is None or self._match(letter.message)

    def _outgoing(self, letter: HeldDelivery) -> Outgoing:
        message = letter.message
        if self._edit is not None:
            message = msgspec.structs.replace(self._edit(message), id=message.id)
        return Outgoing(message, moves=letter.received.moves + 1, token=letter.received.token)

    def _summary(self) -> Fault:
        """Return the first letter's fault; of several, with how many there are."""
        first = self._faults[0]
        if self._failed == 1:
            return first
        more = ", and it was given up" if self._in_a_row >= FAILURES else ""
        detail = (
            f"{self._failed} letters of {self._source.name!r} were not put back or not removed, {self.done} were put "
            f"back{more}; the first: {first.detail}"
        )
        return Fault(first.kind, detail, first.code)
