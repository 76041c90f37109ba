"""Keeping leases alive, and noticing and saying when one is lost: never in silence (contract, D2)."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from polybus.bus.calls import Calls, wrong_answers
from polybus.bus.held import HELD, HeldDelivery
from polybus.bus.outage import AGAIN, lasted
from polybus.clock import Alarm, Clock, Timer
from polybus.driver import ConsumerDriver, LeaseUntil
from polybus.errors import Fault, FaultKind

__all__ = ["LeaseKeeper", "Losses"]

_log = logging.getLogger("polybus")


class Losses:
    """Logs the lost leases of one source."""

    def __init__(self, source: str, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._arrived = 0
        self._said = float("-inf")

    def lost(self, delivery: HeldDelivery, why: str) -> None:
        """Log one that was lost after it was held."""
        _log.warning(
            "the lease of message %s of %r, attempt %d, was lost after %s: %s; the message comes again",
            delivery.id,
            self._source,
            delivery.attempt,
            lasted(self._clock.monotonic() - delivery.received_at),
            why,
            extra={"source": self._source, "message_id": delivery.id},
        )

    def over_on_arrival(self, count: int, late: float) -> None:
        """Log messages whose lease was over when they came: the first time, and then their number once a minute."""
        self._arrived += count
        now = self._clock.monotonic()
        if now - self._said < AGAIN:
            return
        _log.warning(
            "%d messages of %r came with their lease already over (by %s); none was handled, and they come again: "
            "the event loop or the process stood still, or this machine's clock is ahead of the backend's",
            self._arrived,
            self._source,
            lasted(late),
        )
        self._said, self._arrived = now, 0


# A lease is extended when half of it is over: one whole failed call and its retry still fit into the other half.
# A failed extension is tried again after this part of what is left, so that several tries fit before the end.
RETRY_PART = 0.25
# But not sooner than after this part of a lease: near the end the tries would come without a pause.
RETRY_FLOOR = 0.02
# What isn't extended any more, since its max_lease is over, is told of when this part of a lease is left: time to give
# it back, and later than half, so that it isn't just on its way back when those that began with it lose their leases.
SPENT_PART = 0.25
# Leases due within this part of the lease from now are extended by the same call.
TOGETHER_PART = 0.1
# An extension that isn't answered within this part of what is left of its leases is given up for another try: a call
# that hangs must not be the only one.
ANSWER_PART = 0.5


class _Call:
    """An extension that is under way."""

    __slots__ = ("deliveries", "number", "task", "timer")

    def __init__(self, deliveries: Sequence[HeldDelivery], number: int) -> None:
        self.deliveries = deliveries
        self.number = number
        self.task: asyncio.Task[None] | None = None
        self.timer: Timer | None = None


class LeaseKeeper:
    """Extends the lease of every delivery in `held` until it is taken out of there, or is being settled.

    It looks at all of `held` each time it wakes: that is at most a few times per lease, and `held` is the prefetch
    window and what is held back beside it, 1,000 at most; a heap would have to be kept for each message instead.
    `on_lost` gets a delivery and why it is lost, `on_spent` one whose lease isn't extended any more.
    """

    def __init__(
        self,
        consumer: ConsumerDriver[Any],
        held: dict[HeldDelivery, None],
        *,
        clock: Clock,
        lease: float,
        max_lease: float,
        calls: Calls,
        on_lost: Callable[[HeldDelivery, str], None],
        on_extended: Callable[[int], None],
        on_spent: Callable[[HeldDelivery], None],
    ) -> None:
        self._consumer = consumer
        self._held = held
        self._clock = clock
        self._lease = lease
        self._max_lease = max_lease
        self._driver = calls
        self._on_lost = on_lost
        self._on_extended = on_extended
        self._on_spent = on_spent
        self._alarm = Alarm(clock, self._wake)
        self._calls: set[_Call] = set()
        self._asked = 0
        # Why the latest extension failed; None since one has succeeded.
        self._fault: Fault | None = None

    def added(self, deliveries: Sequence[HeldDelivery]) -> None:
        """Note that these deliveries, at least one, are now in `held`."""
        due = min([delivery.renew_at for delivery in deliveries])
        self._alarm.set(min(due, *[delivery.lease_until for delivery in deliveries]))

    def catch_up(self, now: float) -> None:
        """Do now what has fallen due: one of those that end now may have come again, and is handed out next."""
        if self._alarm.due <= now:
            self._alarm.clear()
            self._wake(now)

    def _wake(self, now: float) -> None:
        for delivery in [delivery for delivery in self._held if delivery.lease_until <= now]:
            self._on_lost(delivery, self._why(delivery, now))
        if any(self._is_due(delivery, now) for delivery in self._held):
            soon = now + self._lease * TOGETHER_PART
            self._extend_all([delivery for delivery in self._held if self._is_due(delivery, soon)], now)
        self._alarm.set(self._next_due(self._held))

    def _why(self, delivery: HeldDelivery, now: float) -> str:
        late = now - delivery.lease_until
        # A timer fires within milliseconds unless the loop stood still.
        if late > max(0.5, self._lease * TOGETHER_PART):
            return f"the event loop or the process stood still until {late:.1f} s after its end"
        if delivery.settling:
            return "the backend did not answer how it was settled; that may have been done"
        if now >= delivery.received_at + self._max_lease:
            return f"max_lease of {self._max_lease:g} s is over"
        return "it could not be extended" + (f"; last: {self._fault}" if self._fault is not None else "")

    @staticmethod
    def _is_due(delivery: HeldDelivery, when: float) -> bool:
        # What is being settled isn't extended: else a drain in an outage would wait for as long as max_lease.
        return delivery.renew_at <= when and not delivery.settling

    @staticmethod
    def _next_due(deliveries: Iterable[HeldDelivery]) -> float:
        return min(
            (held.lease_until if held.settling else min(held.renew_at, held.lease_until) for held in deliveries),
            default=math.inf,
        )

    def _extend_all(self, due: Sequence[HeldDelivery], now: float) -> None:
        # Those whose max_lease is over, and those that get only a part of a lease, are called for by themselves.
        by_seconds: dict[float, list[HeldDelivery]] = {}
        for delivery in due:
            delivery.renew_at = math.inf
            seconds = min(self._lease, delivery.received_at + self._max_lease - now)
            if now + seconds > delivery.lease_until:
                by_seconds.setdefault(seconds, []).append(delivery)
            elif now < (last := delivery.lease_until - self._lease * SPENT_PART):
                delivery.renew_at = last
            else:
                self._on_spent(delivery)
        most = self._consumer.limits.count
        for seconds, deliveries in by_seconds.items():
            for start in range(0, len(deliveries), most):
                self._start(deliveries[start : start + most], seconds)

    def _start(self, deliveries: Sequence[HeldDelivery], seconds: float) -> None:
        self._asked += 1
        for delivery in deliveries:
            delivery.extension = self._asked
        call = _Call(deliveries, self._asked)
        left = max(delivery.lease_until for delivery in deliveries) - self._clock.monotonic()
        patience = max(left * ANSWER_PART, self._lease * RETRY_FLOOR)
        call.timer = self._clock.call_later(patience, lambda: self._overdue(call, patience))
        self._calls.add(call)
        # Last: with a loop's eager tasks (Python 3.12) it may be answered before it is returned.
        call.task = asyncio.get_running_loop().create_task(self._extend(call, seconds))
        call.task.add_done_callback(lambda task: self._ended(call, task))

    async def _extend(self, call: _Call, seconds: float) -> None:
        now = self._clock.monotonic()
        for delivery in call.deliveries:
            if delivery.lease_until <= now:  # the loop stood still since it was found due
                self._on_lost(delivery, self._why(delivery, now))
        call.deliveries = [delivery for delivery in call.deliveries if delivery.lease_until > now]
        if not call.deliveries:
            self._answered(call, [])
            return
        # The answer is taken in the step that brings it, so that nothing comes between.
        try:
            answers: Sequence[LeaseUntil | Fault] | Fault = await self._ask(call.deliveries, seconds)
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            answers = self._driver.fault(error)
        self._answered(call, answers)

    def _overdue(self, call: _Call, seconds: float) -> None:
        """Wait for a call no longer; it may swallow its cancellation, and is left to itself."""
        if call.task is not None:
            call.task.cancel()
        self._answered(call, Fault(FaultKind.TIMEOUT, f"no answer within {seconds:.1f} s"))

    def _ended(self, call: _Call, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            why = "extending leases was cut off, though nobody here did it; a bug of this backend"
            self._answered(call, Fault(FaultKind.INTERNAL, why))
        elif (error := task.exception()) is not None:
            _log.error("extending leases of %r has a bug", call.deliveries[0].source, exc_info=error)
            self._answered(call, Fault(FaultKind.INTERNAL, repr(error)))

    def _answered(self, call: _Call, answers: Sequence[LeaseUntil | Fault] | Fault) -> None:
        if call not in self._calls:
            return
        self._calls.discard(call)
        if call.timer is not None:
            call.timer.cancel()
        deliveries = call.deliveries
        if isinstance(answers, Fault):
            answers = [answers] * len(deliveries)
        elif (wrong := wrong_answers(answers, len(deliveries), LeaseUntil | Fault)) is not None:
            what = f"the driver gave {wrong} for {len(deliveries)} leases; a bug of this backend"
            _log.error("leases of %r can't be extended: %s", deliveries[0].source, what)
            answers = [Fault(FaultKind.INTERNAL, what)] * len(deliveries)
        extended = sum(
            self._conclude(delivery, answer, call.number) for delivery, answer in zip(deliveries, answers, strict=True)
        )
        if extended:
            self._fault = None
            self._on_extended(extended)
        self._alarm.set(self._next_due(self._held))

    async def _ask(self, deliveries: Sequence[HeldDelivery], seconds: float) -> Sequence[LeaseUntil | Fault]:
        return await self._consumer.extend_batch([delivery.received for delivery in deliveries], seconds)

    def _later(self, delivery: HeldDelivery, now: float) -> None:
        delivery.renew_at = now + max((delivery.lease_until - now) * RETRY_PART, self._lease * RETRY_FLOOR)

    def _conclude(self, delivery: HeldDelivery, answer: LeaseUntil | Fault, asked: int) -> bool:
        if delivery not in self._held:
            # Its retry may have fallen due meanwhile: a new delivery, of the same lease.
            retried = next((held for held in self._held if held.received is delivery.received), None)
            if retried is None:
                return False
            delivery = retried
        if isinstance(answer, Fault):
            self._fault = answer
        now = self._clock.monotonic()
        if delivery.lease_until <= now:
            self._on_lost(delivery, self._why(delivery, now))  # by then it may have been someone else's
            return False
        if isinstance(answer, LeaseUntil):
            return self._extended(delivery, answer.at, asked, now)
        if answer.kind is FaultKind.LEASE_LOST:
            # What is settled has no lease to extend any more: the settlement under way says itself how it went.
            if not delivery.settling:
                self._on_lost(delivery, answer.detail)
        elif answer.retryable:
            self._later(delivery, now)
        elif delivery.state is HELD:
            _log.warning(
                "lease of message %s of %r can't be extended: %s",
                delivery.id,
                delivery.source,
                answer,
                extra={"source": delivery.source, "message_id": delivery.id},
            )
        return False

    def _extended(self, delivery: HeldDelivery, until: float, asked: int, now: float) -> bool:
        if asked < delivery.extension:
            until = max(until, delivery.lease_until)  # a later one was asked for; its answer says how it is
        if until <= now:
            self._on_lost(delivery, "its extension was over when the answer came")
            return False
        if delivery.settling:
            until = min(until, delivery.lease_until)
        delivery.lease_until = until
        delivery.renew_at = now + (until - now) / 2
        return True

    def close(self) -> None:
        """Stop extending."""
        self._alarm.close()
        calls, self._calls = self._calls, set()
        for call in calls:
            if call.timer is not None:
                call.timer.cancel()
            if call.task is not None:
                call.task.cancel()
