"""What outlives a restart, as rows: who wrote what where. The in-memory objects are the truth; rows mirror them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from polybus.localcloud.journal import Journal

__all__ = ["Row", "Rows"]


class Row(Protocol):
    """Something that is kept: where, and as what."""

    @property
    def row_key(self) -> str: ...

    def to_row(self) -> list[Any]: ...


class Rows:
    """Saves and drops objects that know their own row."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.durable = journal.durable

    def save(self, table: str, row: Row) -> None:
        if self.durable:
            self._journal.save(table, row.row_key, row.to_row())

    def drop(self, table: str, row: Row) -> None:
        if self.durable:
            self._journal.drop(table, row.row_key)

    def load(self, table: str) -> Iterator[Any]:
        """Yield the rows of `table`, ordered by key."""
        for _, row in self._journal.rows(table):
            yield row
