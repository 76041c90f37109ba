"""What a binding has beside the bus, and a bus sees to by itself."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from polybus.binding import Binding
from polybus.clock import Clock

if TYPE_CHECKING:
    from polybus.middleware import AnyMiddleware

__all__ = ["with_bodies"]

# In a row above: it is middleware as any other, and knows the bus.
_BODIES = "polybus.blobs.bound"


def with_bodies(binding: Binding, middleware: Sequence[AnyMiddleware], clock: Clock) -> Sequence[AnyMiddleware]:
    """Return middleware with what stores and fetches large bodies; raises MissingExtra where that isn't installed."""
    found: Sequence[AnyMiddleware] = import_module(_BODIES).with_bodies(binding, middleware, clock)
    return found
