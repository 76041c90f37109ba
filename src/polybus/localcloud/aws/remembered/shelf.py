"""Documents by key, kept as everything else that the server must not lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from polybus.localcloud.aws.rows import Rows

__all__ = ["Shelf"]

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Kept:
    row_key: str
    document: Document

    def to_row(self) -> list[Any]:
        return [self.row_key, self.document]


class Shelf:
    """The documents of one kind, in the order of their making."""

    def __init__(self, table: str, rows: Rows) -> None:
        self._table = table
        self._rows = rows
        self._documents: dict[str, Document] = {}

    def load(self) -> None:
        """Bring back what was kept."""
        self._documents = dict(self._rows.load(self._table))

    def __contains__(self, key: str) -> bool:
        return key in self._documents

    def get(self, key: str) -> Document | None:
        return self._documents.get(key)

    def put(self, key: str, document: Document) -> None:
        """Set a document; call it after each change of one, too."""
        self._documents[key] = document
        self._rows.save(self._table, _Kept(key, document))

    def drop(self, key: str) -> None:
        """Forget a document, if it is there."""
        if self._documents.pop(key, None) is not None:
            self._rows.drop(self._table, _Kept(key, {}))

    def items(self, prefix: str = "") -> Iterator[tuple[str, Document]]:
        """Yield what begins with `prefix`, by key."""
        for key in sorted(self._documents):
            if key.startswith(prefix):
                yield key, self._documents[key]
