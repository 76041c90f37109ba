"""Handlers that go on though their deliveries aren't theirs any more: told to the log, and bounded."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from polybus.bus.held import HeldDelivery
from polybus.bus.options import ConsumerOptions
from polybus.bus.outage import AGAIN, lasted
from polybus.clock import Alarm, Clock

__all__ = ["Stragglers"]

_log = logging.getLogger("polybus")

# Seconds that a handler has to end once it was cancelled, or was told that its lease is lost: as at a drain, enough for
# its own clean-up, and for the end of a process that runs it.
AFTER = 2.0
# So many times the concurrency may go on: each holds a task and whatever it has open. As for threads that hang, a
# service whose every call does so must stop taking messages before it is out of memory.
MOST = 4


class _Straggler:
    """A handler that goes on: since when, whether after it settled its message, and until when it keeps its place.

    `replaced`: its place was given to another. `told`: the log has it; `tell_at` is when it is told of next.
    """

    __slots__ = ("replaced", "settled", "since", "tell_at", "told", "until")

    def __init__(self, since: float, until: float, *, settled: bool) -> None:
        self.since = since
        self.until = until
        self.settled = settled
        self.tell_at = since + AGAIN if settled else until
        self.told = False
        self.replaced = False

    @property
    def next_look(self) -> float:
        return self.tell_at if self.replaced else min(self.until, self.tell_at)

    def is_long(self, now: float) -> bool:
        return self.told or self.tell_at <= now


class Stragglers:
    """Watches the handlers of one consumer; for one event loop.

    A task that swallows its cancellation can't be ended. It is left to itself: `replace` is called, so that another
    worker takes its place. One that has settled its delivery by itself is at work for as long as any may be, its
    max_lease; it is told of meanwhile, and then left to itself as well: cancelled it would not be done again. While too
    many go on, or all places are taken by such, `pause` is told why nothing more is taken, and None once it may be.
    """

    def __init__(
        self,
        source: str,
        handler: str,
        *,
        clock: Clock,
        options: ConsumerOptions,
        replace: Callable[[], None],
        pause: Callable[[str | None], None],
    ) -> None:
        self._source = source
        self._handler = handler
        self._clock = clock
        self._max_lease = options.max_lease
        self._places = options.concurrency
        self._most = MOST * options.concurrency
        self._replace = replace
        self._pause = pause
        self._paused: str | None = None
        self._watched: dict[HeldDelivery, _Straggler] = {}
        self._alarm = Alarm(clock, self._look)

    def resize(self, concurrency: int) -> None:
        """Count with so many places from now on."""
        self._places = concurrency
        self._most = MOST * concurrency
        self._pause_or_not()

    def lost(self, delivery: HeldDelivery) -> None:
        """Note that a handler was told that its lease is lost."""
        straggler = self._watched.get(delivery)
        if straggler is None or (straggler.settled and not straggler.replaced):
            now = self._clock.monotonic()
            self._watch(delivery, _Straggler(now, now + AFTER, settled=False))

    def settled(self, delivery: HeldDelivery) -> None:
        """Note that a handler settles its delivery by itself."""
        if delivery not in self._watched:
            now = self._clock.monotonic()
            until = max(delivery.received_at + self._max_lease, now + AFTER)
            self._watch(delivery, _Straggler(now, until, settled=True))

    def _watch(self, delivery: HeldDelivery, straggler: _Straggler) -> None:
        self._watched[delivery] = straggler
        self._alarm.set(min(straggler.until, straggler.tell_at))

    def ended(self, delivery: HeldDelivery) -> bool:
        """Note that a handler ended; say whether another has taken its place."""
        if not self._watched:
            return False
        straggler = self._watched.pop(delivery, None)
        if straggler is None:
            return False
        if straggler.told:
            what = "it settled that" if straggler.settled else "the lease was lost"
            after = lasted(self._clock.monotonic() - straggler.since)
            _log.info("a call of %s for %s ended, %s after %s", self._handler, self._name(delivery), after, what)
        if self._paused is not None:
            self._pause_or_not()
        return straggler.replaced

    def close(self) -> None:
        """Look no more."""
        self._alarm.close()

    def _look(self, now: float) -> None:
        for straggler in list(self._watched.values()):
            if straggler.until <= now and not straggler.replaced:
                straggler.replaced = True
                self._replace()
        for settled in (False, True):
            self._tell([d for d, each in self._watched.items() if each.settled is settled and each.is_long(now)], now)
        self._pause_or_not()
        self._alarm.set(min((each.next_look for each in self._watched.values()), default=math.inf))

    def _tell(self, deliveries: Sequence[HeldDelivery], now: float) -> None:
        those = [self._watched[each] for each in deliveries]
        if all(now < straggler.tell_at for straggler in those):
            return
        say = self._say_settled if those[0].settled else self._say_lost
        longest = lasted(now - min(each.since for each in those))
        say(len(those), longest, ", ".join(map(self._name, deliveries[:10])))
        for straggler in those:
            straggler.told = True
            # What is done after a settlement may be rightly long: then it is told the less often.
            straggler.tell_at = now + max(AGAIN, now - straggler.since if straggler.settled else 0.0)

    def _say_lost(self, count: int, longest: str, names: str) -> None:
        _log.warning(
            "%d calls of %s go on though they were told that their leases were lost, the longest since %s; others take "
            "their places, up to %d: have it let its cancellation through: %s",
            count,
            self._handler,
            longest,
            self._most,
            names,
        )

    def _say_settled(self, count: int, longest: str, names: str) -> None:
        _log.warning(
            "%d calls of %s go on after they settled their messages, the longest since %s; each keeps one of %d places "
            "until %s after its message came (max_lease), when another takes its place, up to %d: have it return once "
            "its message is settled, or give what it waits for a timeout: %s",
            count,
            self._handler,
            longest,
            self._places,
            lasted(self._max_lease),
            self._most,
            names,
        )

    def _name(self, delivery: HeldDelivery) -> str:
        return f"message {delivery.id} of {self._source!r}, attempt {delivery.attempt}"

    def _pause_or_not(self) -> None:
        reason = self._reason()
        if reason == self._paused:
            return
        self._paused = reason
        if reason is None:
            _log.info("%s of %r has room again", self._handler, self._source)
        self._pause(reason)

    def _reason(self) -> str | None:
        """Say why nothing more may be taken: too many go on, or whatever is taken waits in vain for a place."""
        replaced = [each for each in self._watched.values() if each.replaced]
        if len(replaced) >= self._most:
            lost = "their leases were lost"
            why = f"their messages were settled, or {lost}" if any(each.settled for each in replaced) else lost
            return f"{len(replaced)} calls go on though {why}"
        stuck = sum(each.settled and each.told and not each.replaced for each in self._watched.values())
        if stuck >= self._places:
            return f"all {stuck} calls at once go on after they settled their messages"
        return None
