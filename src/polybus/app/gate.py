"""Which delivery begins next: as many calls at once as there is room for, and no more of one key than may be."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from polybus.bus.consumer import unbegun
from polybus.bus.delivery import Delivery, held_of
from polybus.bus.held import HeldDelivery, State
from polybus.bus.options import ConsumerOptions, Pace
from polybus.clock import Clock
from polybus.errors import LeaseLost
from polybus.flow import PerKey, Room

if TYPE_CHECKING:
    from polybus.bus.consumer import Consumer
    from polybus.flow import Limit

__all__ = ["Gate", "Slots"]

_log = logging.getLogger("polybus.app")

# Seconds after which the intake looks again though nothing was told: what it waits for is told, so this is a net.
LOOK = 0.5
# Once nothing was taken for so many seconds a driver that takes ahead is told, as for a limit (polybus.bus.intake).
LONG = 1.0


class Slots:
    """The room of handlers that share it: who has a place, and who gets the next one."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.calls = room.calls
        self.running = 0
        self.gates: list[Gate] = []

    def take(self) -> bool:
        """Take a place, if one is free: then nobody waits for one."""
        if self.running >= self.calls:
            return False
        self.running += 1
        return True

    def leave(self) -> None:
        """Give a place back, to whoever is next."""
        self.running -= 1
        self.fill()

    def resize(self, calls: int) -> None:
        """Have so many places."""
        self.calls = calls
        self.fill()

    def fill(self) -> None:
        """Give places that are free to those who wait for them, and have all look again what they may take."""
        while self.running < self.calls:
            waiting = [gate for gate in self.gates if gate.ready]
            if not waiting:
                break
            self.running += 1
            gate = self._next(waiting)
            if not gate.begin():
                self.running -= 1
        for gate in self.gates:
            gate.changed.set()

    def _next(self, waiting: list[Gate]) -> Gate:
        # Who was passed over often enough is next, whatever its priority; of equal priority all take turns.
        overdue = [gate for gate in waiting if gate.passed >= self._room.turns - 1]
        chosen = max(overdue or waiting, key=lambda gate: (gate.passed if overdue else gate.priority, gate.passed))
        for gate in waiting:
            gate.passed += 1
        chosen.passed = 0
        return chosen

    def are_wanted_above(self, priority: int) -> bool:
        """Say whether what has a higher priority waits for a place."""
        return any(gate.ready and gate.priority > priority for gate in self.gates)


class _Stage(Enum):
    BEHIND = auto()  # others of its key
    READY = auto()  # its key is its own; it waits for a place
    RUNNING = auto()


class _Item:
    """A delivery that waits: for its key, then for a place."""

    __slots__ = ("held", "key", "stage", "turn")

    def __init__(self, held: HeldDelivery, key: str | None) -> None:
        self.held = held
        self.key = key
        self.stage = _Stage.BEHIND
        self.turn: asyncio.Future[None] | None = None

    def is_over(self) -> bool:
        """Say whether it waits no more, though it wasn't begun with: it is about to be given back, or was lost."""
        return self.turn is not None and self.turn.done()


class _Key:
    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[_Item] = deque()


class Gate:
    """Called in the place of a handler's invoker, for each delivery in a task of its own, which keeps its lease.

    It is the limit of its consumer's intake as well. What it hasn't begun with is given back by `let_go`, and no
    attempt was made. `consumer` is to be set before the first call, `inner` where there is another limit beside it.
    """

    consumer: Consumer

    def __init__(
        self,
        invoker: Callable[[Delivery], Awaitable[None]],
        slots: Slots,
        *,
        name: str,
        per_key: PerKey | None,
        priority: int,
        clock: Clock,
    ) -> None:
        self.name = name
        self.priority = priority
        self.passed = 0
        """How many calls of others began while what is here waited."""
        self.ready: deque[_Item] = deque()
        """What waits for nothing but a place."""
        self.changed = asyncio.Event()
        self.why = "room"
        self.inner: Limit | None = None
        self._invoker = invoker
        self._slots = slots
        self._per_key = per_key
        self._clock = clock
        self._keys: dict[str, _Key] = {}
        self._behind = 0  # how many wait for their key
        self._waiting: dict[HeldDelivery, _Item] = {}
        self._pace = Pace(ConsumerOptions(concurrency=slots.calls), counts=True)
        self._pace.follow()
        self._refused_since: float | None = None
        self._ending = False
        slots.gates.append(self)

    def shares(self, other: Gate) -> bool:
        """Say whether both are of one room."""
        return self._slots is other._slots

    def options(self, given: ConsumerOptions) -> ConsumerOptions:
        """Return how its consumer receives: all that may be here has a task, and nothing waits before it."""
        ahead = self._slots.calls + (0 if self._per_key is None else self._per_key.waiting)
        most = self._slots.calls + ahead
        return ConsumerOptions(most, most, given.max_lease, given.grace, given.retry)

    def resize(self, calls: int) -> None:
        """Have so many calls run at once from now on, here and wherever the room is shared."""
        self._slots.resize(calls)
        for gate in self._slots.gates:
            gate._pace.resize(ConsumerOptions(concurrency=calls))

    # The intake ------------------------------------------------------------------------------------------------------

    async def ask(self, most: int) -> tuple[int, float]:
        """Say how many of `most` may be taken; see `polybus.flow.Limit`."""
        count, self.why = self._allowed(most)
        if count <= 0:
            return 0, self._wait()
        self._refused_since = None
        if self.inner is not None:
            count, wait = await self.inner.ask(count)
            self.why = "limit"
            return count, wait
        return count, 0.0

    def _allowed(self, most: int) -> tuple[int, str]:
        if self._per_key is not None and self._behind >= self._per_key.waiting:
            return 0, "key"
        here = unbegun(self.consumer) - self._behind
        if self._slots.are_wanted_above(self.priority):
            return (1, "") if here <= 0 else (0, "priority")  # one is taken all the same, to have its turn
        room = self._pace.window - self._slots.running - here
        if self.ready and room < max(1, self._slots.calls // 4):
            room = 0  # while something is there to begin with, more at once is worth waiting for
        return min(most, room), "room"

    def _wait(self) -> float:
        """Return after how long to look again; LONG and more has a driver that takes ahead rest."""
        now = self._clock.monotonic()
        if self._refused_since is None or self.why == "room":
            self._refused_since = now
        return LONG if now - self._refused_since >= LONG else LOOK

    async def took(self, count: int) -> None:
        """Note that so many came."""
        if self.inner is not None:
            await self.inner.took(count)

    async def aclose(self) -> None:
        """Do nothing: another limit beside it is closed by who made it."""

    # Handling --------------------------------------------------------------------------------------------------------

    async def __call__(self, delivery: Delivery) -> None:
        held = held_of(delivery)
        if self._ending:
            held.begun, held.cancelled = False, True  # it is given back, as what is taken from a handler
            raise asyncio.CancelledError
        item = _Item(held, self._key_of(delivery))
        if not self._enter(item):
            await self._until_its_turn(item)
        began = self._clock.monotonic()
        try:
            await self._invoker(delivery)
        finally:
            took = self._clock.monotonic() - began
            for gate in self._slots.gates:
                gate._pace.took(took)
            self._leave(item)

    def _key_of(self, delivery: Delivery) -> str | None:
        if self._per_key is None:
            return None
        try:
            return self._per_key.key_of(delivery.message)
        except Exception:
            _log.exception("handler %s failed: the key of message %s can't be told", self.name, delivery.id)
            raise

    async def _until_its_turn(self, item: _Item) -> None:
        held = item.held
        item.turn = asyncio.get_running_loop().create_future()
        self._waiting[held] = item
        held.begun = False
        try:
            await item.turn
        except asyncio.CancelledError:
            held.begun = False
            self._withdraw(item)
            raise
        finally:
            self._waiting.pop(held, None)
        if held.state is State.LOST or held.lease_until <= self._clock.monotonic():
            # The keeper hasn't seen it yet: nothing is handled whose lease is over.
            self._leave(item)
            raise LeaseLost(held.lost_text())

    def _enter(self, item: _Item) -> bool:
        """Begin with it, if its key and a place are free; else it waits for what isn't."""
        key = item.key
        if key is not None and self._per_key is not None:
            there = self._keys.get(key)
            if there is None:
                there = self._keys[key] = _Key()
            if there.running >= self._per_key.most:
                there.waiting.append(item)
                self._behind += 1
                self.changed.set()  # it takes no room
                return False
            there.running += 1
        if self._slots.take():
            item.stage = _Stage.RUNNING
            return True
        item.stage = _Stage.READY
        self.ready.append(item)
        return False

    def begin(self) -> bool:
        """Begin with what has waited longest for a place, which the caller took for it; say whether there was one."""
        while self.ready:
            item = self.ready.popleft()
            if not item.is_over():
                assert item.turn is not None  # noqa: S101 - whatever waits has been given one
                item.stage = _Stage.RUNNING
                item.held.begun = True  # from now on it takes a place, and no room before it
                item.turn.set_result(None)
                return True
        return False

    def _leave(self, item: _Item) -> None:
        self._free(item)
        self._slots.leave()

    def _free(self, item: _Item) -> None:
        """Let the next one of its key wait for a place."""
        if item.key is None:
            return
        key = self._keys[item.key]
        while key.waiting:
            following = key.waiting.popleft()
            self._behind -= 1
            if not following.is_over():
                following.stage = _Stage.READY
                self.ready.append(following)
                return
        key.running -= 1
        if not key.running:
            del self._keys[item.key]

    def _withdraw(self, item: _Item) -> None:
        """Forget one that waits, wherever it does; give back its place where it had just got one."""
        if item.stage is _Stage.RUNNING:
            self._leave(item)
            return
        if item.stage is _Stage.READY:
            if item in self.ready:
                self.ready.remove(item)
            self._free(item)
        elif item.key is not None and item in (waiting := self._keys[item.key].waiting):
            waiting.remove(item)
            self._behind -= 1
        self._slots.fill()

    # Giving back -----------------------------------------------------------------------------------------------------

    def let_go(self, ending: bool) -> None:
        """Give back what wasn't begun with; with `ending` all that comes from now on, too."""
        self._ending = self._ending or ending
        for item in list(self._waiting.values()):
            item.held.cancel()
        let_go = getattr(self._invoker, "let_go", None)
        if let_go is not None:
            let_go(ending)
        self.changed.set()

    def spent(self, delivery: HeldDelivery) -> None:
        """Give back one that wasn't begun with, while there is time for it: its lease can't be extended any more."""
        if delivery in self._waiting:
            delivery.cancel()
