"""A piece of what the writer's thread does, and the transaction in which it does it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

__all__ = ["Transaction", "Work"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(slots=True)
class Transaction:
    """What a piece of work sees: the connection, what time it is, and what is to be done after the commit.

    `now` is the store's time, `monotonic` the clock's reading of that moment or just before, `wall` the time of day.
    """

    connection: sqlite3.Connection
    monotonic: float
    now: float
    wall: float
    woken: set[int] = field(default_factory=set)  # sources that others may wait for
    expired: list[int] = field(default_factory=list)  # the source of each that was deleted
    committed: list[Callable[[], object]] = field(default_factory=list)

    def value(self, sql: str, *parameters: object) -> Any:
        """Return the first column of the first row."""
        cursor = self.connection.execute(sql, parameters)
        row = cursor.fetchone()
        cursor.close()
        return None if row is None else row[0]


class Work(Generic[T_co]):
    """A piece of work; all of one class that are there are run together."""

    __slots__ = ()

    RANK: ClassVar[int]  # of two kinds in one transaction, the lower runs first
    DURABLE: ClassVar[bool]  # whether it must be on the disk when it is answered
    LOOKS: ClassVar[bool] = False  # whether there may be nothing to do, which `idle` tells

    @property
    def adds(self) -> int:
        """How many bytes of messages it adds."""
        return 0

    @classmethod
    def idle(cls, connection: sqlite3.Connection, now: float, works: Sequence[Any]) -> Sequence[T_co] | None:
        """Answer without a transaction where there is nothing to do; None where there is."""
        return None

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[Any]) -> Sequence[T_co]:
        """Do all; return the answer of each, in their order."""
        raise NotImplementedError
