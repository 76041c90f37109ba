"""One handler: what it consumes, and how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from polybus.app.signature import Signature
from polybus.bus.options import ConsumerOptions

if TYPE_CHECKING:
    from polybus.middleware import AnyMiddleware

__all__ = ["Handler", "Where"]

Where = Literal["loop", "thread", "process"]


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that handles what comes from one subscription or queue; `where` is where it runs."""

    source: str
    function: Callable[..., Any]
    signature: Signature
    options: ConsumerOptions
    where: Where
    middleware: tuple[AnyMiddleware, ...] = ()
    """What stands around this handler alone, within what stands around all; outermost first."""

    @property
    def name(self) -> str:
        """The function's module and qualified name."""
        return self.signature.name

    def __repr__(self) -> str:
        return f"Handler({self.name}, source={self.source!r}, concurrency={self.options.concurrency})"
