"""Keeping leases alive, and noticing when one is lost (contract, D2)."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from polybus.bus.delivery import Delivery, State
from polybus.clock import Clock, Timer
from polybus.driver import ConsumerDriver, LeaseUntil
from polybus.errors import Fault, FaultKind

__all__ = ["LeaseKeeper"]

_log = logging.getLogger("polybus")

# A lease is extended when half of it is over: one whole failed call and its retry still fit into the other half.
# A failed extension is tried again after this part of what is left, so that several tries fit before the end.
RETRY_PART = 0.25
# But not sooner than after this part of a lease: near the end the tries would come without a pause.
RETRY_FLOOR = 0.02
# Leases due within this part of the lease from now are extended by the same call.
TOGETHER_PART = 0.1


class LeaseKeeper:
    """Extends the lease of every delivery in `held` until it is taken out of there.

    It looks at all of `held` each time it wakes: that is at most a few times per lease, and `held` is the prefetch
    window and what is held back beside it, 1,000 at most; a heap would have to be kept for each message instead.
    """

    def __init__(
        self,
        consumer: ConsumerDriver[Any],
        held: dict[Delivery, None],
        *,
        clock: Clock,
        lease: float,
        max_lease: float,
        fault: Callable[[Exception], Fault],
        on_lost: Callable[[Delivery], None],
        on_extended: Callable[[int], None],
    ) -> None:
        self._consumer = consumer
        self._held = held
        self._clock = clock
        self._lease = lease
        self._max_lease = max_lease
        self._fault = fault
        self._on_lost = on_lost
        self._on_extended = on_extended
        self._timer: Timer | None = None
        self._due = math.inf
        self._calls: set[asyncio.Task[None]] = set()

    def added(self, delivery: Delivery) -> None:
        """Note that `delivery` is now in `held`."""
        self._arm(min(delivery.renew_at, delivery.lease_until))

    def _arm(self, due: float) -> None:
        if due >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._clock.call_later(max(due - self._clock.monotonic(), 0.0), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._due = math.inf
        now = self._clock.monotonic()
        for delivery in [delivery for delivery in self._held if delivery.lease_until <= now]:
            self._on_lost(delivery)
        if any(delivery.renew_at <= now for delivery in self._held):
            soon = now + self._lease * TOGETHER_PART
            due = [delivery for delivery in self._held if delivery.renew_at <= soon]
            self._extend_all(due, now)
        self._arm(self._next_due(self._held))

    @staticmethod
    def _next_due(deliveries: Iterable[Delivery]) -> float:
        return min((min(held.renew_at, held.lease_until) for held in deliveries), default=math.inf)

    def _extend_all(self, due: Sequence[Delivery], now: float) -> None:
        # Those whose max_lease is over, and those that get only a part of a lease, are called for by themselves.
        by_seconds: dict[float, list[Delivery]] = {}
        for delivery in due:
            delivery.renew_at = math.inf
            seconds = min(self._lease, delivery.received_at + self._max_lease - now)
            if now + seconds > delivery.lease_until:
                by_seconds.setdefault(seconds, []).append(delivery)
        most = self._consumer.limits.count
        for seconds, deliveries in by_seconds.items():
            for start in range(0, len(deliveries), most):
                chunk = deliveries[start : start + most]
                task = asyncio.get_running_loop().create_task(self._extend(chunk, seconds))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)

    async def _extend(self, deliveries: Sequence[Delivery], seconds: float) -> None:
        try:
            answers = await self._consumer.extend_batch([delivery.received for delivery in deliveries], seconds)
        except Exception as error:  # noqa: BLE001 - whatever an SDK raises is named by its driver
            answers = [self._fault(error)] * len(deliveries)
        extended = sum(self._conclude(delivery, answer) for delivery, answer in zip(deliveries, answers, strict=True))
        if extended:
            self._on_extended(extended)
        self._arm(self._next_due(delivery for delivery in deliveries if delivery in self._held))

    def _conclude(self, delivery: Delivery, answer: LeaseUntil | Fault) -> bool:
        if delivery not in self._held:
            # Its retry may have fallen due meanwhile: a new delivery, of the same lease.
            heir = next((held for held in self._held if held.received is delivery.received), None)
            if heir is None:
                return False
            delivery = heir
        now = self._clock.monotonic()
        if isinstance(answer, LeaseUntil):
            delivery.lease_until = answer.at
            delivery.renew_at = now + (answer.at - now) / 2
            return True
        if answer.kind is FaultKind.LEASE_LOST:
            self._on_lost(delivery)
        elif answer.retryable:
            delivery.renew_at = now + max((delivery.lease_until - now) * RETRY_PART, self._lease * RETRY_FLOOR)
        elif delivery.state is State.HELD:
            _log.warning("lease of message %s of %r can't be extended: %s", delivery.id, delivery.source, answer)
        return False

    def close(self) -> None:
        """Stop extending."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for call in self._calls:
            call.cancel()
