"""What each local server shows and does for the control face, in words that are the same for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from polybus.clock import Clock
from polybus.localcloud.events import Events
from polybus.localcloud.store import Row, Store

__all__ = ["Entity", "Refused", "Restarted", "Restoring", "Shown", "Steerable", "Steering"]


class Refused(Exception):
    """What was asked for can't be done; the text says why."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A queue, topic or subscription, and how many messages it has in which state.

    `dead_letters` is the entity that holds its dead letters; `gives_to` are those that get what is published to it.
    """

    name: str
    kind: str
    waiting: int = 0
    in_flight: int = 0
    delayed: int = 0
    deferred: int = 0
    dead_letters: str | None = None
    gives_to: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as it lies there; times in seconds since the epoch, `until` the end of its lease or delay.

    `state` is waiting, in_flight, delayed, deferred or acked.
    """

    id: str
    state: str
    body: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    deliveries: int = 0
    published: float | None = None
    until: float | None = None


class Steering(Protocol):
    """A server that runs, as a test steers it. All methods are for its own loop, and raise Refused."""

    events: Events

    def entities(self) -> list[Entity]:
        """Return all entities."""

    def messages(self, entity: str, limit: int) -> list[Shown]:
        """Return up to `limit` messages of an entity, oldest first, without taking them."""

    async def publish(self, entity: str, body: bytes, attributes: Mapping[str, str], key: str | None) -> str:
        """Publish to a queue or topic; return the message's id."""

    async def redrive(self, entity: str) -> int:
        """Give back to an entity what it has among its dead letters; return how many those were."""

    def fail(self, operation: str, error: str, count: int, *, after: bool) -> None:
        """Have the next `count` calls of an operation fail with an error of the cloud's own, `after` they are done."""

    def delay(self, operation: str, seconds: float, count: int) -> None:
        """Have the next `count` calls of an operation wait for so many seconds of the server's clock."""

    def clear(self) -> None:
        """Forget what was to fail or to wait, and hasn't."""

    async def cut(self) -> None:
        """Break every connection."""

    async def rows(self) -> Sequence[Row]:
        """Return all that the server has, as its store keeps it."""

    async def restore(self, rows: Sequence[Row]) -> None:
        """Have the server be as it was when these were its rows; connections end."""


class Restarted(Protocol):
    """A server that reads its rows when it is started."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Restoring:
    """The part of a Steering that is the same for each server with a store."""

    def __init__(self, server: Restarted, store: Store) -> None:
        self.__server = server
        self._store = store

    async def rows(self) -> Sequence[Row]:
        """Do what Steering says."""
        return await self._store.rows()

    async def restore(self, rows: Iterable[Row]) -> None:
        """Do what Steering says."""
        await self.__server.stop()
        self.forget()
        self._store.replace(rows)
        await self.__server.start()

    def forget(self) -> None:
        """Drop what the server would keep in memory when it is started again; nothing, by default."""


@runtime_checkable
class Steerable(Protocol):
    """A local server that can be steered."""

    def steer(self, clock: Clock) -> Steering:
        """Return how it is steered, and have it run on a clock; once, before it is started."""
