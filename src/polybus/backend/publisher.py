"""The base of publishers: what is checked before a message is encoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from polybus import portable
from polybus.backend.driver import BaseDriver
from polybus.binding import Entity
from polybus.driver import BatchLimits, Outgoing, Prepared
from polybus.errors import Fault
from polybus.message import Sent
from polybus.topology.limits import DEAD_LETTER_RESERVE_BYTES

__all__ = ["BasePublisher"]

W = TypeVar("W")


class BasePublisher(ABC, Generic[W]):
    """Sends to one topic or queue; or back to one subscription or queue, or to dead letters, with `returns`.

    `limits` is what one batch may hold; `max_size` the bytes of the largest message where the binding says none.
    """

    limits: BatchLimits
    max_size: int

    def __init__(self, driver: BaseDriver, target: Entity, *, returns: bool = False) -> None:
        self.driver = driver
        self.target = target
        self.returns = returns

    @abstractmethod
    def encode(self, outgoing: Outgoing) -> tuple[W, int] | Fault:
        """Return a message's wire form and its size in bytes as the system counts it, or why it can't be sent.

        Pure. Its id, its attributes and its key are checked already, unless it `moves`: then it was delivered once as
        it is, with any names and any key. The wire form is a copy: the caller may go on changing attributes. A `Letter`
        takes along its reason, its description and its moves.
        """

    @abstractmethod
    async def publish_batch(self, batch: Sequence[Prepared[W]]) -> Sequence[Sent | Fault]:
        """Send a batch, as `polybus.driver.PublisherDriver.publish_batch` says."""

    def prepare(self, outgoing: Outgoing) -> Prepared[W] | Fault:
        """Check a message, encode it, and keep room for its dead letter (contract, P4, D13, D14).

        What moves may have any names and any key, and take that room: it was delivered once as it is.
        """
        moved = self.returns or outgoing.moves > 0
        wrong = portable.problem(outgoing, self.target, self.driver.name, moved=moved)
        if wrong is not None:
            return wrong
        encoded = self.encode(outgoing)
        if isinstance(encoded, Fault):
            return encoded
        wire, size = encoded
        limit = self.target.max_size or self.max_size
        reserve = 0 if moved else DEAD_LETTER_RESERVE_BYTES
        if size > limit - reserve:
            return portable.too_large(self.target, self.driver.name, size, limit)
        return Prepared(outgoing, size, wire)

    async def aclose(self) -> None:
        """Free what it holds; here nothing."""
