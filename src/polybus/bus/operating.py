"""What goes through dead letters and the bus that runs it, as each sees the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from polybus.binding import Entity
from polybus.clock import Clock
from polybus.driver import AdminDriver, Driver

if TYPE_CHECKING:
    from polybus.bus.publisher import Publisher
    from polybus.bus.receiver import Receiver

__all__ = ["Job", "OperatedBus"]

T = TypeVar("T")


class Job(Protocol):
    """What a bus runs, and stops before it closes."""

    receiver: Receiver | None
    """Its own to drain."""

    async def run(self, ended: Callable[[], None]) -> None:
        """Do it; `ended` is called once nothing is held any more."""

    def stop(self) -> None:
        """Take nothing more."""

    async def ended(self, seconds: float) -> None:
        """Wait for its end, at most so long."""


class OperatedBus(Protocol):
    """What a job asks of its bus."""

    clock: Clock

    @property
    def driver(self) -> Driver:
        """The backend's driver; raises BusClosed where the bus isn't open."""

    async def call(self, function: Callable[[AdminDriver], Awaitable[T]], *, seconds: float | None = None) -> T:
        """Run one call of the backend's administration, for so many seconds; the publisher's deadline where None."""

    async def open_return(self, source: Entity) -> Publisher:
        """Return a publisher that reaches one subscription or queue alone."""

    async def open_receiver(self, entity: Entity, window: int) -> Receiver:
        """Return a receiver that isn't started."""

    async def run(self, job: Job) -> None:
        """Run a job; closing the bus ends it first."""
