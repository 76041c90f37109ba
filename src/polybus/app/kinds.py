"""Several types of messages from one source: a handler for each, and what becomes of a type that has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

from polybus.app.executor import Executor, Undecodable
from polybus.app.handler import Handler, Kinds, Unknown
from polybus.bus.delivery import Delivery
from polybus.errors import ConfigError

__all__ = ["ByType", "UnknownType", "joined", "kinds_of"]

# Of a type that a producer made up, as much as a name may have.
_LONGEST = 80


class UnknownType(Undecodable):
    """A message of a type that has no handler; `stops` where nothing more may be taken after it."""

    reason_name = "UnknownType"

    def __init__(self, description: str, *, stops: bool) -> None:
        super().__init__(description)
        self.stops = stops


class ByType:
    """Calls the handler of a message's type: an `Executor` made of those of the handlers."""

    def __init__(self, source: str, kinds: Kinds, executors: Mapping[str | None, Executor]) -> None:
        self._source = source
        self._kinds = kinds
        self._executors = executors
        self._else = executors.get(None)

    async def open(self) -> None:
        for executor in self._executors.values():
            await executor.open()

    async def call(self, delivery: Delivery) -> None:
        """Call the handler of the message's type, or that of all others; raise UnknownType where there is none."""
        kind = delivery.attributes.get(self._kinds.attribute)
        if kind is None:
            from polybus.cloudevents import event_type  # an event says its type in its own way

            kind = event_type(delivery.message)
        executor = self._executors.get(kind, self._else)
        if executor is not None:
            await executor.call(delivery)
        elif self._kinds.unknown != "ignore":
            raise UnknownType(self._unknown(kind), stops=self._kinds.unknown == "pause")

    def _unknown(self, kind: str | None) -> str:
        known = ", ".join(sorted(name for name in self._executors if name is not None))
        found = f"no attribute {self._kinds.attribute!r}" if kind is None else f"the type {kind[:_LONGEST]!r}"
        return f"{found}, and {self._source!r} has handlers for: {known}"

    def left(self) -> list[str]:
        return [call for executor in self._executors.values() for call in executor.left()]

    async def aclose(self) -> None:
        for executor in self._executors.values():
            await executor.aclose()


def kinds_of(source: str, attribute: str, unknown: str) -> Kinds:
    """Return how the types of a source are told apart; raise ConfigError for what can't be meant."""
    if not attribute:
        raise ConfigError(f"types of {source!r}: attribute={attribute!r}: the name of an attribute")
    if unknown not in get_args(Unknown):
        raise ConfigError(f"types of {source!r}: unknown={unknown!r}: one of {', '.join(get_args(Unknown))}")
    chosen: Unknown = "ignore" if unknown == "ignore" else "pause" if unknown == "pause" else "dead-letter"
    return Kinds(attribute, chosen)


def joined(there: Handler | None, new: Handler, kind: str | None) -> Handler:
    """Return the handler of a source that has one already, or None, with another for a type, or for all others.

    Raises ConfigError where two would be of one type, or don't agree on what their one consumer does.
    """
    where = f"handler {new.name} ({new.signature.place})"
    if kind == "":
        raise ConfigError(f"{where}: type={kind!r}: the name of a type of messages")
    together = f"{where}: max_batch and types don't go together: declare a subscription for each type"
    if there is None:
        if kind is not None and new.batching is not None:
            raise ConfigError(together)
        return new if kind is None else replace(new, kinds={kind: new})
    kinds: Mapping[str | None, Handler] = {None: there} if there.kinds is None else there.kinds
    if kind in kinds:
        other = kinds[kind].signature
        if kind is not None:
            raise ConfigError(f"{where}: type {kind!r} of {new.source!r} is handled by {other.name} ({other.place})")
        raise ConfigError(
            f"{where}: {new.source!r} is handled by {other.name} ({other.place}) already; two would share its messages "
            "at random: make one call the other, declare a subscription each, or give each a type of messages"
        )
    if new.batching is not None or there.batching is not None:
        raise ConfigError(together)
    if _shared(new) != _shared(there):
        raise ConfigError(
            f"{where}: the handlers of {new.source!r} share one consumer: give all of them the same concurrency, "
            "prefetch, max_lease, grace, undecodable, breaker, rate_limit, per_key, room and priority"
        )
    return replace(there, kinds={**kinds, kind: new})


def _shared(handler: Handler) -> tuple[object, ...]:
    flow = (handler.breaker, handler.rate_limit, handler.per_key, handler.room, handler.priority)
    return handler.options, handler.undecodable, *flow
