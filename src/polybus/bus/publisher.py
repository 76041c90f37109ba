"""Publishing to one topic or queue: order, bounds and deadlines (contract, P1 to P7)."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

import msgspec

from polybus.binding import Entity
from polybus.bus.blocked import Blocked, BlockedKeys
from polybus.bus.calls import Calls, DriverBug
from polybus.bus.flow_control import FlowControl, Turn
from polybus.bus.opening import Opening
from polybus.bus.options import PublisherOptions
from polybus.bus.outage import Outage
from polybus.bus.send_queue import DONE, SENDING, WAITING, Item, Listener, SendQueue
from polybus.bus.sending import Batches, Sender
from polybus.clock import Clock, Timer
from polybus.driver import Driver, Outgoing, Prepared, PublisherDriver
from polybus.errors import BackendError, Fault, FaultKind
from polybus.message import Message, Sent

__all__ = ["Publisher"]

_log = logging.getLogger("polybus")

# Seconds for what a driver has to do at its end, beside what it was given to send.
CLOSING = 5.0


# A deadline that is noticed so many seconds late tells that the loop stood still, or the process did. Then what came
# meanwhile gets this long to be read: a hundred times what a batch takes.
STOOD_STILL = 1.0
TURN = 0.5


class Publisher:
    """Sends to one target through one driver; for one event loop.

    A message's place among those of its ordering key is fixed when `put` is called, whatever it waits for after that:
    the opening of the driver's publisher, room, its key's turn, a retry. Every message has its outcome by its
    deadline, whatever the driver does (contract, P5).
    """

    def __init__(
        self,
        driver: Driver,
        open: Callable[[], Awaitable[PublisherDriver[Any]]],
        target: Entity,
        *,
        clock: Clock,
        options: PublisherOptions,
    ) -> None:
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._options = options
        self._calls = Calls(driver.fault, clock)
        self._outage = Outage(f"publishing to {target.name!r}", clock)
        self._opening = Opening(
            open,
            target.name,
            outage=self._outage,
            calls=self._calls,
            clock=clock,
            options=options,
            wanted=lambda: bool(self._open),
            opened=self._opened,
            failed=self._failed_to_open,
        )
        self._driver: PublisherDriver[Any] | None = None
        self._queue: SendQueue
        self._batches: Batches
        self._flow = FlowControl(options.max_outstanding, options.max_outstanding_bytes)
        self._blocked = BlockedKeys(target.name)
        # What has no outcome yet, in the order of the calls, which is that of the deadlines.
        self._open: dict[Item, None] = {}
        self._overdue: Timer | None = None
        self._closing = False
        self._idle: asyncio.Future[None] | None = None

    # Taking messages --------------------------------------------------------------------------------------------------

    async def send(self, outgoing: Outgoing, listener: Listener | None = None, *, blocks: bool = True) -> Sent | Fault:
        """Send one message and return its outcome once it is known; never raises for what the cloud says.

        Cancelled while it waits for room, it is not sent; later, it is sent all the same.
        """
        item = self.put(outgoing, listener, blocks=blocks)
        if item.outcome is None:
            item.known = self._loop.create_future()
            try:
                await item.known
            except asyncio.CancelledError:
                self.withdraw(item)
                raise
        return cast(Sent | Fault, item.outcome)

    def put(
        self, outgoing: Outgoing, listener: Listener | None = None, *, blocks: bool = True, turn: Turn | None = None
    ) -> Item:
        """Give a message its place, at once; `outcome` waits for what becomes of it, `listener` is called with that.

        `blocks` says whether its failure holds up its ordering key: not where polybus made that for it alone. With a
        `turn` its place is that of the call that publishes many: wait for its `room` before the next of them.
        """
        item = Item(outgoing, self._clock.monotonic() + self._options.deadline, listener, blocks)
        key = item.key
        if self._closing:
            self._conclude(item, Fault(FaultKind.CANCELLED, "the bus was closed before it was sent"))
            return item
        if key is not None and blocks and self._blocked:
            blocked = self._blocked.why(key)
            if blocked is not None:
                self._conclude(item, blocked)
                return item
        if turn is not None and turn.fault is not None:
            self._conclude(item, turn.fault)
            return item
        if self._driver is None:
            item.outgoing = _as_it_is_now(outgoing)
            self._opening.want()
            self._flow.wait(item, turn)
        else:
            prepared = self._prepare(self._driver, outgoing)
            if isinstance(prepared, Fault):
                self._cannot_send(item, prepared)
                return item
            item.prepared, item.size = prepared, prepared.size
            if self._flow.enter(item, turn):
                self._queue.add(item)
                if self._batches.due is None:
                    self._batches.schedule()
            else:
                self._flow.wait(item, turn)
        self._open[item] = None
        if self._overdue is None:
            self._watch(item)
        return item

    async def outcome(self, item: Item) -> Sent | Fault:
        """Return what became of a message, once that is known; to be waited for by one."""
        if item.outcome is None:
            item.known = self._loop.create_future()
            await item.known
        return cast(Sent | Fault, item.outcome)

    async def room(self, item: Item) -> None:
        """Wait until there is room for a message, or none is needed any more; cancelled, it is not sent."""
        if item.stage != WAITING:
            return
        item.room = self._loop.create_future()
        try:
            await item.room
        except asyncio.CancelledError:
            self.withdraw(item)
            raise

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Hold a place for the messages of one call, before those of all later calls (contract, P6)."""
        turn = self._flow.take_turn()
        try:
            yield turn
        finally:
            self._flow.end_turn(turn)
            self._admit()

    def withdraw(self, item: Item) -> None:
        """Take a message back that still waits for room; what has gone further is sent."""
        if item.stage == WAITING:
            self._conclude(item, Fault(FaultKind.CANCELLED, "its call was cancelled while it waited; it was not sent"))

    def refuse(self, message: object, fault: Fault) -> Fault:
        """Return the fault of what can't be a message; it holds up later ones of its key, where it has one."""
        key: object = getattr(message, "ordering_key", None)
        if isinstance(message, Message) and isinstance(key, str) and self._target.ordered:
            self._blocked.add(key, fault)
        return fault

    def resume(self, ordering_key: str | None = None) -> None:
        """Let messages of this key, or of all, pass again after one of them failed."""
        self._blocked.resume(ordering_key)

    def blocked(self) -> Blocked:
        """Return the blocked keys, each with why."""
        return self._blocked.snapshot()

    async def aclose(self) -> None:
        """Send all that was taken, at the latest until its deadline, and close the driver."""
        self._closing = True
        if self._driver is not None:
            self._batches.flush()
        if self._open:
            self._idle = self._loop.create_future()
            await self._idle
        if self._overdue is not None:
            self._overdue.cancel()
        await self._bounded(self._opening.aclose())
        if self._driver is not None:
            await self._calls.bounded(self._batches.aclose(), CLOSING, "ending what is over its time")
            await self._bounded(self._driver.aclose())

    async def _bounded(self, closing: Coroutine[Any, Any, None]) -> None:
        what = f"closing the publisher to {self._target.name!r}"
        fault = await self._calls.bounded(closing, CLOSING, what)
        if isinstance(fault, Fault):
            if fault.kind is not FaultKind.TIMEOUT:
                raise BackendError(fault)
            _log.warning("%s is left to itself: %s", what, fault)

    def _prepare(self, driver: PublisherDriver[Any], outgoing: Outgoing) -> Prepared[Any] | Fault:
        try:
            prepared: object = driver.prepare(outgoing)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - one message that a driver stumbles over is that message's failure
            detail = f"the driver's prepare() raised {type(error).__qualname__}; a bug of this backend"
            return DriverBug(FaultKind.INVALID, detail)
        if isinstance(prepared, Prepared) or isinstance(prepared, Fault):  # noqa: SIM101 - a union takes longer
            return prepared
        detail = f"the driver's prepare() gave {type(prepared).__qualname__}; a bug of this backend"
        return DriverBug(FaultKind.INVALID, detail)

    # Opening ----------------------------------------------------------------------------------------------------------

    def _opened(self, driver: PublisherDriver[Any]) -> None:
        self._queue = SendQueue(driver.limits)
        self._driver = driver
        sender = Sender(
            driver,
            clock=self._clock,
            options=self._options,
            calls=self._calls,
            outage=self._outage,
            conclude=self._conclude,
            following=self._following,
            progressed=self._progressed,
            ended=self._ended,
        )
        self._batches = Batches(self._queue, sender, clock=self._clock, options=self._options)
        if self._closing:
            self._batches.flush()
        self._admit()

    def _progressed(self) -> None:
        self._batches.schedule()

    def _ended(self, batch: list[Item]) -> None:
        self._batches.ended(batch)

    def _failed_to_open(self, fault: Fault) -> None:
        for item in self._flow.waiting():
            if item.turn is not None:
                item.turn.fault = fault  # and nor is the rest of its call
            self._conclude(item, fault)

    def _admit(self) -> None:
        """Let in what waits, in the order of the calls, for as long as there is room."""
        if self._driver is None:
            return
        while (item := self._flow.first()) is not None:
            if item.prepared is None:
                prepared = self._prepare(self._driver, item.outgoing)
                if isinstance(prepared, Fault):
                    self._conclude(item, prepared)  # it is the first: what it blocks waits behind it
                    continue
                item.prepared, item.size = prepared, prepared.size
            if not self._flow.enter(item, item.turn):
                break
            self._flow.remove(item)
            self._queue.add(item)
            if item.room is not None and not item.room.done():
                item.room.set_result(None)
        self._batches.schedule()

    # Outcomes ---------------------------------------------------------------------------------------------------------

    def _conclude(self, item: Item, outcome: Sent | Fault) -> None:
        """Tell a message's outcome, once; what comes later is the answer of a call that was given up."""
        stage = item.stage
        if stage == DONE:
            return
        item.stage = DONE
        self._open.pop(item, None)
        if stage == SENDING:
            if item.key is not None:
                self._queue.done(item)
        elif stage == WAITING:
            self._flow.remove(item)
        else:
            self._queue.remove(item)
        item.outcome = outcome
        if item.known is not None and not item.known.done():
            item.known.set_result(None)
        if item.room is not None and not item.room.done():
            item.room.set_result(None)
        if item.listener is not None:
            item.listener(outcome)
        if isinstance(outcome, Fault):
            item.failed = True
            self._block(item, outcome, stage)
        if stage != WAITING:
            self._flow.leave(item)
            if self._flow.messages:
                self._admit()
        if self._idle is not None and not self._open and not self._idle.done():
            self._idle.set_result(None)

    def _cannot_send(self, item: Item, fault: Fault) -> None:
        """Tell what can't be sent at all; it holds up later messages of its key, and none that came before."""
        key = item.key
        blocks, item.blocks = item.blocks, False
        self._conclude(item, fault)
        if blocks and key is not None:
            self._blocked.add(key, fault)

    def _block(self, item: Item, fault: Fault, stage: int) -> None:
        """Hold up the key of a failed message, which had come to `stage`: what came after it fails too."""
        key = item.key
        if not item.blocks or key is None or fault.kind in _BLOCKS_NOTHING:
            return
        self._blocked.add(key, fault)
        later = self._queue.clear(key) if stage != WAITING else []
        for each in later:
            each.stage = WAITING
            self._flow.leave(each)
        # All are taken out before any of the room that they leave is given to others.
        later += self._flow.waiting(key)
        for each in later:
            self._flow.remove(each)
        for each in later:
            self._conclude(each, self._blocked.following(key, fault))

    def _following(self, key: str) -> Fault:
        return self._blocked.why(key) or self._blocked.following(key, _RESUMED)

    # Deadlines --------------------------------------------------------------------------------------------------------

    def _watch(self, first: Item) -> None:
        due = first.deadline
        self._overdue = self._clock.call_later(due - self._clock.monotonic(), lambda: self._look_overdue(due))

    def _look_overdue(self, due: float) -> None:
        if self._clock.monotonic() - due > STOOD_STILL:
            # Answers may have come meanwhile, and only need their turn: one, however often the loop stands still.
            self._overdue = self._clock.call_later(TURN, self._end_overdue)
        else:
            self._end_overdue()

    def _end_overdue(self) -> None:
        now = self._clock.monotonic()
        self._overdue = None
        overdue = list(itertools.takewhile(lambda item: item.deadline <= now, self._open))
        calls = {item.batch for item in overdue if item.stage == SENDING}
        for item in overdue:
            # Before any is told: the room that one leaves lets others in. What waited all its time did so in vain.
            if item.stage == WAITING and item.turn is not None:
                item.turn.fault = self._too_late(item)
        for item in overdue:
            self._conclude(item, self._too_late(item))
        if calls:
            self._batches.give_up(calls)
        first = next(iter(self._open), None)
        if first is not None:
            self._watch(first)

    def _too_late(self, item: Item) -> Fault:
        limit = f"the publisher's deadline of {self._options.deadline:g} s"
        if item.stage == SENDING:
            before = "" if item.last is None else f"; the try before it: {item.last}"
            return Fault(FaultKind.TIMEOUT, f"no answer within {limit}; it may have been done{before}")
        if self._driver is None:
            return Fault(FaultKind.DEADLINE, f"its publisher did not open within {limit}{self._opening.last()}")
        return Fault(FaultKind.DEADLINE, f"not sent within {limit}: what was published before it was not accepted")


_BLOCKS_NOTHING = frozenset({FaultKind.KEY_BLOCKED, FaultKind.CANCELLED})
_RESUMED = Fault(FaultKind.KEY_BLOCKED, "its key was resumed meanwhile")


def _as_it_is_now(outgoing: Outgoing) -> Outgoing:
    """Return what a caller may go on changing, its attributes, as a copy: it is encoded later."""
    message = outgoing.message
    if not message.attributes:
        return outgoing
    copied = msgspec.structs.replace(message, attributes=dict(message.attributes))
    return msgspec.structs.replace(outgoing, message=copied)
