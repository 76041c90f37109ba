"""The bus: what services hold in their hands."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from polybus.binding import Binding
from polybus.bus.connection import Connection
from polybus.bus.doubt import Doubt
from polybus.bus.encoders import encoder_for
from polybus.bus.hooks import combine
from polybus.bus.options import ConsumerOptions, PublisherOptions
from polybus.bus.outcomes import ids_of, note
from polybus.bus.outgoing import Encoder, check_several
from polybus.bus.rights import Checker
from polybus.bus.send_queue import WAITING, Item
from polybus.clock import Clock
from polybus.driver import Driver, Peeked, Stats
from polybus.durations import Duration
from polybus.errors import Fault, PublishFailed
from polybus.feature import Feature
from polybus.message import Sent
from polybus.telemetry import Hooks

# What publishes, consumes and looks at dead letters is imported by the first call that needs it: a service that only
# publishes starts without the other half, and reading what `polybus` exports takes neither.
if TYPE_CHECKING:
    from polybus.bus.blocked import Blocked
    from polybus.bus.consumer import Consumer, Consumption, Handler
    from polybus.bus.publisher import Publisher
    from polybus.bus.redrive import DeadLetters
    from polybus.bus.through import Through
    from polybus.middleware import AnyMiddleware

__all__ = ["Bus", "connection_of", "consumer_of", "middleware_of", "publisher_of", "through_of"]

# After so many messages `publish_many` lets others run, though none waited for room: each takes some 10 us.
TURN = 1_000
# What programs that were written to 0.1 may call; gone with 0.2, as the former names of modules (polybus.moved).
FORMER_NAMES = frozenset(("call", "driver", "open_receiver", "open_return", "run"))


class Bus:
    """Publishes to and consumes from what one binding names; for one event loop, within its `async with` block.

    `binding` is what it was connected by, `origin` says in words where that came from, and `clock` tells it the time.
    """

    def __init__(
        self,
        binding: Binding,
        *,
        origin: str,
        service: str | None,
        clock: Clock,
        hooks: Sequence[Hooks],
        publisher: PublisherOptions,
        driver: Driver | None,
        doubt: str = "",
        middleware: Sequence[AnyMiddleware] = (),
    ) -> None:
        self.binding = binding
        self.origin = origin
        self._doubt = Doubt(f"bus {binding.bus!r}", doubt, clock)
        self.clock = clock
        self._checker = Checker(binding, service)
        self._connection = Connection(
            binding, origin=origin, clock=clock, hooks=combine(hooks), options=publisher, driver=driver
        )
        self._publishers = self._connection.publishers
        self._encoders: dict[str, Encoder] = {}
        self._middleware: tuple[AnyMiddleware, ...] = ()
        self._through: Through | None = None
        if binding.bodies is not None and binding.bodies.over is not None:
            from polybus.bus.beside import with_bodies

            middleware = with_bodies(binding, middleware, clock)
        if middleware:
            self._pass_through(middleware, publisher)

    def _pass_through(self, middleware: Sequence[AnyMiddleware], options: PublisherOptions) -> None:
        """Have what is published pass through middleware; a bus that has none doesn't even ask whether it has."""
        from polybus.bus.chain import checked, publishing
        from polybus.bus.through import Through

        self._middleware = checked(middleware)
        if publishing(self._middleware):
            self._through = through = Through(
                self._middleware,
                clock=self.clock,
                options=options,
                encoder=lambda target: self._encoders.get(target) or self._encoder(target),
                publisher=self._publisher,
            )
            self.publish = through.publish  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return f"Bus({self.binding.bus!r}, backend={self.backend!r}, from {self.origin})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Return what a bus showed until 0.2 though it is not for its users, with a warning."""
            if name not in FORMER_NAMES:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            warnings.warn(f"Bus.{name} is polybus's own, and no name of a bus after 0.1", DeprecationWarning, 2)
            return getattr(self._connection, name)

    @property
    def backend(self) -> str:
        """The backend's registered name."""
        return self.binding.backend

    async def __aenter__(self) -> Bus:
        await self._connection.open()
        self._doubt.tell()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Drain what consumes, send what was published, and disconnect; may be called again, which waits for the first.

        Handlers that finish meanwhile may still publish; nothing new is consumed. Once they are done, publishing
        raises BusClosed. Cancelling it ends the grace of every handler; each time it is cancelled again it ends
        what it waits for then: the drain first, then what was published. Whatever fails is raised once everything
        else is closed; what hangs is left to itself and logged. In a forked process it does nothing: the bus is its
        parent's.
        """
        await self._connection.aclose()

    # Publishing ------------------------------------------------------------------------------------------------------

    async def publish(
        self,
        target: str,
        body: object,
        *,
        attributes: Mapping[str, str] | None = None,
        ordering_key: str | None = None,
        delay: Duration = 0.0,
    ) -> str:
        """Publish one message to a topic or queue; return its id once the backend has durably accepted it.

        `body` is bytes, str, a Message, or what JSON can say: dict, dataclass, msgspec or pydantic model. `delay` is
        in seconds, or a text such as "5m", or a timedelta; at most the target's declared `max_delay`. Waits while the
        publisher is full. Raises PublishFailed with the reason otherwise, UnsupportedFeature for a key or delay that
        the topology doesn't declare, BindingError for an unknown target.
        """
        self._connection.check_loop()
        encoder = self._encoders.get(target) or self._encoder(target)
        outgoing, blocks = encoder.outgoing(body, attributes, ordering_key, delay)
        publisher = self._publishers.get(target) or self._connection.publisher(self._checker.target(target))
        outcome = await publisher.send(outgoing, encoder.listener(outgoing), blocks=blocks)
        if isinstance(outcome, Fault):
            raise PublishFailed((outcome,))
        return outcome.id

    @overload
    async def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: Literal[False] = False
    ) -> list[str]: ...

    @overload
    async def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: Literal[True]
    ) -> list[Sent | Fault]: ...

    async def publish_many(
        self, target: str, messages: Iterable[object], *, outcomes: bool = False
    ) -> list[str] | list[Sent | Fault]:
        """Publish messages, in order; return their ids once all are accepted.

        `messages` are bodies as in `publish`, or Message values; they are taken as there is room for them. What can't
        be sent (it can't be encoded, or has a key that the topology doesn't declare) fails alone. Raises PublishFailed
        with the outcome of each once all are known; with `outcomes` it returns them instead, a Sent or a Fault for
        each. What is published meanwhile comes after all of them. Where one waits in vain for as long as the deadline,
        or the publisher can't be opened, the rest fails with it. Cancelled, it ends at once; what was taken is sent.
        Raises TypeError for one body instead of several.
        """
        self._connection.check_loop()
        check_several(messages)
        publish_each = self._publish_each if self._through is None else self._through.publish_each
        known, refused = await publish_each(target, messages)
        return known if outcomes else ids_of(known, refused)

    async def _publish_each(
        self, target: str, messages: Iterable[object]
    ) -> tuple[list[Sent | Fault], Exception | None]:
        """Publish messages; return the outcome of each, and the first of what they raised before the bus had them."""
        encoder = self._encoders.get(target) or self._encoder(target)
        publisher = self._publishers.get(target) or self._connection.publisher(self._checker.target(target))
        taken: list[Item | Fault] = []
        refused: Exception | None = None
        try:
            with publisher.turn() as turn:
                for message in messages:  # one by one: what the publisher has no room for isn't even made yet (P7)
                    try:
                        outgoing, blocks = encoder.outgoing(message, None, None, 0.0)
                    except Exception as error:  # noqa: BLE001 - a body's own code may raise anything
                        refused = refused or error
                        taken.append(publisher.refuse(message, encoder.refusal(error)))
                    else:
                        item = publisher.put(outgoing, encoder.listener(outgoing), blocks=blocks, turn=turn)
                        taken.append(item)
                        if item.stage == WAITING:
                            await publisher.room(item)
                    if not len(taken) % TURN:
                        await asyncio.sleep(0)
        except Exception as error:
            note(error, target, await _outcomes(publisher, taken))
            raise
        return await _outcomes(publisher, taken), refused

    def resume(self, target: str, ordering_key: str | None = None) -> None:
        """Let messages of an ordering key, or of all keys, pass again after one of them failed (contract, P6)."""
        self._checker.target(target)
        if (publisher := self._publishers.get(target)) is not None:
            publisher.resume(ordering_key)

    def blocked(self, target: str) -> Blocked:
        """Return the ordering keys of a topic or queue that wait for `resume`, each with why its message failed."""
        self._checker.target(target)
        from polybus.bus.blocked import Blocked

        publisher = self._publishers.get(target)
        return publisher.blocked() if publisher is not None else Blocked({}, all=False)

    def _encoder(self, target: str) -> Encoder:
        entity = self._checker.target(target)
        connection, service = self._connection, self._checker.service
        encoder = encoder_for(entity, self.binding, connection.hooks, service=service, clock=self.clock)
        self._encoders[target] = encoder
        return encoder

    def _publisher(self, target: str) -> Publisher:
        self._connection.check_loop()
        return self._publishers.get(target) or self._connection.publisher(self._checker.target(target))

    # Consuming -------------------------------------------------------------------------------------------------------

    def consume(
        self,
        source: str,
        *,
        concurrency: int = 16,
        prefetch: int | None = None,
        max_lease: Duration = 3600.0,
        grace: Duration = 30.0,
    ) -> Consumption:
        """Return the deliveries of a subscription or queue, as `async with bus.consume(...) as deliveries`.

        Options are those of ConsumerOptions; here `concurrency` only sizes the prefetch. Raises BindingError for an
        unknown source; iterating raises BackendError where the backend ends it.
        """
        from polybus.bus.consumer import Consumption

        options = ConsumerOptions(concurrency, prefetch, max_lease, grace)
        entity = self._checker.source(source)
        return Consumption(lambda: self._connection.receiver(entity, options))

    def consumer(self, source: str, handler: Handler, *, options: ConsumerOptions | None = None) -> Consumer:
        """Return a consumer that calls `handler` for each delivery of a subscription or queue, once it is run.

        The bus's middleware is around it.
        """
        if self._middleware:
            from polybus.bus.chain import Wrapped

            handler = Wrapped(self._middleware, handler)
        return self._consumer(source, handler, options)

    def _consumer(self, source: str, handler: Handler, options: ConsumerOptions | None) -> Consumer:
        """Return a consumer of a handler that has its middleware around it already."""
        from polybus.bus.consumer import Consumer

        entity = self._checker.source(source)
        chosen = options or ConsumerOptions()
        return Consumer(lambda stop: self._connection.receiver(entity, chosen, stop), handler, chosen)

    # Operating -------------------------------------------------------------------------------------------------------

    def dead_letters(self, name: str) -> DeadLetters:
        """Return the dead letters of a subscription or queue."""
        from polybus.bus.redrive import DeadLetters

        return DeadLetters(self._connection, self._checker.operated(name))

    async def stats(self, name: str) -> Stats:
        """Return what is known of a subscription or queue now, its dead letters counted."""
        entity = self._checker.operated(name)
        stats = await self._connection.call(lambda admin: admin.stats(entity))
        if stats.dead is None and entity.dead_letter is not None:
            dead = await self._connection.call(lambda admin: admin.stats(entity.dead_letters))
            stats = Stats(stats.waiting, stats.leased, stats.delayed, dead.waiting, stats.oldest_age)
        return stats

    def peek(self, name: str, count: int = 100) -> AsyncIterator[Peeked]:
        """Look at up to `count` messages that wait, without changing anything that others see."""
        from polybus.bus.redrive import peek

        return peek(self._connection, self._checker.operated(name), count)

    async def purge(self, name: str) -> int | None:
        """Delete every message that waits in a subscription or queue; return how many, where the cloud tells.

        A service has to consume it too: what waits is live, and who may only operate purges `dead_letters(name)`.
        """
        from polybus.bus.redrive import LONG

        entity = self._checker.purged(name)
        return await self._connection.call(lambda admin: admin.purge(entity), seconds=LONG)

    async def describe(self, name: str) -> Mapping[str, Any]:
        """Return the cloud's own description of a topic, subscription or queue; raise BackendError where it is gone."""
        entity = self.binding.entity(name)
        return await self._connection.call(lambda admin: admin.describe(entity))

    async def ping(self) -> None:
        """Reach the backend; raise BackendError where it can't be reached or refuses.

        The embedded backend, where nothing asked for it, is a WARNING once a minute.
        """
        await self._connection.call(lambda admin: admin.ping())
        self._doubt.tell()

    def features(self, name: str) -> Feature:
        """Return what the backend can do with a topic, subscription or queue."""
        return self._connection.opened().features(self.binding.entity(name))  # from any thread: nothing waits

    def raw(self, name: str) -> object:
        """Return the SDK's own client and the address, for what polybus doesn't do."""
        return self._connection.opened().raw(self.binding.entity(name))


def consumer_of(bus: Bus, source: str, handler: Handler, options: ConsumerOptions) -> Consumer:
    """Return a consumer that calls a handler with no middleware around it, for an app, which puts it there itself."""
    return bus._consumer(source, handler, options)


def middleware_of(bus: Bus) -> tuple[AnyMiddleware, ...]:
    """Return the bus's middleware, outermost first."""
    return bus._middleware


def publisher_of(bus: Bus, target: str) -> Publisher:
    """Return what sends to a topic or queue; raises as `Bus.publish` does before it takes a message."""
    return bus._publisher(target)


def through_of(bus: Bus) -> Through | None:
    """Return what publishes through middleware, or None where there is none around publishing."""
    return bus._through


def connection_of(bus: Bus) -> Connection:
    """Return what a bus works with, for the other parts of polybus."""
    return bus._connection


async def _outcomes(publisher: Publisher, taken: Iterable[Item | Fault]) -> list[Sent | Fault]:
    return [each if isinstance(each, Fault) else each.outcome or await publisher.outcome(each) for each in taken]
