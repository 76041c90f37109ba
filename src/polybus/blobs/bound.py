"""Large bodies where a topology declares them: what a bus does by itself, by what its binding says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec

from polybus.binding import Binding
from polybus.blobs.middleware import Blobs
from polybus.bus.delivery import Delivery
from polybus.clock import Clock
from polybus.errors import MissingExtra
from polybus.middleware import AnyMiddleware, Middleware, Publication

__all__ = ["with_bodies"]


def with_bodies(binding: Binding, middleware: Sequence[AnyMiddleware], clock: Clock) -> Sequence[AnyMiddleware]:
    """Return a bus's middleware with what stores and fetches the bodies that its binding has beside the bus.

    Both are next to the bus: what other middleware sees is whole bodies, on their way out and in. Where there are
    `Blobs` already, these do it. Raises MissingExtra without obstore: found out at the first large body, it would
    become a dead letter.
    """
    over = None if binding.bodies is None else binding.bodies.over
    if over is None or any(isinstance(each, Blobs) for each in middleware):
        return middleware
    if find_spec("obstore") is None:
        raise MissingExtra("obstore", "blobs")
    blobs = Blobs(binding, over=over, clock=clock)
    return (_Fetching(blobs), *middleware, _Storing(blobs))


class _Storing(Middleware):
    """The innermost around publishing."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def publish(self, outgoing: Publication, proceed: Callable[[Publication], Awaitable[str]]) -> str:
        return await self._blobs.publish(outgoing, proceed)


class _Fetching(Middleware):
    """The outermost around handlers."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
        await self._blobs.handle(delivery, proceed)
