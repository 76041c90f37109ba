"""The base of drivers: what an SDK's errors mean, and what operators do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final

from polybus.binding import Binding, Entity
from polybus.clock import Clock
from polybus.driver import AdminDriver, ConsumerDriver, Peeked, PublisherDriver, Stats
from polybus.errors import BackendError, Fault, FaultKind, PolybusError, UnsupportedFeature
from polybus.feature import Feature

__all__ = ["BaseDriver"]

# What Python itself raises where the way to a server is down; a driver's own table goes before it.
_FAULTS: Final[Mapping[type[BaseException], FaultKind]] = MappingProxyType(
    {TimeoutError: FaultKind.TIMEOUT, ConnectionError: FaultKind.UNAVAILABLE}
)


class BaseDriver(ABC):
    """One backend, connected by one binding: itself a `polybus.driver.DriverFactory`.

    `name` is the backend's, for errors. `faults` says what an error of the SDK means by its type, the nearest of its
    bases first, and `codes` by what `code` returns of it, which goes before its type. Python's own ConnectionError and
    TimeoutError are known.
    """

    name: ClassVar[str]
    faults: ClassVar[Mapping[type[BaseException], FaultKind]] = MappingProxyType({})
    codes: ClassVar[Mapping[str, FaultKind]] = MappingProxyType({})

    def __init__(self, binding: Binding, clock: Clock) -> None:
        self.binding = binding
        self.clock = clock

    @abstractmethod
    async def open_publisher(self, target: Entity, *, returns: bool = False) -> PublisherDriver[Any]:
        """Return a publisher to a topic or queue; raise where it isn't there or can't be reached.

        With `returns`, one that puts messages back to this one subscription or queue and no other (contract, D13); and
        to dead letters, where `BaseConsumer.dead_letter` is used.
        """

    @abstractmethod
    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> ConsumerDriver[Any]:
        """Return a consumer, as `polybus.driver.Driver.open_consumer` says."""

    async def open_admin(self) -> AdminDriver:
        """Return what operators do: this driver's own methods."""
        return _Admin(self)

    def features(self, entity: Entity) -> Feature:
        """Return what the backend can do with an entity: nothing that isn't said."""
        return Feature.NONE

    def raw(self, entity: Entity) -> object:
        """Return the SDK's own client and the entity's address; here there is no more than the address."""
        return entity.address

    async def aclose(self) -> None:  # noqa: B027 - what has nothing to close needs none
        """Close all connections; here there are none."""

    # What operators do ------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Reach the backend, or raise: here by opening the first thing of the binding, and closing it.

        To be overridden where opening doesn't connect.
        """
        opened: PublisherDriver[Any] | ConsumerDriver[Any] | None = None
        for target in (*self.binding.topics.values(), *self.binding.queues.values()):
            opened = await self.open_publisher(target)
            break
        else:
            for source in self.binding.sources():
                opened = await self.open_consumer(source, prefetch=1, concurrency=1)
                break
        if opened is not None:
            await opened.aclose()

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        """Return the system's own description of an entity; here it has none."""
        return {}

    async def stats(self, entity: Entity) -> Stats:
        """Return what is known of an entity; here nothing is."""
        return Stats()

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        """Return up to `count` messages, as `AdminDriver.peek` says; here it is refused."""
        raise UnsupportedFeature(f"{entity.kind.value} {entity.name!r}: {self.name} shows no messages")

    async def purge(self, entity: Entity) -> int | None:
        """Delete what waits, as `AdminDriver.purge` says; here it is refused."""
        raise UnsupportedFeature(
            f"{entity.kind.value} {entity.name!r}: {self.name} deletes nothing that isn't received"
        )

    # What errors mean -------------------------------------------------------------------------------------------------

    def fault(self, error: Exception) -> Fault:
        """Say what an exception means, by `codes` and `faults`; what they don't know is INTERNAL, with its type."""
        if isinstance(error, BackendError):
            return error.fault
        if isinstance(error, PolybusError):  # about the binding, say: trying again mends nothing
            return Fault(FaultKind.INVALID, str(error))
        code = self.code(error)
        kind = None if code is None else self.codes.get(code)
        if kind is None:
            kind = _nearest(error, self.faults) or _nearest(error, _FAULTS)
        if kind is None:
            return Fault(FaultKind.INTERNAL, f"{self.name}: {type(error).__name__}", code)
        return Fault(kind, f"{self.name}: {self.say(error)}", code)

    def code(self, error: Exception) -> str | None:
        """Return the code that the SDK gives an error, None where it has none."""
        return None

    def say(self, error: Exception) -> str:
        """Return a known error in words, without secrets."""
        return str(error) or type(error).__name__


def _nearest(error: Exception, table: Mapping[type[BaseException], FaultKind]) -> FaultKind | None:
    return next((table[each] for each in type(error).__mro__ if each in table), None)


class _Admin:
    """What operators do, as methods of a driver; closing it closes nothing."""

    def __init__(self, driver: BaseDriver) -> None:
        self.ping = driver.ping
        self.describe = driver.describe
        self.stats = driver.stats
        self.peek = driver.peek
        self.purge = driver.purge
        self._driver = driver

    async def open_return(self, source: Entity) -> PublisherDriver[Any]:
        return await self._driver.open_publisher(source, returns=True)

    async def aclose(self) -> None:
        """Do nothing."""
