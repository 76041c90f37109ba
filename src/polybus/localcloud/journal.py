"""What a local server must not lose, as rows of its store: the interface that all of them keep theirs by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from polybus.localcloud.store import Store

__all__ = ["Journal"]


class Journal:
    """Mirrors rows into a store; the objects in memory are the truth. Costs nothing where the store keeps nothing.

    What is saved and dropped is durable after the store's next commit, which whoever answers a request waits for.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.durable = store.durable
        """Whether anything outlives the process."""

    def save(self, table: str, key: str, row: object) -> None:
        """Set a row: anything that MessagePack can say."""
        if self.durable:
            self._store.put(table, key, row)

    def drop(self, table: str, key: str) -> None:
        """Remove a row, if it is there."""
        if self.durable:
            self._store.delete(table, key)

    def rows(self, table: str) -> Iterator[tuple[str, Any]]:
        """Yield (key, row) of a table, ordered by key; ask before the first `save`."""
        return self._store.load(table)
