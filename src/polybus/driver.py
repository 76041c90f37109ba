"""The interface that a backend implements.

It is small, batch-shaped and asynchronous. A driver never retries, splits, sleeps or logs, and never raises for one
item of a batch: it answers per item, in order, with as many answers as it was given items. Batching, retries,
prefetch, leases and settling live once, in `polybus.bus`. Where a call as a whole fails, it raises the SDK's own
exception, and `Driver.fault` says what that means for each item. `polybus.backend` has base classes for drivers, which
do for a small one most of what is said here.

All calls come from one event loop. On one consumer there is one `receive_batch` at a time, with several `settle_batch`
and `extend_batch` beside it and each other, also after `stop`, and none after `aclose`. On one publisher there are
several `publish_batch`, never two with messages of one ordering key. On an admin driver any calls are made at once. The
bus bounds each call; a driver has timeouts of its own all the same.

Times called `lease_until` are readings of the `Clock.monotonic` that the driver was made with, counted from before the
call that granted them was sent: never later than what the cloud keeps.

What the system itself does, as it was deployed, and no driver in its place:

- Order. With `Feature.ORDERING` nobody else gets any message of a key while one of it is out (contract, D10). Dead
  letters have neither an order nor a limit of attempts: what is asked is `Entity.keeps_order`, not `Entity.ordered`.
- Filters (D8), as they are there: publishers may have an older binding, and other programs have none.
  `polybus.topology.filters.parse` gives an expression's tree, and `plain` that as lists.
- Its own limit of deliveries is the net under the bus's, for consumers that crash: `polybus.portable.net_limit` says
  where, and its letters have the reason `MAX_ATTEMPTS_EXCEEDED` (D6).
- What it drops as duplicates it tells by `Outgoing.dedup_id` and nothing else (P5, D13).

Any bytes and any Unicode pass (P3): what the system can't carry goes into one attribute, as docs/wire.md says and
`polybus.envelope` does it. Messages of other programs are delivered, with an id of the system's (D14). What isn't there
is NOT_FOUND, from the first call that needs it at the latest, `AdminDriver.describe` among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from polybus.binding import Binding, Entity
from polybus.clock import Clock
from polybus.errors import Fault
from polybus.feature import Feature
from polybus.message import Message, Sent

__all__ = [
    "VERSION",
    "Ack",
    "AdminDriver",
    "BatchLimits",
    "ConsumerDriver",
    "DeadLetter",
    "Driver",
    "DriverFactory",
    "LeaseUntil",
    "Nack",
    "Outgoing",
    "Peeked",
    "Prepared",
    "PublisherDriver",
    "Received",
    "Settlement",
    "Stats",
    "ToDeadLetters",
]

VERSION = "1.2"
"""Of this interface: a minor version adds what has a default, a major one may break drivers."""

R = TypeVar("R")
W = TypeVar("W")
W_co = TypeVar("W_co", covariant=True)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch call may hold.

    `count` items and `total_bytes` bytes at most (the sum of `Prepared.size`). `mixes_keys`: one batch may hold
    messages of different ordering keys (Google: no). `repeats_key`: it may hold several of one key; False where the
    entries of a batch can fail one by one, so that a later one would overtake (SQS FIFO; contract, P6).
    """

    count: int
    total_bytes: int
    mixes_keys: bool = True
    repeats_key: bool = True


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message on its way out.

    Its message always has an id, and an ordering key where the target is ordered. `delay` is in seconds, and within
    what the target declares; it holds up the later messages of its key as well. `moves` counts the message's moves to
    and from dead letters, this one included: 0 at publish. `token` names this one call of `publish` (its retries share
    it, no other call does), or, for a move, the copy that moves (`Received.token`); empty where the message's id does,
    since the call itself made that.
    """

    message: Message
    delay: float = 0.0
    moves: int = 0
    token: str = ""

    @property
    def dedup_id(self) -> str:
        """The backend's deduplication key: the token at publish, `<token>.<n>` at the n-th move.

        Deduplication belongs to one call and its retries, never to an id that came along (contract, P5).
        """
        token = self.token or self.message.id
        return f"{token}.{self.moves}" if self.moves else token


class Prepared(msgspec.Struct, Generic[W], frozen=True, gc=False):
    """A message in its wire form: made once, sent as often as it takes. `size` is in bytes, as the cloud counts.

    `wire` must not lead back here: the garbage collector doesn't look at these (see polybus.message).
    """

    outgoing: Outgoing
    size: int
    wire: W


class Received(msgspec.Struct, Generic[R], frozen=True):
    """One attempt at handing a message over.

    `attempt` starts at 1, and anew after a redrive. `group` is set where order is kept (`Entity.keeps_order`):
    deliveries that share it are handled one at a time, in the order in which the driver returns them. It stands for the
    ordering key; a message of another program that has none has no group, or one of its own. `redelivered`: it may have
    been delivered before, or came out of its order (a repeat, a redriven message). `moves` counts its moves to and from
    dead letters, the one that brought it here included. From dead letters, `reason` and `description` say why it is
    there. `token` names this copy in the backend: the same at each of its deliveries, and no other copy's, even of one
    id; at most 120 printable ASCII characters; empty where the message's id is as good. `at`, of a dead letter, is when
    it came there, in seconds since the epoch, where the cloud tells.
    """

    message: Message
    attempt: int
    lease_until: float
    receipt: R
    group: str | None = None
    redelivered: bool = False
    moves: int = 0
    reason: str | None = None
    description: str | None = None
    token: str = ""
    at: float | None = None


# gc=False: they lead to what was received, and live until the backend has answered.
class Ack(msgspec.Struct, Generic[R], frozen=True, gc=False):
    """Done with it."""

    received: Received[R]


class Nack(msgspec.Struct, Generic[R], frozen=True, gc=False):
    """Give it back, to be delivered again after `delay` seconds; over 0 only with Feature.NACK_DELAY.

    A delay holds up the later messages of its ordering key.

    `attempts`, where it is not None, is how many attempts were made of it by now: fewer than `received.attempt` where
    no handler began, more where it was retried in place. With Feature.ATTEMPTS the next delivery's attempt is one
    more; other backends keep their own count and ignore it (contract, D5).
    """

    received: Received[R]
    delay: float = 0.0
    attempts: int | None = None


class ToDeadLetters(msgspec.Struct, Generic[R], frozen=True, gc=False):
    """Put it among the dead letters, unchanged but for the reason and `moves` + 1.

    Its retention begins anew there. `reason` and `description` are fit to travel: Unicode without control characters
    but tab and line feed, within the 2 KiB that every message keeps free.

    Where a cloud has no such operation, the driver sends a copy and then acks: a crash in between leaves the letter
    and a redelivery, never neither (contract, D7). For what comes from dead letters the answer is INVALID.
    """

    received: Received[R]
    reason: str
    description: str = ""


DeadLetter = ToDeadLetters
"""Its former name. `polybus.DeadLetter` is what handlers raise."""

Settlement = Ack[R] | Nack[R] | ToDeadLetters[R]


class LeaseUntil(msgspec.Struct, frozen=True):
    """The lease that was granted, as a reading of the clock's `monotonic`."""

    at: float


@dataclass(frozen=True, slots=True)
class Stats:
    """What is known of an entity now; None where the cloud doesn't tell.

    Counts are of messages and approximate on the clouds; `oldest_age` is in seconds. What waits could be received now,
    or once its ordering key is free; what was given back with a delay is delayed.
    """

    waiting: int | None = None
    leased: int | None = None
    delayed: int | None = None
    dead: int | None = None
    oldest_age: float | None = None


@dataclass(frozen=True, slots=True)
class Peeked:
    """A message that was looked at and not received.

    `position` is where to go on (`peek(after=...)`). `at` is when it came there, in seconds since the epoch, where the
    cloud tells.
    """

    position: str
    message: Message
    attempt: int = 0
    reason: str | None = None
    description: str | None = None
    at: float | None = None


class PublisherDriver(Protocol[W]):
    """Sends to one topic or queue."""

    @property
    def limits(self) -> BatchLimits: ...

    def prepare(self, outgoing: Outgoing) -> Prepared[W] | Fault:
        """Encode a message, or say why it can't be sent (contract, P4).

        Pure: no input or output, no waiting. Room for dead-lettering is kept free: 2 KiB and one attribute. What is
        wrong is told with the limit in digits and the names of the backend and the target; of an attribute with its
        name, of a key with the words "ordering key". What moves was delivered once as it is, and may have any attribute
        names and any key.
        """

    async def publish_batch(self, batch: Sequence[Prepared[W]]) -> Sequence[Sent | Fault]:
        """Send a batch that keeps to `limits`; return what became of each.

        Returns once the cloud has durably accepted or refused each message. A cancelled call may have been done; the
        bus cancels one that is over its time, and waits for its end no longer. Where it raises, `fault` speaks for
        every message; the bus then sends the batch again in parts, unless the fault is of the target. Where the system
        drops no duplicates, what is sent again after that has to arrive `redelivered`.
        """

    async def aclose(self) -> None:
        """Free what it holds; no call is under way, and none follows."""


class ConsumerDriver(Protocol[R]):
    """Receives from one subscription, queue, or the dead letters of one.

    One that keeps an order and has more at hand than it has returned may have a method `lost(received)` as well: the
    bus calls it, in the turn in which it finds out, for each delivery that it gives up without having settled it. What
    is at hand of the same group must not be returned any more where it would come again behind that one.

    One that takes ahead, between two receives, may have a method `rest()`: the bus calls it where it will ask for
    nothing for a while. What is at hand is to be given back, and nothing more taken, until the next `receive_batch`;
    one that is under way returns.
    """

    @property
    def limits(self) -> BatchLimits:
        """What one settle or extend call may hold; `total_bytes` doesn't apply."""

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[Received[R]]:
        """Return up to `count` messages, as soon as there is one, or none after about `wait` seconds.

        `wait` is at most 20 s. Never cancelled by the bus: on drain the call is awaited, and what it brings is given
        back (contract, D12); `stop` makes it return early where the cloud allows that without losing messages.
        """

    async def settle_batch(self, settlements: Sequence[Settlement[R]]) -> Sequence[Fault | None]:
        """Settle each; None is done, LEASE_LOST says that the receipt is no longer good.

        A receipt is good for one lease: neither after its end, nor for a later lease of the same message, be it of this
        consumer and in the same call. May be called after `stop`.
        """

    async def extend_batch(self, received: Sequence[Received[R]], seconds: float) -> Sequence[LeaseUntil | Fault]:
        """Extend each lease to `seconds` from now, or as far as the cloud grants; LEASE_LOST as for settling."""

    async def stop(self) -> Sequence[Received[R]]:
        """End intake and return all that is buffered and was never returned by `receive_batch`.

        A `receive_batch` that is under way returns soon after; none follows. What was received can still be settled
        and extended.
        """

    async def aclose(self) -> None:
        """Free what it holds; everything was settled or its lease may end."""


class AdminDriver(Protocol):
    """What operators do."""

    async def ping(self) -> None:
        """Reach the backend with the credentials that are there; raise what it raises."""

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        """Return the cloud's own description of the entity, as plain values; raise where it is missing."""

    async def stats(self, entity: Entity) -> Stats: ...

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        """Return up to `count` messages after a position, oldest first, without changing anything that others see.

        What waits is shown; what is leased or delayed may be, what expired isn't.

        Without Feature.PEEK, a driver may lease them for the time of the call and give them back: the bus asks for no
        more dead letters than may be held at once, and goes through more of them by receiving.
        """

    async def purge(self, entity: Entity) -> int | None:
        """Delete every message that waits, delayed ones too; return how many, where the cloud tells.

        What is leased may be deleted as well, or be left to who has it.
        """

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        """Return a publisher that puts messages back to this one subscription or queue and no other (contract, D13)."""

    async def aclose(self) -> None: ...


class Driver(Protocol):
    """One backend, connected by one binding."""

    async def open_publisher(self, target: Entity) -> PublisherDriver[Any]:
        """Return a publisher to a topic or queue; raise where it isn't there or can't be reached.

        That it isn't there may show at the first call only, as NOT_FOUND; so for all that is opened here. What is
        raised is the SDK's own, BackendError with a fault, or ConfigError for what is wrong with the binding.
        """

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        """Return a consumer of a subscription, a queue, or (`source.dead_letters`) their dead letters.

        `prefetch` is how many messages the bus asks for as long as it doesn't know how fast they are handled: what a
        driver takes ahead of being asked keeps to that, and grows only by what it is asked for. `concurrency` is how
        many are handled at once.
        """

    async def open_admin(self) -> AdminDriver: ...

    def features(self, entity: Entity) -> Feature: ...

    def fault(self, error: Exception) -> Fault:
        """Say what an exception of the SDK means, by its type or code, never by its text.

        The only place of a backend that names SDK exceptions. What it doesn't know is INTERNAL, with the type's name.
        It never raises. Failing to fetch credentials is UNAVAILABLE, refused ones are UNAUTHENTICATED.
        """

    def raw(self, entity: Entity) -> object:
        """Return the SDK's own client and the entity's address, for what polybus doesn't do."""

    async def aclose(self) -> None:
        """Close all connections; publishers, consumers and admin are closed before."""


class DriverFactory(Protocol):
    """What a backend registers (entry point group `polybus.clouds`)."""

    def __call__(self, binding: Binding, clock: Clock) -> Driver:
        """Return a driver without connecting yet; raise BindingError or MissingExtra for what can be known now."""
