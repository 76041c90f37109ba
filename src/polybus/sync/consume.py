"""Deliveries for code that blocks."""

from __future__ import annotations

import concurrent.futures
import contextvars
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from polybus.bus.consumer import Consumption
from polybus.bus.delivery import Delivery
from polybus.durations import Duration
from polybus.message import Message
from polybus.sync.portal import Portal

__all__ = ["SyncConsumption", "SyncDelivery"]


class SyncDelivery:
    """A message, and the duty to settle it: `polybus.Delivery` for code that blocks.

    As a context manager: leaves cleanly, acks; an error, nacks and re-raises (Retry and DeadLetter are absorbed);
    KeyboardInterrupt and SystemExit give it back at once; already settled, nothing. Its lease is kept by the portal's
    thread; when it is lost `lost` is set, and settling raises LeaseLost.
    """

    __slots__ = ("_context", "_delivery", "_portal", "_tokens")

    def __init__(self, portal: Portal, delivery: Delivery) -> None:
        self._portal = portal
        self._delivery = delivery
        self._context: contextvars.Context | None = None
        self._tokens: list[tuple[contextvars.ContextVar[Any], contextvars.Token[Any]]] = []

    @property
    def message(self) -> Message:
        """The message, as it was published."""
        return self._delivery.message

    @property
    def body(self) -> bytes:
        """The message's body."""
        return self._delivery.message.body

    @property
    def attributes(self) -> Mapping[str, str]:
        """The message's attributes."""
        return self._delivery.message.attributes

    @property
    def ordering_key(self) -> str | None:
        """The message's ordering key, None where it has none."""
        return self._delivery.message.ordering_key

    @property
    def id(self) -> str:
        """The message's id."""
        return self._delivery.message.id

    @property
    def attempt(self) -> int:
        """Which attempt at handing the message over this is, from 1."""
        return self._delivery.attempt

    @property
    def source(self) -> str:
        """The subscription or queue that it came from."""
        return self._delivery.source

    @property
    def redelivered(self) -> bool:
        """Whether it may have been delivered before, or came out of its order."""
        return self._delivery.redelivered

    @property
    def lease_until(self) -> float:
        """When its lease ends as far as is known, by the `monotonic` of the bus's clock; later once it is extended."""
        return self._delivery.lease_until

    @property
    def lost(self) -> bool:
        """Whether its lease ended before it was settled; code that takes long looks here and stops."""
        return self._delivery.lost

    @property
    def settled(self) -> bool:
        """Whether it was settled: acked, given back, or dead-lettered."""
        return self._delivery.settled

    def __repr__(self) -> str:
        return f"Sync{self._delivery!r}"

    def ack(self) -> None:
        """Say that it is done with; returns once the backend knows. Raises LeaseLost, BackendError."""
        self._portal.call(self._delivery.ack)

    def nack(self, *, delay: Duration | None = None) -> None:
        """Give it back, to come again after `delay` (0 to 600 s; the subscription's own backoff where None)."""
        self._portal.call(lambda: self._delivery.nack(delay=delay))

    def dead_letter(self, reason: str, description: str = "") -> None:
        """Put it among the dead letters; returns once it is there. Raises LeaseLost, BackendError."""
        self._portal.call(lambda: self._delivery.dead_letter(reason, description))

    # What hooks set for the handler (the trace context) is set in the portal's task; it is carried over into this
    # thread's context for the length of the block, as if the block ran there.

    def __enter__(self) -> SyncDelivery:
        context = contextvars.copy_context()
        self._portal.call(self._delivery.__aenter__, context=context)
        self._context = context
        before = contextvars.copy_context()
        changed = [(variable, value) for variable, value in context.items() if before.get(variable) is not value]
        self._tokens = [(variable, variable.set(value)) for variable, value in changed]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        for variable, token in reversed(self._tokens):
            variable.reset(token)
        self._tokens = []
        return self._portal.call(lambda: self._delivery.__aexit__(kind, error, traceback), context=self._context)


class SyncConsumption:
    """An iterator of deliveries, open for the length of its `with` block; several threads may share it.

    Leaving the block gives back what wasn't settled, and waits, up to the grace, for deliveries that other threads have
    inside a `with` of their own.
    """

    def __init__(self, portal: Portal, opening: Consumption) -> None:
        self._portal = portal
        self._opening = opening
        # Waits that were interrupted or timed out: what they bring is for the next who asks.
        self._waiting: deque[concurrent.futures.Future[Delivery | None]] = deque()

    @property
    def in_flight(self) -> int:
        """How many deliveries are held now."""
        return self._opening.in_flight

    def __enter__(self) -> SyncConsumption:
        self._portal.call(self._opening.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not (self._portal.closed or self._portal.forked):
            self._portal.call(lambda: self._opening.__aexit__(None, None, None))

    def __iter__(self) -> SyncConsumption:
        return self

    def __next__(self) -> SyncDelivery:
        delivery = self._take(None)
        if delivery is None:
            raise StopIteration
        return delivery

    def receive(self, timeout: float) -> SyncDelivery | None:
        """Return the next delivery, or None where there is none within `timeout` seconds, or ever."""
        return self._take(timeout)

    def drain(self, grace: Duration | None = None) -> None:
        """End the iteration, wait for what is being handled, and give the rest back (contract, D12)."""
        self._portal.call(lambda: self._opening.drain(grace))

    def _take(self, timeout: float | None) -> SyncDelivery | None:
        try:
            future = self._waiting.popleft()
        except IndexError:
            future = self._portal.submit(self._next)
        try:
            delivery = self._portal.wait(future, timeout)
        except TimeoutError:
            if future.done() and future.exception() is not None:
                raise
            self._waiting.append(future)
            return None
        except KeyboardInterrupt:
            self._waiting.append(future)
            raise
        return None if delivery is None else SyncDelivery(self._portal, delivery)

    async def _next(self) -> Delivery | None:
        try:
            return await self._opening.__anext__()
        except StopAsyncIteration:
            return None
