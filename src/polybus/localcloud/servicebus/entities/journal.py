"""What has to survive the process, as rows of a store."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from polybus.localcloud.journal import Journal
from polybus.localcloud.servicebus.entities.message import Message
from polybus.localcloud.store import Store

__all__ = ["EntityJournal"]

log = logging.getLogger(__name__)

Answer = Callable[[Exception | None], None]


def _key(path: str, rest: str) -> str:
    return f"{path}\n{rest}"  # no entity's name holds a line break


class EntityJournal(Journal):
    """Mirrors every accepted change into a store, and holds answers back until it is durable."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._answers: list[Answer] = []
        self._writer: asyncio.Task[None] | None = None

    # -- rows

    def put_message(self, path: str, message: Message) -> None:
        if self.durable:
            self.save("message", _key(path, f"{message.sequence:020d}"), message.row())

    def drop_message(self, path: str, sequence: int) -> None:
        if self.durable:
            self.drop("message", _key(path, f"{sequence:020d}"))

    def put_sequence(self, path: str, sequence: int) -> None:
        self.save("sequence", path, sequence)

    def put_session(self, path: str, session: str, row: list[Any] | None) -> None:
        self._change("session", _key(path, session), row)

    def put_duplicate(self, path: str, key: str, when: float | None) -> None:
        self._change("duplicate", _key(path, key), when)

    def put_entity(self, path: str, row: dict[str, Any] | None) -> None:
        self._change("entity", path, row)

    def drop_sequence(self, path: str) -> None:
        self.drop("sequence", path)

    def _change(self, table: str, key: str, value: object | None) -> None:
        if value is None:
            self.drop(table, key)
        else:
            self.save(table, key, value)

    def load(self, table: str) -> Iterator[tuple[str, str, Any]]:
        """Yield (path, rest of the key, value) of a table."""
        for key, value in self.rows(table):
            path, _, rest = key.partition("\n")
            yield path, rest, value

    # -- durability

    def after_commit(self, answer: Answer) -> None:
        """Call `answer(None)` once all changes until now are durable, or with the error that kept them from it."""
        if not self.durable:
            answer(None)
            return
        self._answers.append(answer)
        self.flush()

    def flush(self) -> None:
        """Begin to make all changes durable, where a loop runs; on the server's own loop only."""
        if self.durable and (self._writer is None or self._writer.done()):
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        while True:
            answers, self._answers = self._answers, []
            failure: Exception | None = None
            try:
                await self._store.commit()
            except (sqlite3.Error, OSError) as error:
                log.exception("the store could not be written")
                failure = error
            for answer in answers:
                answer(failure)
            if not self._answers:
                return

    async def settle(self) -> None:
        """Wait until every answer that was held back is given."""
        while self._writer is not None and not self._writer.done():
            await self._writer
