"""Receiving from one subscription or queue: prefetch, handing out, drain (contract, D1 to D12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from polybus.binding import Entity
from polybus.bus.calls import Calls
from polybus.bus.drain import Drain
from polybus.bus.held import HELD, HeldDelivery
from polybus.bus.holding import Holding
from polybus.bus.intake import Intake
from polybus.bus.loop_guard import LoopGuard
from polybus.bus.options import ConsumerOptions, Pace
from polybus.bus.order import Ready
from polybus.bus.report import Reporter
from polybus.clock import Clock
from polybus.driver import ConsumerDriver, Driver, Received
from polybus.durations import Duration, seconds
from polybus.errors import BackendError, Fault
from polybus.telemetry import Hooks

if TYPE_CHECKING:
    from polybus.flow import Limit

__all__ = ["Receiver"]

# Deliveries that can't be handled yet (they wait here for their retry, or behind others of their group) take no room in
# the prefetch window, up to this many: a key that is stuck holds up no other (contract, D4 and D10). Where more than
# that, and the window, come before other keys' messages, these wait for it: memory must not grow without a bound.
HELD_BACK = 1_000
# Seconds beyond its own wait that a single receive may take; a request to a cloud is given up by its SDK before.
PATIENCE = 40.0


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
        pace: Pace,
        hooks: Hooks | None,
        on_closed: Callable[[Receiver], None] = lambda receiver: None,
    ) -> None:
        self.source = source
        self._loop_guard = LoopGuard(f"the consumer of {source.name!r}")
        self._clock = clock
        self._options = options
        self._on_closed = on_closed
        features = driver.features(source)
        self._pace = pace
        self._ready = Ready()
        self._room_freed = asyncio.Event()
        self._error: BackendError | None = None
        self.returns_spent = False
        """Whether what no handler takes in time is given back; whoever iterates takes it in a time of their own."""
        self.let_go: Callable[[bool], None] = lambda ending: None
        """Has a handler give back what it was handed and hasn't begun with: for a pause, or, with True, for good."""
        self.spent: Callable[[HeldDelivery], None] = lambda delivery: None
        """Has a handler give back one that it hasn't begun with and whose lease can't be extended any more."""
        self._paused: str | None = None
        self._cause = "pause"
        self._cap: int | None = None
        self._draining: asyncio.Task[None] | None = None
        calls = Calls(driver.fault, clock)
        report = None if hooks is None else Reporter(hooks, backend, source, clock)
        self._intake = Intake(
            consumer,
            source.name,
            clock=clock,
            retry=options.retry,
            calls=calls,
            room=self._free,
            why=self._why,
            room_freed=self._room_freed,
            accept=self._accept,
            failed=self.fail,
            report=report,
        )
        self.holding = Holding(
            consumer,
            source,
            features,
            loop_guard=self._loop_guard,
            clock=clock,
            options=options,
            calls=calls,
            intake=self._intake,
            pace=self._pace,
            room_freed=self._room_freed,
            report=report,
            offer=self._offer,
            on_spent=self._spent,
        )
        """What was handed out, and what isn't yet."""
        self._drain = Drain(
            self.holding,
            consumer,
            source.name,
            clock=clock,
            intake=self._intake,
            settler=self.holding.settler,
            keeper=self.holding.keeper,
        )

    @property
    def clock(self) -> Clock:
        """The clock that leases go by."""
        return self._clock

    @property
    def in_flight(self) -> int:
        """How many deliveries are held: waiting for a handler, with one, or for their retry."""
        return len(self.holding.held)

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

    @property
    def not_taking(self) -> str | None:
        """Why nothing is taken right now, in a word; None while it is."""
        return self._intake.why

    @property
    def options(self) -> ConsumerOptions:
        """How it receives."""
        return self._options

    def resize(self, options: ConsumerOptions) -> None:
        """Go by other options, as far as they say how many."""
        self._options = options
        self._pace.resize(options)
        self._room_freed.set()

    @property
    def limit(self) -> Limit | None:
        """Says how many may be taken."""
        return self._intake.limit

    @limit.setter
    def limit(self, limit: Limit | None) -> None:
        self._intake.limit = limit

    def cap(self, most: int | None) -> None:
        """Have no more than so many at once, and give back what comes beyond; None for as many as there is room for."""
        self._cap = most
        self._room_freed.set()

    def pause(self, reason: str, cause: str = "pause") -> None:
        """Take nothing more until `resume`, and give back what no handler has: no attempt of it was made."""
        self._paused, self._cause = reason, cause
        self._intake.note(cause)
        self._intake.rest()
        while self._ready.queue:
            self.holding.give_back(self._ready.queue.popleft())
        self.let_go(False)

    def resume(self) -> None:
        """Go on after a `pause`."""
        if self._paused is not None:
            self._paused = None
            self._intake.note(None)
        self._room_freed.set()

    def check_loop(self) -> None:
        """Raise BusClosed in a forked process, and on another loop than the receiver's own."""
        self._loop_guard.check()

    def follow_pace(self) -> None:
        """Take ahead no more than handlers soon get to, as far as nobody chose how much."""
        self._pace.follow()

    def start(self) -> None:
        """Begin to receive."""
        self._intake.start()

    async def next(self) -> HeldDelivery | None:
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

    def take(self) -> HeldDelivery | None:
        """Return the next delivery, if one is there."""
        ready = self._ready.queue
        while ready:
            delivery = ready.popleft()
            if not ready:
                self._room_freed.set()
            if delivery.state is HELD:
                if delivery.lease_until > self._clock.monotonic():
                    return delivery
                # The keeper hasn't seen it yet.
                self.holding.lose(delivery, "the event loop or the process stood still until after its end")
        return None

    async def fetch(self, count: int, wait: float) -> list[HeldDelivery]:
        """Receive once, without `start`, and return what came; raise BackendError where that failed.

        Cancelled, it leaves nothing behind: what the call still brings is given back by the drain. Groups don't count
        here: it is for dead letters, which have no order to keep.
        """
        self._loop_guard.check()
        answer = await self._intake.ask(count, wait, wait + PATIENCE)
        if isinstance(answer, Fault):
            raise BackendError(answer)
        return self.holding.hold(answer)

    # Intake ----------------------------------------------------------------------------------------------------------

    def fail(self, error: BackendError) -> None:
        """End receiving with an error, whose fault `next` raises."""
        self._error = error
        self._ready.wake_all()

    def _free(self) -> int:
        if self._paused is not None:
            return 0
        holding = self.holding
        window = self._pace.window
        if self._cap is not None:
            window = min(window, self._cap)
        room = window - (len(holding.held) - min(holding.blocked, HELD_BACK))
        # While there is still something to hand out, a larger batch is worth waiting for.
        if self._ready.queue and room < max(1, window // 4):
            return 0
        return room

    def _why(self) -> str:
        """Say why there is no room."""
        if self._paused is not None:
            return self._cause
        return "room" if self._cap is None else "breaker"

    def _accept(self, batch: Sequence[Received[Any]]) -> None:
        groups = self.holding.groups
        if self._cap is not None and len(batch) > (room := max(self._free(), 0)):
            self.holding.give_back_all(batch[room:])  # they were asked for before there was a cap
            batch = batch[:room]
        for delivery in self.holding.hold(batch):
            if delivery.received.group is None or groups.add(delivery):
                self._offer(delivery)

    def _offer(self, delivery: HeldDelivery) -> None:
        if self._intake.stopping or self._paused is not None or (self._cap is not None and self._is_over()):
            self.holding.give_back(delivery)
        else:
            self._ready.put(delivery)

    def _is_over(self) -> bool:
        """Say whether more may be handled than the cap allows: a retry fell due."""
        return self._cap is not None and len(self.holding.held) - self.holding.blocked > self._cap

    def _spent(self, delivery: HeldDelivery) -> None:
        """Give back what nobody has taken while its lease could be extended: it needn't be lost for that.

        It is called when a quarter of the last lease is left. What waits behind others of its key shares their fate.
        """
        if self.returns_spent and delivery in self._ready.queue:
            self.holding.give_back(delivery)
        else:
            self.spent(delivery)

    # Drain -----------------------------------------------------------------------------------------------------------

    async def drain(self, grace: Duration | None = None) -> None:
        """End intake, give back what no handler has, let handlers finish within `grace` seconds (contract, D12).

        Returns when nothing is in flight, at the latest 10 s after the grace. Calling it again waits for the first.
        """
        self._loop_guard.check()
        if self._draining is None:
            time = self._options.grace if grace is None else seconds(grace, "grace")
            self._draining = asyncio.get_running_loop().create_task(self._end(time))
        await asyncio.shield(self._draining)

    def end_grace(self) -> None:
        """End the grace of a drain that is under way, or comes."""
        self._drain.end_grace()

    async def _end(self, grace: float) -> None:
        self._intake.stop()
        self._ready.wake_all()
        self._ready.queue.clear()
        self.let_go(True)
        self.holding.give_back_idle()
        await self._drain.run(grace)
        self._on_closed(self)
