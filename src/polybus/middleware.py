"""What stands around publishing and handling: it may observe, change, and answer by itself.

class Stamped(polybus.middleware.Middleware):
    async def publish(self, outgoing, proceed):
        return await proceed(outgoing.replace(attributes={**outgoing.message.attributes, "stamp": "1"}))

app = polybus.App(middleware=[Stamped()])
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from polybus.message import Message

if TYPE_CHECKING:
    from polybus.bus.delivery import Delivery

__all__ = ["AnyMiddleware", "Middleware", "Publication", "SyncMiddleware"]

_OF_MESSAGES = frozenset(Message.__struct_fields__)


class Publication(msgspec.Struct, frozen=True):
    """A message on its way out, before the bus has it.

    `target` is the topic or queue. `message` has its body as bytes, its id, and the ordering key that the caller gave.
    `delay` is in seconds.
    """

    target: str
    message: Message
    delay: float = 0.0

    def replace(self, **changes: Any) -> Publication:
        """Return a publication with some fields changed: its own, or those of its message, such as `body`.

        Raises TypeError for a name that neither has.
        """
        of_message = {name: changes.pop(name) for name in list(changes) if name in _OF_MESSAGES}
        if of_message:
            changes["message"] = msgspec.structs.replace(changes.get("message", self.message), **of_message)
        return msgspec.structs.replace(self, **changes)


class Middleware:
    """Stands around each publication and each call of a handler; override what you need.

    The one that was registered first is the outermost. What isn't overridden costs nothing. Both methods run on the
    event loop, several calls at once, and must not block it.
    """

    async def publish(self, outgoing: Publication, proceed: Callable[[Publication], Awaitable[str]]) -> str:
        """Return the id of a published message: what `proceed` returns, or another where it isn't called.

        `proceed` takes this publication or another one, hands it on, and returns once the backend has accepted it.
        Called again it is another try of the same message. What is raised here is raised by `bus.publish`; before the
        bus had the message, it holds up the ordering key as any failure does (contract, P6).
        """
        return await proceed(outgoing)

    async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
        """Return where the delivery is done with: it is acked, whether or not `proceed` was called.

        `proceed` takes this delivery, or `delivery.with_message(...)`, and returns or raises as the handler does.
        Raising is a failure as of the handler; polybus.Retry and polybus.DeadLetter mean what they mean there.
        """
        await proceed(delivery)


class SyncMiddleware:
    """A `Middleware` for code that blocks.

    Around a handler that runs in threads, and next to it, `handle` runs in the handler's own thread. Everywhere else
    the methods run in threads of their own. A thread can't be stopped: where its call was given up, `proceed` raises
    LeaseLost around handlers, BusClosed around publishing.
    """

    def publish(self, outgoing: Publication, proceed: Callable[[Publication], str]) -> str:
        """Do what `Middleware.publish` says."""
        return proceed(outgoing)

    def handle(self, delivery: Delivery, proceed: Callable[[Delivery], None]) -> None:
        """Do what `Middleware.handle` says."""
        proceed(delivery)


AnyMiddleware = Middleware | SyncMiddleware
"""Either kind."""
