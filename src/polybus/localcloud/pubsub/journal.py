"""What must not be lost: resources, messages, who still holds which message, and who has it out.

Messages and holds are rows of their own, so that an ack deletes a small row and never rewrites a body. A hold's key is
the holder's tag and the message's number; a message's row goes with its last hold.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from typing import NamedTuple

from polybus.localcloud.journal import Journal
from polybus.localcloud.pubsub.encoding import decode
from polybus.localcloud.pubsub.message import Message
from polybus.localcloud.pubsub.protocol import seconds
from polybus.localcloud.pubsub.state import NO_LEASE
from polybus.localcloud.store import Store

__all__ = ["Hold", "MessageJournal"]

_log = logging.getLogger(__name__)


class Hold(NamedTuple):
    """How far a holder is with a message.

    While it is leased there is an `ack_id`, and `until`, in seconds since the epoch, is when that lease ends: what a
    consumer was given outlives the server's process.
    """

    message: Message
    acked: bool = False
    failures: int = 0
    ack_id: str = NO_LEASE
    until: float = 0.0


class MessageJournal(Journal):
    """Counts who holds each message, and mirrors it to the store where that is durable."""

    # Numbers are reserved on disk in blocks, so that none is used twice however a process ends.
    NUMBERS = 10_000

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.messages = 0
        self._next = 1
        self._reserved = 1
        self._dirty = False
        self._flusher: asyncio.Task[None] | None = None

    # -- rows

    def save(self, table: str, key: str, row: object) -> None:
        self._dirty = self.durable
        super().save(table, key, row)

    def drop(self, table: str, key: str) -> None:
        self._dirty = self.durable
        super().drop(table, key)

    # -- messages

    def number(self) -> int:
        """Return a number that no message or holder had before."""
        if self._next == self._reserved:
            self._reserved += self.NUMBERS
            self.save("numbers", "reserved", self._reserved)
        number = self._next
        self._next += 1
        return number

    def hold(self, tag: str, message: Message) -> None:
        """Note that the holder `tag` needs the message, unacked."""
        message.holders += 1
        if message.holders == 1:
            self.messages += 1
            if self.durable:
                self.save("message", _key(message.number), message.wire)
        if self.durable:
            self.mark(tag, Hold(message))

    def mark(self, tag: str, hold: Hold) -> None:
        """Note how far the holder is with a message that it holds."""
        if self.durable:
            message, *row = hold
            self.save("hold", f"{tag}/{_key(message.number)}", row)

    def release(self, tag: str, message: Message) -> None:
        """Note that the holder is done with the message."""
        message.holders -= 1
        if message.holders == 0:
            self.messages -= 1
            if self.durable:
                self.drop("message", _key(message.number))
        if self.durable:
            self.drop("hold", f"{tag}/{_key(message.number)}")

    def load(self) -> dict[str, list[Hold]]:
        """Read the messages that were held; per holder, in the order of their numbers."""
        for _, reserved in self.rows("numbers"):
            self._next = self._reserved = reserved
        messages: dict[str, Message] = {}
        for key, wire in self.rows("message"):
            body = decode(wire)
            messages[key] = Message(int(key), wire, body.ordering_key, seconds(body.publish_time))
        holds: dict[str, list[Hold]] = {}
        for key, row in self.rows("hold"):
            tag, _, number = key.partition("/")
            message = messages.get(number)
            if message is not None:
                message.holders += 1
                self.messages += message.holders == 1
                holds.setdefault(tag, []).append(Hold(message, *row))
        return holds

    # -- durability

    async def commit(self) -> None:
        """Return once every change made before this call is on disk; raise sqlite3.Error where it can't be written."""
        if self.durable:
            self._dirty = False
            await self._store.commit()

    async def flush(self) -> None:
        """Return once every change made before this call is on disk, or couldn't be written, which is logged."""
        try:
            await self.commit()
        except sqlite3.Error:
            _log.exception("The store could not write; what is delivered now is forgotten if the server ends now")

    def flush_soon(self) -> None:
        """Have what changed written without anyone waiting for it."""
        if self._dirty and (self._flusher is None or self._flusher.done()):
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        while self._dirty:
            try:
                await self.commit()
            except sqlite3.Error:
                _log.exception("The store could not write; acks since the last write are lost if the server ends now")
                return

    async def close(self) -> None:
        if self._flusher is not None:
            await self._flusher
        await self._store.close()


def _key(number: int) -> str:
    """Return a number as text that sorts as the numbers do."""
    return f"{number:016d}"
