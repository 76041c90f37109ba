"""Handlers that go on though their deliveries aren't theirs any more: told to the log, and bounded."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from polybus.bus.delivery import Delivery
from polybus.bus.options import ConsumerOptions
from polybus.bus.outage import AGAIN, lasted
from polybus.clock import Alarm, Clock

__all__ = ["Lingering"]

_log = logging.getLogger("polybus")

# Seconds that a handler has to end once it was cancelled, or was told that its lease is lost: as at a drain, enough for
# its own clean-up, and for the end of a process that runs it.
AFTER = 2.0
# So many times the concurrency may go on: each holds a task and whatever it has open. As for threads that hang, a
# service whose every call does so must stop taking messages before it is out of memory.
MOST = 4


class _Stay:
    """One that goes on: since when, whether after its own settlement, and until when nobody takes its place."""

    __slots__ = ("settled", "since", "tell_at", "told", "until")

    def __init__(self, since: float, until: float, *, settled: bool) -> None:
        self.since = since
        self.until = until
        self.settled = settled
        self.tell_at = since + AGAIN if settled else until
        self.told = False


class Lingering:
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
        self._stays: dict[Delivery, _Stay] = {}
        self._given_up: dict[Delivery, _Stay] = {}
        self._alarm = Alarm(clock, self._look)

    def lost(self, delivery: Delivery) -> None:
        """Note that a handler was told that its lease is lost."""
        stay = self._stays.get(delivery)
        if stay is None or (stay.settled and delivery not in self._given_up):
            now = self._clock.monotonic()
            self._watch(delivery, _Stay(now, now + AFTER, settled=False))

    def settled(self, delivery: Delivery) -> None:
        """Note that a handler settles its delivery by itself."""
        if delivery not in self._stays:
            now = self._clock.monotonic()
            until = max(delivery.received_at + self._max_lease, now + AFTER)
            self._watch(delivery, _Stay(now, until, settled=True))

    def _watch(self, delivery: Delivery, stay: _Stay) -> None:
        self._stays[delivery] = stay
        self._alarm.set(min(stay.until, stay.tell_at))

    def ended(self, delivery: Delivery) -> bool:
        """Note that a handler ended; say whether another has taken its place."""
        if not self._stays:
            return False
        stay = self._stays.pop(delivery, None)
        if stay is None:
            return False
        replaced = self._given_up.pop(delivery, None) is not None
        if stay.told:
            what = "it settled that" if stay.settled else "the lease was lost"
            after = lasted(self._clock.monotonic() - stay.since)
            _log.info("a call of %s for %s ended, %s after %s", self._handler, self._name(delivery), after, what)
        if self._paused is not None:
            self._pause_or_not()
        return replaced

    def close(self) -> None:
        """Look no more."""
        self._alarm.close()

    def _look(self, now: float) -> None:
        for delivery, stay in [each for each in self._stays.items() if each[1].until <= now]:
            if delivery not in self._given_up:
                self._given_up[delivery] = stay
                self._replace()
        for settled in (False, True):
            self._tell(
                [each for each, stay in self._stays.items() if stay.settled is settled and self._is_long(stay, now)],
                now,
            )
        self._pause_or_not()
        next_ends = [stay.until for each, stay in self._stays.items() if each not in self._given_up]
        self._alarm.set(min([*next_ends, *(stay.tell_at for stay in self._stays.values())], default=math.inf))

    @staticmethod
    def _is_long(stay: _Stay, now: float) -> bool:
        return stay.told or stay.tell_at <= now

    def _tell(self, those: Sequence[Delivery], now: float) -> None:
        stays = [self._stays[each] for each in those]
        if all(now < stay.tell_at for stay in stays):
            return
        say = self._say_settled if stays[0].settled else self._say_lost
        say(len(those), lasted(now - min(stay.since for stay in stays)), ", ".join(map(self._name, those[:10])))
        for stay in stays:
            stay.told = True
            # What is done after a settlement may be rightly long: then it is told the less often.
            stay.tell_at = now + max(AGAIN, now - stay.since if stay.settled else 0.0)

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

    def _name(self, delivery: Delivery) -> str:
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
        given_up = len(self._given_up)
        if given_up >= self._most:
            lost = "their leases were lost"
            why = f"their messages were settled, or {lost}" if any(s.settled for s in self._given_up.values()) else lost
            return f"{given_up} calls go on though {why}"
        stuck = sum(stay.settled and stay.told for each, stay in self._stays.items() if each not in self._given_up)
        if stuck >= self._places:
            return f"all {stuck} calls at once go on after they settled their messages"
        return None
