"""Going through dead letters: each once, a bounded number held, and a sure end.

Here, and where it is used, a letter is a dead letter: the delivery of one, or its message.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polybus.binding import Entity
from polybus.bus.held import HeldDelivery
from polybus.bus.operating import OperatedBus
from polybus.errors import BackendError, LeaseLost, PolybusError
from polybus.feature import Feature

if TYPE_CHECKING:
    from polybus.bus.receiver import Receiver

__all__ = ["WINDOW", "Scan"]

_log = logging.getLogger("polybus")

# Letters under way at once: a few batches of the smallest cloud batch (SQS: 10).
WINDOW = 50
# Letters that were looked at and are not wanted, held so that they don't come again: ten windows. Then they are put
# off, where the backend can hide them for a while without anyone who holds them (Feature.NACK_DELAY).
HOLD = 10 * WINDOW
# Where it can't, what is given back may come again at once and for ever: then so many are held. Both end at the bytes
# that a publisher may hold by default as well.
HOLD_ALL = 8_000
HOLD_BYTES = 64 * 1024 * 1024
# Put off for as long as the look has taken so far, so that it gets further than what comes back meanwhile, and for as
# much again each time that there was nothing else: a cloud that hands over the oldest first shows all of those before
# anything new. At least this long (some round trips), at most what a nack may ask for (contract, D4).
PUT_OFF = 1.0
PUT_OFF_MOST = 600.0
# What was seen is remembered by its token, to be known when it comes again: some 100 bytes each.
REMEMBERED = 1_000_000

# How long a receive waits, in seconds, before its emptiness means anything, and how many empty ones mean that there is
# nothing. Where the backend counts what waits (Feature.COUNTS: SQS, Service Bus) one of 2 s does if the count agrees:
# SQS asks all of its servers when a receive waits at all (developer guide, short and long polling). Google has none,
# and "may return fewer than maxMessages even if there are more" (PullResponse), or nothing: its first answer on a quiet
# subscription takes seconds, so the first look is the longest that drivers grant.
COUNTED = 2.0
FIRST = 20.0
LATER = 5.0
EMPTY = 2
# A count lags behind what was deleted just now (SQS: about a minute); it isn't waited for longer than this many looks.
EMPTY_COUNTED = 4
# So many times everything that is held may be let go without anything new among it; where that is put off, as many
# times more as it takes to put off all that was seen, twice.
PASSES = 2


class Scan:
    """Receives letters until there are none that it has not seen; `receiver` isn't started, and has no window."""

    def __init__(self, bus: OperatedBus, receiver: Receiver, entity: Entity) -> None:
        self._bus = bus
        self._receiver = receiver
        self._entity = entity
        self._features = bus.driver.features(entity)
        self._began = bus.clock.monotonic()
        self._back_at = self._began
        self._held: list[HeldDelivery] = []
        self._bytes = 0
        self._seen: dict[str, None] = {}
        self._new = 0
        self._in_vain = 0
        self._empties = 0
        self._came = False
        self._stopped = False
        self._fetching: asyncio.Task[list[HeldDelivery]] | None = None

    async def next(self, most: int) -> list[HeldDelivery]:
        """Return up to `most` letters that it has not seen before, or none once there are no more.

        They are the caller's to settle, or to `keep`. Raises BackendError where receiving fails.
        """
        while not self._is_full() or await self._let_go():
            letters = await self._fetch(min(most, WINDOW))
            if self._stopped:
                break
            if not letters:
                if await self._is_over():
                    break
                continue
            self._came, self._empties = True, 0
            new = [letter for letter in letters if self._is_new(letter)]
            self._new += len(new)
            if new:
                return new
        return []

    def stop(self) -> None:
        """Wait for nothing more: what a receive under way still brings is given back by the receiver's drain."""
        self._stopped = True
        if self._fetching is not None:
            self._fetching.cancel()

    async def _fetch(self, most: int) -> list[HeldDelivery]:
        fetching = self._fetching = asyncio.get_running_loop().create_task(self._receiver.fetch(most, self._wait()))
        try:
            await asyncio.wait([fetching])
        finally:
            self._fetching = None
        return [] if fetching.cancelled() else fetching.result()

    def keep(self, letters: Sequence[HeldDelivery]) -> None:
        """Hold letters that are not wanted, or they would come again and again."""
        self._held.extend(letters)
        self._bytes += sum(len(letter.message.body) for letter in letters)

    async def all_back(self) -> None:
        """Return once what was put off can be seen again: nothing is hidden for longer than the look."""
        await self._bus.clock.sleep(self._back_at - self._bus.clock.monotonic())

    def _is_new(self, letter: HeldDelivery) -> bool:
        token = letter.received.token or letter.id
        if token in self._seen:
            self.keep([letter])
            return False
        self._seen[token] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return True

    # Room -------------------------------------------------------------------------------------------------------------

    def _is_full(self) -> bool:
        most = HOLD if Feature.NACK_DELAY in self._features else HOLD_ALL
        return len(self._held) >= most or self._bytes >= HOLD_BYTES

    async def release(self) -> None:
        """Give back all that is held: nothing is hidden while nobody looks."""
        await self._give_back(0.0)

    async def _let_go(self) -> bool:
        """Put off or give back all that is held; say whether there may be more that it has not seen."""
        puts_off = Feature.NACK_DELAY in self._features
        self._in_vain = 0 if self._new else self._in_vain + 1
        self._new = 0
        most = PASSES + (2 * len(self._seen) // HOLD if puts_off else 0)
        if self._in_vain >= most:
            _log.warning(
                "looking at %r ended among %d letters that were seen before; there may be others behind them",
                self._entity.name,
                len(self._held),
            )
            return False
        delay = 0.0
        if puts_off:
            taken = self._bus.clock.monotonic() - self._began
            delay = float(math.ceil(min(max(PUT_OFF, taken * (1 + self._in_vain)), PUT_OFF_MOST)))
        await self._give_back(delay)
        if puts_off:  # the last of them only now: to put them all off takes its time
            self._back_at = max(self._back_at, self._bus.clock.monotonic() + delay)
        return True

    async def _give_back(self, delay: float) -> None:
        letters, self._held, self._bytes = self._held, [], 0
        for result in await asyncio.gather(*(letter.put_off(delay) for letter in letters), return_exceptions=True):
            if isinstance(result, LeaseLost | BackendError):
                _log.info("a letter of %r was not put off, and comes again by itself: %s", self._entity.name, result)
            elif result is not None:
                raise result

    # The end ----------------------------------------------------------------------------------------------------------

    def _wait(self) -> float:
        if Feature.CONSISTENT in self._features:
            return 0.0
        if Feature.COUNTS in self._features:
            return COUNTED
        return LATER if self._came or self._empties else FIRST

    async def _is_over(self) -> bool:
        """Say whether an empty answer means that there is nothing more."""
        self._empties += 1
        if Feature.CONSISTENT in self._features:
            return True
        if Feature.COUNTS not in self._features:
            return self._empties >= EMPTY
        try:
            stats = await self._bus.call(lambda admin: admin.stats(self._entity))
        except PolybusError as error:
            _log.debug("%r can't be counted, and is looked at again instead: %s", self._entity.name, error)
            return self._empties >= EMPTY
        return not stats.waiting or self._empties >= EMPTY_COUNTED
