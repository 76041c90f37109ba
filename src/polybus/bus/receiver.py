"""Receiving from one subscription or queue: prefetch, order, leases, settling and drain (contract, D1 to D12)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from polybus.binding import Entity
from polybus.bus.calls import Calls
from polybus.bus.delivery import HELD, LOST, SETTLED, Delivery
from polybus.bus.drain import Drain
from polybus.bus.home import Home
from polybus.bus.intake import Intake
from polybus.bus.lease import LeaseKeeper
from polybus.bus.losses import Losses
from polybus.bus.options import ConsumerOptions
from polybus.bus.order import Groups
from polybus.bus.pace import Pace
from polybus.bus.ready import Ready
from polybus.bus.report import Reporter
from polybus.bus.retry import backoff
from polybus.bus.settle import Settler
from polybus.clock import Clock, Timer
from polybus.driver import ConsumerDriver, Driver, Nack, Received, Settlement
from polybus.errors import BackendError, Fault, FaultKind, LeaseLost
from polybus.feature import Feature
from polybus.telemetry import Hooks

__all__ = ["Receiver"]

_log = logging.getLogger("polybus")

# Deliveries that can't be handled yet (they wait here for their retry, or behind others of their group) take no room in
# the prefetch window, up to this many: a key that is stuck holds up no other (contract, D4 and D10). Where more than
# that, and the window, come before other keys' messages, these wait for it: memory must not grow without a bound.
HELD_BACK = 1_000
# Seconds beyond its own wait that a single receive may take; a request to a cloud is given up by its SDK before.
PATIENCE = 40.0
NOT_IN_TIME = "its lease ended before it was settled"


class Receiver:
    """Hands out the deliveries of one source, in order where it has one; for one event loop.

    `next` gives a delivery, or None once a drain has begun. Fatal faults of the backend are raised from `next`.
    """

    def __init__(
        self,
        driver: Driver,
        consumer: ConsumerDriver[Any],
        source: Entity,
        *,
        backend: str,
        clock: Clock,
        options: ConsumerOptions,
        hooks: Hooks | None,
        on_closed: Callable[[Receiver], None] = lambda receiver: None,
    ) -> None:
        self.source = source
        self._home = Home(f"the consumer of {source.name!r}")
        self._consumer = consumer
        self._clock = clock
        self._options = options
        self._report = None if hooks is None else Reporter(hooks, backend, source, clock)
        self._losses = Losses(source.name, clock)
        self._on_closed = on_closed
        features = driver.features(source)
        self._nack_delay = Feature.NACK_DELAY in features
        self._group_lease = Feature.GROUP_LEASE in features
        self._pace = Pace(options, counts=Feature.ATTEMPTS not in features)
        self._held: dict[Delivery, None] = {}
        self._held_back: dict[Delivery, Timer] = {}
        self._told: set[Delivery] = set()
        self._handled: set[Delivery] = set()
        self._began: dict[Delivery, float] = {}
        self._ready = Ready()
        self._widened = asyncio.Event()
        self._groups = Groups()
        self._empty = asyncio.Event()
        self._empty.set()
        self._error: BackendError | None = None
        self.handler = "the handler"
        """What handles the deliveries, for the log."""
        self.returns_spent = False
        """Whether what no handler takes in time is given back; whoever iterates takes it in a time of their own."""
        self.on_taken: Callable[[], None] = lambda: None
        """Called when a drain has taken deliveries from handlers that don't end."""
        self.on_lost: Callable[[Delivery], None] = lambda delivery: None
        """Called when a delivery was lost that a handler has."""
        self.on_settling: Callable[[Delivery], None] = lambda delivery: None
        """Called when a handler settles its delivery by itself."""
        self._paused: str | None = None
        self._draining: asyncio.Task[None] | None = None
        calls = Calls(driver.fault, clock)
        self._keeper = LeaseKeeper(
            consumer,
            self._held,
            clock=clock,
            lease=source.lease,
            max_lease=options.max_lease,
            calls=calls,
            on_lost=self._lose,
            on_extended=self._extended,
            on_spent=self._spent,
        )
        self._intake = Intake(
            consumer,
            source.name,
            clock=clock,
            retry=options.retry,
            calls=calls,
            room=self._free,
            widened=self._widened,
            accept=self._accept,
            failed=self.fail,
        )
        self._settler = Settler(
            consumer, source.name, clock=clock, retry=options.retry, calls=calls, on_done=self._settled
        )
        self._drain = Drain(
            self,
            consumer,
            source.name,
            clock=clock,
            intake=self._intake,
            settler=self._settler,
            keeper=self._keeper,
        )

    @property
    def clock(self) -> Clock:
        """The clock that leases go by."""
        return self._clock

    @property
    def in_flight(self) -> int:
        """How many deliveries are held: waiting for a handler, with one, or for their retry."""
        return len(self._held)

    @property
    def draining(self) -> bool:
        """Whether a drain was asked for."""
        return self._intake.stopping

    @property
    def received_once(self) -> bool:
        """Whether the backend has answered a receive."""
        return self._intake.received_once

    @property
    def problem(self) -> str | None:
        """Say in a line why nothing comes from here, or may not; None while all is well."""
        if self._error is not None:
            return f"receiving from {self.source.name!r} ended: {self._error}"
        return self._paused or self._intake.problem

    def pause(self, reason: str) -> None:
        """Take nothing more until `resume`, and give back what no handler has: no attempt of it was made."""
        self._paused = reason
        while self._ready.queue:
            self._give_back(self._ready.queue.popleft())

    def resume(self) -> None:
        """Go on after a `pause`."""
        self._paused = None
        self._widened.set()

    def check_home(self) -> None:
        """Raise BusClosed in a forked process, and on another loop than the receiver's own."""
        self._home.check()

    def follow_pace(self) -> None:
        """Take ahead no more than handlers soon get to, as far as nobody chose how much."""
        self._pace.follow()

    def start(self) -> None:
        """Begin to receive."""
        self._intake.start()

    async def next(self) -> Delivery | None:
        """Return the next delivery, or None once a drain has begun; raise BackendError where receiving is over."""
        while True:
            delivery = self.take()
            if delivery is not None:
                return delivery
            if self._intake.stopping:
                return None
            if self._error is not None:
                # One of its own for each who waits: one that many tasks raise grows a traceback with each, and keeps
                # their frames.
                raise BackendError(self._error.fault)
            await self._ready.wait()

    def take(self) -> Delivery | None:
        """Return the next delivery, if one is there."""
        ready = self._ready.queue
        while ready:
            delivery = ready.popleft()
            if not ready:
                self._widened.set()
            if delivery.state is HELD:
                if delivery.lease_until > self._clock.monotonic():
                    return delivery
                # The keeper hasn't seen it yet.
                self._lose(delivery, "the event loop or the process stood still until after its end")
        return None

    async def fetch(self, count: int, wait: float) -> list[Delivery]:
        """Receive once, without `start`, and return what came; raise BackendError where that failed.

        Cancelled, it leaves nothing behind: what the call still brings is given back by the drain. Groups don't count
        here: it is for dead letters, which have no order to keep.
        """
        self._home.check()
        answer = await self._intake.ask(count, wait, wait + PATIENCE)
        if isinstance(answer, Fault):
            raise BackendError(answer)
        return self._hold(self._in_time(answer))

    # Intake ----------------------------------------------------------------------------------------------------------

    def fail(self, error: BackendError) -> None:
        """End receiving with an error, whose fault `next` raises."""
        self._error = error
        self._ready.wake_all()

    def _free(self) -> int:
        if self._paused is not None:
            return 0
        blocked = len(self._held_back) + self._groups.waiting
        window = self._pace.window
        room = window - (len(self._held) - min(blocked, HELD_BACK))
        # While there is still something to hand out, a larger batch is worth waiting for.
        if self._ready.queue and room < max(1, window // 4):
            return 0
        return room

    def _accept(self, batch: Sequence[Received[Any]]) -> None:
        for delivery in self._hold(self._in_time(batch)):
            if delivery.received.group is None or self._groups.add(delivery):
                self._offer(delivery)

    def _in_time(self, batch: Sequence[Received[Any]]) -> Sequence[Received[Any]]:
        """Return those whose lease isn't over, and that don't follow one of their group whose lease is."""
        now = self._clock.monotonic()
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
                self._give_back(*self._hold([received]))
            else:
                good.append(received)
        self._losses.over_on_arrival(len(over), now - min(received.lease_until for received in over))
        for received in over:
            self._tell_lost(received)
        if self._report is not None:
            for received in over:
                self._report.lost(Delivery(self, received, now))
        return good

    def _offer(self, delivery: Delivery) -> None:
        if self._intake.stopping or self._paused is not None:
            self._give_back(delivery)
        else:
            self._ready.put(delivery)

    def _hold(self, batch: Sequence[Received[Any]]) -> list[Delivery]:
        now = self._clock.monotonic()
        deliveries = [Delivery(self, received, now) for received in batch]
        if deliveries:
            self._held.update(dict.fromkeys(deliveries))
            self._empty.clear()
            self._keeper.added(deliveries)
            if self._report is not None:
                self._report.in_flight(len(deliveries))
        return deliveries

    def begun(self, delivery: Delivery) -> None:
        """Note that a handler has it: a drain waits for the handler, even for what it does after its own ack."""
        self._handled.add(delivery)
        if self._pace.adapts:
            self._began[delivery] = self._clock.monotonic()

    def ended(self, delivery: Delivery) -> None:
        """Note that its handler is done."""
        self._handled.discard(delivery)
        if self._pace.adapts:
            began = self._began.pop(delivery, None)
            if began is not None:
                self._pace.took(self._clock.monotonic() - began)
                self._widened.set()
        if not self._held and not self._handled:
            self._empty.set()

    # Settling --------------------------------------------------------------------------------------------------------

    def check_lease(self, delivery: Delivery) -> None:
        """Raise LeaseLost where the lease is over by our own clock, before anything is sent (contract, D2)."""
        self._home.check()
        self._check_lease(delivery)

    def _check_lease(self, delivery: Delivery) -> None:
        if delivery.state is HELD and self._clock.monotonic() >= delivery.lease_until:
            self._lose(delivery, NOT_IN_TIME)
        if delivery.state is LOST:
            raise LeaseLost(delivery.lost_text())

    def processing(self, delivery: Delivery) -> AbstractContextManager[None] | None:
        """Return the context that hooks want around the handler, or None where there are no hooks."""
        return None if self._report is None else self._report.processing(delivery)

    async def settle(self, delivery: Delivery, settlement: Settlement[Any]) -> None:
        """Tell the backend; returns once it knows."""
        if delivery.running:
            self.on_settling(delivery)
        await self._settler.settle(delivery, settlement)

    def settle_soon(self, delivery: Delivery, settlement: Settlement[Any]) -> None:
        """Tell the backend without waiting; a lost lease or a fault is logged and counted."""
        self._check_lease(delivery)
        delivery.state = SETTLED
        self._settler.soon(delivery, settlement)

    def retry_delay(self, attempt: int) -> float:
        """Return the source's own wait, in seconds, after a failed attempt."""
        return backoff(self.source.backoff.initial, min(self.source.backoff.maximum, 600.0), attempt)

    async def retry(self, delivery: Delivery, delay: float) -> None:
        """See to it that a failed delivery comes again after `delay` seconds (contract, D4 and D10)."""
        if delivery.running:
            self.on_settling(delivery)
        nack = self._retry(delivery, delay)
        if nack is not None:
            await self._settler.settle(delivery, nack)

    def retry_soon(self, delivery: Delivery, delay: float) -> None:
        """See to it likewise, without waiting for the backend."""
        nack = self._retry(delivery, delay)
        if nack is not None:
            self._settler.soon(delivery, nack)

    def _retry(self, delivery: Delivery, delay: float) -> Nack[Any] | None:
        """Return what gives a failed delivery back, or None where it waits here for its retry."""
        nack = delivery.returned(delivery.attempt)
        if self._intake.stopping:
            return nack
        if delivery.lane is None and (self._nack_delay or delay <= 0):
            return Nack(nack.received, delay, nack.attempts)
        if self._report is not None:
            self._report.held_back(delivery)
        self._told.add(delivery)
        self._held_back[delivery] = self._clock.call_later(delay, lambda: self._due(delivery))
        self._widened.set()
        return None

    def _due(self, delivery: Delivery) -> None:
        self._held_back.pop(delivery)
        if delivery.lane is None:
            self._settler.soon(delivery, delivery.returned(delivery.attempt))
            return
        again = Delivery(self, delivery.received, delivery.received_at, delivery.retries + 1)
        # An extension that is under way may fail: the new one asks for its own.
        halfway = (self._clock.monotonic() + delivery.lease_until) / 2
        again.lease_until, again.renew_at = delivery.lease_until, min(delivery.renew_at, halfway)
        again.asked = delivery.asked
        self._groups.replace(delivery, again)
        del self._held[delivery]
        self._told.discard(delivery)
        self._held[again] = None
        self._keeper.added([again])
        self._offer(again)

    def _settled(self, delivery: Delivery, settlement: Settlement[Any], fault: Fault | None) -> None:
        if delivery not in self._held:
            return
        if fault is None:
            if self._report is not None and delivery not in self._told:  # a retry that was held back is told of then
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
            )
        if self._report is not None:
            self._report.failed(delivery, settlement, fault)
        if delivery.running:  # its handler is told by what it called
            self.on_lost(delivery)
        self._release(delivery, in_order=False)

    def _release(self, delivery: Delivery, *, in_order: bool) -> None:
        """Forget a delivery; let the next of its group pass, or give the group's others back."""
        del self._held[delivery]
        if self._told:
            self._told.discard(delivery)
        if self._report is not None:
            self._report.in_flight(-1)
        if delivery.lane is not None:
            if in_order and not self._intake.stopping:
                following = self._groups.advance(delivery)
                if following is not None:
                    self._offer(following)
            else:
                for later in self._groups.close(delivery):
                    self._give_back(later)
        self._widened.set()
        if not self._held and not self._handled:
            self._empty.set()

    def _give_back(self, delivery: Delivery) -> None:
        if delivery.state is not HELD:
            return
        if self._clock.monotonic() >= delivery.lease_until:
            self._lose(delivery, "it was over before the message was given back")
            return
        delivery.state = SETTLED
        self._settler.soon(delivery, delivery.returned())

    # Leases ----------------------------------------------------------------------------------------------------------

    def _lose(self, delivery: Delivery, why: str) -> None:
        if delivery not in self._held:
            return
        delivery.state = LOST
        timer = self._held_back.pop(delivery, None)
        if timer is not None:
            timer.cancel()
        self._tell_lost(delivery.received)
        self._losses.lost(delivery, why)
        if self._report is not None:
            self._report.lost(delivery)
        if delivery.settling:
            self._settler.give_up(delivery)  # whoever waits for that is told so
        else:
            delivery.cancel()
        if delivery.running:
            self.on_lost(delivery)
        together = self._of_its_lease(delivery)
        for other in together:
            other.state = LOST  # so that it isn't given back: the group's lease was theirs too
        self._release(delivery, in_order=False)
        for other in together:
            self._lose(other, f"the lease of its group was lost ({why})")

    def _tell_lost(self, received: Received[Any]) -> None:
        """Tell a driver that wants to know: what it has at hand of the same group comes again behind this one."""
        tell = getattr(self._consumer, "lost", None)
        if tell is None:
            return
        try:
            tell(received)
        except Exception:  # noqa: BLE001 - no slip of a driver is to end receiving
            _log.exception("%r can't be told of a lost delivery; a bug of this backend", self.source.name)

    def _of_its_lease(self, delivery: Delivery) -> list[Delivery]:
        if not self._group_lease or delivery.lane is None:
            return []
        return [held for held in self._held if held is not delivery and held.lane is delivery.lane]

    def _spent(self, delivery: Delivery) -> None:
        """Give back what nobody has taken while its lease could be extended: it needn't be lost for that.

        It is called when a quarter of the last lease is left. What waits behind others of its key shares their fate.
        """
        if self.returns_spent and delivery in self._ready.queue:
            self._give_back(delivery)

    def _extended(self, count: int) -> None:
        if self._report is not None:
            self._report.extended(count)

    # Drain -----------------------------------------------------------------------------------------------------------

    async def drain(self, grace: float | None = None) -> None:
        """End intake, give back what no handler has, let handlers finish within `grace` seconds (contract, D12).

        Returns when nothing is in flight, at the latest 10 s after the grace. Calling it again waits for the first.
        """
        self._home.check()
        if self._draining is None:
            grace = self._options.grace if grace is None else grace
            self._draining = asyncio.get_running_loop().create_task(self._end(grace))
        await asyncio.shield(self._draining)

    def hurry(self) -> None:
        """End the grace of a drain that is under way, or comes."""
        self._drain.hurry()

    async def _end(self, grace: float) -> None:
        self._intake.stop()
        self._ready.wake_all()
        self._give_back_idle()
        await self._drain.run(grace)
        self._on_closed(self)

    def _give_back_idle(self) -> None:
        self._ready.queue.clear()
        for delivery, timer in list(self._held_back.items()):
            timer.cancel()
            self._settler.soon(delivery, delivery.returned(delivery.attempt))
        self._held_back.clear()
        for delivery in list(self._held):
            if delivery in self._held and not delivery.running and self._groups.is_first(delivery):
                self._give_back(delivery)

    def left(self) -> list[Delivery]:
        """Return what handlers still have."""
        return [
            delivery
            for delivery in {**self._held, **dict.fromkeys(self._handled)}
            if delivery.running and (delivery.state is HELD or delivery not in self._held)
        ]

    def take_from(self, deliveries: Iterable[Delivery]) -> None:
        """Give back what handlers don't give back themselves."""
        for delivery in list(self._held):
            if delivery.state is HELD:
                self._give_back(delivery)
                delivery.state = LOST
        self._handled.difference_update(deliveries)
        self._began.clear()
        self.on_taken()

    async def until_empty(self) -> None:
        """Return once nothing is held and no handler runs."""
        await self._empty.wait()
