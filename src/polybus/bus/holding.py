"""Holding deliveries: each with its lease and in its order, from its receipt until it is settled or lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from polybus.binding import Entity
from polybus.bus.calls import Calls
from polybus.bus.held import HELD, LOST, SETTLED, HeldDelivery
from polybus.bus.intake import Intake
from polybus.bus.lease import LeaseKeeper, Losses
from polybus.bus.loop_guard import LoopGuard
from polybus.bus.options import ConsumerOptions, Pace
from polybus.bus.order import Groups
from polybus.bus.report import Reporter
from polybus.bus.retry import backoff
from polybus.bus.settle import Settler
from polybus.clock import Clock
from polybus.driver import ConsumerDriver, Nack, Received, Settlement
from polybus.errors import Fault, FaultKind, LeaseLost
from polybus.feature import Feature

__all__ = ["Holding"]

_log = logging.getLogger("polybus")

NOT_IN_TIME = "its lease ended before it was settled"


class Holding:
    """What one source's receiver holds, and the owner of each such delivery; for one event loop.

    `offer` gets each delivery that a handler may have now. `room_freed` is set when there may be room for more.
    """

    def __init__(
        self,
        consumer: ConsumerDriver[Any],
        source: Entity,
        features: Feature,
        *,
        loop_guard: LoopGuard,
        clock: Clock,
        options: ConsumerOptions,
        calls: Calls,
        intake: Intake,
        pace: Pace,
        room_freed: asyncio.Event,
        report: Reporter | None,
        offer: Callable[[HeldDelivery], None],
        on_spent: Callable[[HeldDelivery], None],
    ) -> None:
        self.source = source
        self._consumer = consumer
        self._loop_guard = loop_guard
        self._clock = clock
        self._intake = intake
        self._pace = pace
        self._room_freed = room_freed
        self._report = report
        self.processing = None if report is None else report.processing
        """Returns the context that hooks want around the handler of a delivery; None where there are no hooks."""
        self._offer = offer
        self._losses = Losses(source.name, clock)
        self._nack_delay = Feature.NACK_DELAY in features
        self._group_lease = Feature.GROUP_LEASE in features
        self.held: dict[HeldDelivery, None] = {}
        """What isn't settled or lost yet: with a handler, waiting for one, or for its retry; leases are extended."""
        self._retrying = 0
        # Settled or lost, while their handlers go on: a drain waits for these, too.
        self._outlasting: set[HeldDelivery] = set()
        self.groups = Groups()
        self._empty = asyncio.Event()
        self._empty.set()
        self.handler = "the handler"
        """What handles the deliveries, for the log."""
        self.on_taken: Callable[[], None] = lambda: None
        """Called when a drain has taken deliveries from handlers that don't end."""
        self.on_lost: Callable[[HeldDelivery], None] = lambda delivery: None
        """Called when a delivery was lost that a handler has."""
        self.on_settling: Callable[[HeldDelivery], None] = lambda delivery: None
        """Called when a handler settles its delivery by itself."""
        self.keeper = LeaseKeeper(
            consumer,
            self.held,
            clock=clock,
            lease=source.lease,
            max_lease=options.max_lease,
            calls=calls,
            on_lost=self.lose,
            on_extended=self._extended,
            on_spent=on_spent,
        )
        self.settler = Settler(
            consumer, source.name, clock=clock, retry=options.retry, calls=calls, on_done=self._settled
        )

    @property
    def blocked(self) -> int:
        """How many can't be handled yet: they wait for their retry, or behind others of their group."""
        return self._retrying + self.groups.waiting

    @property
    def unbegun(self) -> int:
        """How many no handler has begun with, and that aren't on their way back."""
        return sum(not delivery.begun and delivery.state is HELD for delivery in self.held)

    # From the backend ------------------------------------------------------------------------------------------------

    def hold(self, batch: Sequence[Received[Any]]) -> list[HeldDelivery]:
        """Hold what came, and return it, but for what came too late."""
        return self._hold(self._in_time(batch))

    def _in_time(self, batch: Sequence[Received[Any]]) -> Sequence[Received[Any]]:
        """Return those whose lease isn't over, and that don't follow one of their group whose lease is."""
        now = self._clock.monotonic()
        self.keeper.catch_up(now)
        for received in batch:
            if received.lease_until <= now:
                return self._sorted_out(batch, now)
        return batch

    def _sorted_out(self, batch: Sequence[Received[Any]], now: float) -> Sequence[Received[Any]]:
        over: list[Received[Any]] = []
        groups: set[str] = set()
        good: list[Received[Any]] = []
        for received in batch:
            if received.lease_until <= now:
                over.append(received)
                if received.group is not None:
                    groups.add(received.group)
            elif received.group in groups:
                self.give_back(*self._hold([received]))
            else:
                good.append(received)
        self._losses.over_on_arrival(len(over), now - min(received.lease_until for received in over))
        for received in over:
            self._tell_lost(received)
        if self._report is not None:
            for received in over:
                self._report.lost(HeldDelivery(self, received, now))
        return good

    def _hold(self, batch: Sequence[Received[Any]]) -> list[HeldDelivery]:
        now = self._clock.monotonic()
        deliveries = [HeldDelivery(self, received, now) for received in batch]
        if deliveries:
            self.held.update(dict.fromkeys(deliveries))
            self._empty.clear()
            self.keeper.added(deliveries)
            if self._report is not None:
                self._report.in_flight(len(deliveries))
        return deliveries

    # With its handler ------------------------------------------------------------------------------------------------

    def begun(self, delivery: HeldDelivery) -> None:
        """Note that a handler has it: a drain waits for the handler, even for what it does after its own ack."""
        delivery.handled_since = self._clock.monotonic() if self._pace.adapts else 0.0

    def ended(self, delivery: HeldDelivery) -> None:
        """Note that its handler is done."""
        since, delivery.handled_since = delivery.handled_since, None
        if since is not None and self._pace.adapts:
            self._pace.took(self._clock.monotonic() - since)
            self._room_freed.set()
        if self._outlasting:
            self._outlasting.discard(delivery)
        if not self.held and not self._outlasting:
            self._empty.set()

    # Settling --------------------------------------------------------------------------------------------------------

    def check_lease(self, delivery: HeldDelivery) -> None:
        """Raise LeaseLost where the lease is over by our own clock, before anything is sent (contract, D2)."""
        self._loop_guard.check()
        self._check_lease(delivery)

    def _check_lease(self, delivery: HeldDelivery) -> None:
        if delivery.state is HELD and self._clock.monotonic() >= delivery.lease_until:
            self.lose(delivery, NOT_IN_TIME)
        if delivery.state is LOST:
            raise LeaseLost(delivery.lost_text())

    async def settle(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None:
        """Tell the backend; returns once it knows."""
        if delivery.running:
            self.on_settling(delivery)
        await self.settler.settle(delivery, settlement)

    def settle_soon(self, delivery: HeldDelivery, settlement: Settlement[Any]) -> None:
        """Tell the backend without waiting; a lost lease or a fault is logged and counted."""
        self._check_lease(delivery)
        delivery.state = SETTLED
        self.settler.soon(delivery, settlement)

    def retry_delay(self, attempt: int) -> float:
        """Return the source's own wait, in seconds, after a failed attempt."""
        return backoff(self.source.backoff.initial, min(self.source.backoff.maximum, 600.0), attempt)

    async def retry(self, delivery: HeldDelivery, delay: float) -> None:
        """See to it that a failed delivery comes again after `delay` seconds (contract, D4 and D10)."""
        if delivery.running:
            self.on_settling(delivery)
        nack = self._retry(delivery, delay)
        if nack is not None:
            await self.settler.settle(delivery, nack)

    def retry_soon(self, delivery: HeldDelivery, delay: float) -> None:
        """See to it likewise, without waiting for the backend."""
        nack = self._retry(delivery, delay)
        if nack is not None:
            self.settler.soon(delivery, nack)

    def _retry(self, delivery: HeldDelivery, delay: float) -> Nack[Any] | None:
        """Return what gives a failed delivery back, or None where it waits here for its retry."""
        nack = delivery.returned(delivery.attempt)
        if self._intake.stopping:
            return nack
        if delivery.group is None and (self._nack_delay or delay <= 0):
            return Nack(nack.received, delay, nack.attempts)
        if self._report is not None:
            self._report.held_back(delivery)
        delivery.reported = True
        delivery.retry = self._clock.call_later(delay, lambda: self._due(delivery))
        self._retrying += 1
        self._room_freed.set()
        return None

    def _end_retry(self, delivery: HeldDelivery) -> bool:
        """Note that a delivery waits for its retry no longer; say whether it did."""
        if delivery.retry is None:
            return False
        delivery.retry.cancel()
        delivery.retry = None
        self._retrying -= 1
        return True

    def _due(self, delivery: HeldDelivery) -> None:
        self._end_retry(delivery)
        if delivery.group is None:
            self.settler.soon(delivery, delivery.returned(delivery.attempt))
            return
        again = HeldDelivery(self, delivery.received, delivery.received_at, delivery.retries + 1)
        # An extension that is under way may fail: the new one asks for its own.
        halfway = (self._clock.monotonic() + delivery.lease_until) / 2
        again.lease_until, again.renew_at = delivery.lease_until, min(delivery.renew_at, halfway)
        again.extension = delivery.extension
        self.groups.replace(delivery, again)
        self._forget(delivery)
        self.held[again] = None
        self.keeper.added([again])
        self._offer(again)

    def _settled(self, delivery: HeldDelivery, settlement: Settlement[Any], fault: Fault | None) -> None:
        if delivery not in self.held:
            return
        if fault is None:
            if self._report is not None and not delivery.reported:  # what waited for a retry was reported then
                self._report.settled(delivery, settlement)
            self._release(delivery, in_order=not isinstance(settlement, Nack))
            return
        delivery.state = LOST
        self._tell_lost(delivery.received)
        if fault.kind is FaultKind.LEASE_LOST:
            self._losses.lost(delivery, fault.detail)
        else:
            _log.error(
                "message %s of %r, attempt %d, was not settled: %s",
                delivery.id,
                self.source.name,
                delivery.attempt,
                fault,
                extra={"source": self.source.name, "message_id": delivery.id},
            )
        if self._report is not None:
            self._report.failed(delivery, settlement, fault)
        if delivery.running:  # its handler is told by what it called
            self.on_lost(delivery)
        self._release(delivery, in_order=False)

    def _release(self, delivery: HeldDelivery, *, in_order: bool) -> None:
        """Hold a delivery no longer; let the next of its group pass, or give the group's others back."""
        self._forget(delivery)
        if self._report is not None:
            self._report.in_flight(-1)
        if delivery.group is not None:
            if in_order and not self._intake.stopping:
                following = self.groups.advance(delivery)
                if following is not None:
                    self._offer(following)
            else:
                for later in self.groups.close(delivery):
                    self.give_back(later)
        self._room_freed.set()
        if not self.held and not self._outlasting:
            self._empty.set()

    def _forget(self, delivery: HeldDelivery) -> None:
        del self.held[delivery]
        if delivery.handled_since is not None:
            self._outlasting.add(delivery)

    def give_back_all(self, batch: Sequence[Received[Any]]) -> None:
        """Let others have at once what came and isn't wanted."""
        for delivery in self.hold(batch):
            self.give_back(delivery)

    def give_back(self, delivery: HeldDelivery) -> None:
        """Let others have it at once, unless it was settled or lost."""
        if delivery.state is not HELD:
            return
        if self._clock.monotonic() >= delivery.lease_until:
            self.lose(delivery, "it was over before the message was given back")
            return
        delivery.state = SETTLED
        self.settler.soon(delivery, delivery.returned())

    # Leases ----------------------------------------------------------------------------------------------------------

    def lose(self, delivery: HeldDelivery, why: str) -> None:
        """Note, and tell everyone, that a lease is over."""
        if delivery not in self.held:
            return
        delivery.state = LOST
        self._end_retry(delivery)
        self._tell_lost(delivery.received)
        self._losses.lost(delivery, why)
        if self._report is not None:
            self._report.lost(delivery)
        if delivery.settling:
            self.settler.give_up(delivery)  # whoever waits for that is told so
        else:
            delivery.cancel()
        if delivery.running:
            self.on_lost(delivery)
        together = self._of_its_lease(delivery)
        for other in together:
            other.state = LOST  # so that it isn't given back: the group's lease was theirs too
        self._release(delivery, in_order=False)
        for other in together:
            self.lose(other, f"the lease of its group was lost ({why})")

    def _tell_lost(self, received: Received[Any]) -> None:
        """Tell a driver that wants to know: what it has at hand of the same group comes again behind this one."""
        tell = getattr(self._consumer, "lost", None)
        if tell is None:
            return
        try:
            tell(received)
        except Exception:  # noqa: BLE001 - no slip of a driver is to end receiving
            _log.exception("%r can't be told of a lost delivery; a bug of this backend", self.source.name)

    def _of_its_lease(self, delivery: HeldDelivery) -> list[HeldDelivery]:
        if not self._group_lease or delivery.group is None:
            return []
        return [held for held in self.held if held is not delivery and held.group is delivery.group]

    def _extended(self, count: int) -> None:
        if self._report is not None:
            self._report.extended(count)

    # Drain -----------------------------------------------------------------------------------------------------------

    def give_back_idle(self) -> None:
        """Give back all that no handler has: it may come to no other here."""
        for delivery in list(self.held):
            if self._end_retry(delivery):
                self.settler.soon(delivery, delivery.returned(delivery.attempt))
        for delivery in list(self.held):
            if delivery in self.held and not delivery.running and self.groups.is_first(delivery):
                self.give_back(delivery)

    def left(self) -> list[HeldDelivery]:
        """Return what handlers still have."""
        return [
            delivery
            for delivery in {**self.held, **dict.fromkeys(self._outlasting)}
            if delivery.running and (delivery.state is HELD or delivery not in self.held)
        ]

    def tasks(self) -> set[asyncio.Task[Any] | None]:
        """Return the tasks that handle what is here."""
        return {delivery.task for delivery in {**self.held, **dict.fromkeys(self._outlasting)}}

    def take_from(self, deliveries: Iterable[HeldDelivery]) -> None:
        """Give back what handlers don't give back themselves."""
        for delivery in list(self.held):
            if delivery.state is HELD:
                self.give_back(delivery)
                delivery.state = LOST
        for delivery in deliveries:
            self._outlasting.discard(delivery)
            delivery.handled_since = None
        self.on_taken()

    async def until_empty(self) -> None:
        """Return once nothing is held and no handler runs."""
        await self._empty.wait()
