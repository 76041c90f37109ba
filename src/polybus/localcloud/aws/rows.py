"""What outlives a restart, as rows: who wrote what where. The in-memory objects are the truth; rows mirror them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from polybus.localcloud.store import Store

__all__ = ["Journal", "Row"]


class Row(Protocol):
    """Something that is kept: where, and as what."""

    @property
    def row_key(self) -> str: ...

    def to_row(self) -> list[Any]: ...


class Journal:
    """Mirrors rows into a Store; costs nothing where the store is in memory only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.durable = store.durable

    def save(self, table: str, row: Row) -> None:
        if self.durable:
            self._store.put(table, row.row_key, row.to_row())

    def drop(self, table: str, row: Row) -> None:
        if self.durable:
            self._store.delete(table, row.row_key)

    def load(self, table: str) -> Iterator[Any]:
        """Yield the rows of `table`, ordered by key."""
        for _, value in self._store.load(table):
            yield value
