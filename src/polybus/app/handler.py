"""One handler: what it consumes, and how it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from polybus.app.signature import Signature
from polybus.bus.options import ConsumerOptions

if TYPE_CHECKING:
    from polybus.flow import Breaker, PerKey, RateLimit, Room
    from polybus.middleware import AnyMiddleware

__all__ = ["UNDECODABLE", "Batching", "Handler", "Kinds", "Unknown", "Where"]

UNDECODABLE = 10
"""A wrong deploy can decode none of what waits: at ten in a row it is that, and no bad message among good ones."""

Where = Literal["loop", "thread", "process"]
Unknown = Literal["dead-letter", "ignore", "pause"]


@dataclass(frozen=True, slots=True)
class Kinds:
    """How types are told apart: by an attribute; and what becomes of messages of a type that no handler has."""

    attribute: str = "type"
    unknown: Unknown = "dead-letter"


@dataclass(frozen=True, slots=True)
class Batching:
    """Up to `max_batch` messages are handled by one call, which waits `max_wait` seconds for them at most.

    `concurrency` is how many calls run at once.
    """

    max_batch: int
    max_wait: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that handles what comes from one subscription or queue; `where` is where it runs.

    The concurrency of `options` counts messages; where `batching` is set, a call takes several.
    After `undecodable` messages in a row that can't be decoded nothing more is taken; None is never. `kinds` are the
    handlers of each type of messages, None for all others, where there are several: the other fields are then those
    of the first, and `telling` says how types are told apart.
    """

    source: str
    function: Callable[..., Any]
    signature: Signature
    options: ConsumerOptions
    where: Where
    middleware: tuple[AnyMiddleware, ...] = ()
    """What stands around this handler alone, within what stands around all; outermost first."""
    batching: Batching | None = None
    undecodable: int | None = UNDECODABLE
    kinds: Mapping[str | None, Handler] | None = None
    telling: Kinds | None = None
    breaker: Breaker | None = None
    rate_limit: RateLimit | None = None
    per_key: PerKey | None = None
    room: Room | None = None
    priority: int = 0

    @property
    def name(self) -> str:
        """The function's module and qualified name; of several, all."""
        if self.kinds is not None:
            return ", ".join(each.signature.name for each in self.kinds.values())
        return self.signature.name

    @property
    def calls(self) -> int:
        """How many calls run at once."""
        return self.options.concurrency if self.batching is None else self.batching.concurrency

    def __repr__(self) -> str:
        return f"Handler({self.name}, source={self.source!r}, concurrency={self.calls})"
