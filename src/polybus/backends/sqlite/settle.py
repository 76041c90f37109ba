"""Ending leases: done, given back, dead-lettered; and prolonging them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from polybus.backends.sqlite.schema import DELAYED, LEASED, READY
from polybus.backends.sqlite.sources import Source
from polybus.backends.sqlite.upkeep import remove
from polybus.backends.sqlite.wire import decode_json, encode_json, encode_letter
from polybus.backends.sqlite.writer import Transaction
from polybus.clock import Clock
from polybus.driver import Ack, DeadLetter, Nack, Settlement

__all__ = ["Extending", "Receipt", "Settling", "bury"]

Receipt: TypeAlias = tuple[int, int]
"""Number and attempt: which message, and which of its leases."""


@dataclass(frozen=True, slots=True)
class Settling:
    """A batch of settlements; the answer says of each whether its lease was still good."""

    RANK: ClassVar[int] = 1
    DURABLE: ClassVar[bool] = True

    source: Source
    clock: Clock
    settlements: Sequence[Settlement[Receipt]]

    @classmethod
    def idle(cls, connection: sqlite3.Connection, works: Sequence[Settling]) -> Sequence[Sequence[bool]] | None:
        return None

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[Settling]) -> Sequence[Sequence[bool]]:
        answers: dict[int, Sequence[bool]] = {}
        for number in {work.source.id for work in works}:
            alike = [(index, work) for index, work in enumerate(works) if work.source.id == number]
            good = _settle(transaction, [work for _, work in alike])
            answers.update((index, answer) for (index, _), answer in zip(alike, good, strict=True))
        return [answers[index] for index in range(len(works))]


@dataclass(frozen=True, slots=True)
class Extending:
    """Leases to be prolonged to `seconds` from now; the answer says of each whether it was still good."""

    RANK: ClassVar[int] = 2
    DURABLE: ClassVar[bool] = False

    source: Source
    clock: Clock
    receipts: Sequence[Receipt]
    seconds: float

    @classmethod
    def idle(cls, connection: sqlite3.Connection, works: Sequence[Extending]) -> Sequence[Sequence[bool]] | None:
        return None

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[Extending]) -> Sequence[Sequence[bool]]:
        return [work._run(transaction) for work in works]

    def _run(self, transaction: Transaction) -> Sequence[bool]:
        now = self.clock.time()
        good = _good(transaction, self.source, self.receipts, now)
        transaction.connection.execute(_PROLONG, (now + self.seconds, encode_json(sorted(good))))
        if self.seconds < self.source.entity.lease:
            transaction.woken.add(self.source.id)  # it ends earlier than those who wait expect
        return [receipt[0] in good for receipt in self.receipts]


def _settle(transaction: Transaction, works: Sequence[Settling]) -> list[list[bool]]:
    source, now = works[0].source, works[0].clock.time()
    connection = transaction.connection
    receipts: list[Receipt] = [item.received.receipt for work in works for item in work.settlements]
    good = _good(transaction, source, receipts, now)
    acks: list[int] = []
    nacks: list[tuple[int, int, float]] = []
    answers: list[list[bool]] = []
    for work in works:
        answer: list[bool] = []
        for item in work.settlements:
            receipt = item.received.receipt
            answer.append(receipt[0] in good)
            good.discard(receipt[0])  # once only, were the same delivery in it twice
            if not answer[-1]:
                continue
            match item:
                case Ack():
                    acks.append(receipt[0])
                case Nack(delay=delay):
                    nacks.append((receipt[0], DELAYED if delay > 0 else READY, now + delay if delay > 0 else 0.0))
                case DeadLetter(reason=reason, description=description):
                    letter = encode_letter(reason, description)
                    bury(transaction, source, receipt[0], letter, now)
        answers.append(answer)
    if acks:
        remove(connection, acks)
    if nacks:
        connection.execute(_GIVE_BACK, (encode_json(nacks),))
    if nacks or source.ordered:  # an ordering key is free again
        transaction.woken.add(source.id)
    return answers


def bury(transaction: Transaction, source: Source, seq: int, letter: bytes, now: float) -> None:
    """Move a message to the source's dead letters."""
    if source.dead is None:
        raise RuntimeError("dead letters have no dead letters")
    connection, dead = transaction.connection, source.dead
    copy = connection.execute(_COPY, (now, letter, seq)).lastrowid
    connection.execute(_LINE_OF_LETTER, (dead.id, copy, now + dead.retention, seq))
    remove(connection, [seq])
    transaction.woken |= {dead.id, source.id}


def _good(transaction: Transaction, source: Source, receipts: Sequence[Receipt], now: float) -> set[int]:
    """Return the numbers of the messages whose lease is still that of the receipt, and not over."""
    return set(decode_json(transaction.value(_GOOD, source.id, encode_json(receipts), now)))


_GOOD = f"""
SELECT json_group_array(l.seq) FROM json_each(?2) j CROSS JOIN line l
ON l.seq = json_extract(j.value, '$[0]')
WHERE l.source = ?1 AND l.state = {LEASED} AND l.attempt = json_extract(j.value, '$[1]') AND l.due > ?3
"""  # noqa: S608 - made of numbers only

_PROLONG = "UPDATE line SET due = ?1 WHERE seq IN (SELECT value FROM json_each(?2))"

_GIVE_BACK = """
UPDATE line SET state = n.state, due = n.due
FROM (SELECT json_extract(value, '$[0]') AS seq, json_extract(value, '$[1]') AS state,
             json_extract(value, '$[2]') AS due FROM json_each(?1)) n
WHERE line.seq = n.seq
"""

_COPY = """
INSERT INTO message (head, body, shared, published, at, moves, letter)
SELECT head, body, shared, published, ?1, moves + 1, ?2 FROM message WHERE seq = ?3
"""

_LINE_OF_LETTER = f"""
INSERT INTO line (source, state, grp, seq, due, attempt, expires, size)
SELECT ?1, {READY}, '', ?2, 0, 0, ?3, size FROM line WHERE seq = ?4
"""  # noqa: S608 - made of numbers only
