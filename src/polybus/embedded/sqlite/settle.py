"""Ending leases: done, given back, dead-lettered; and prolonging them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from polybus.driver import Ack, Nack, Settlement, ToDeadLetters
from polybus.embedded.sqlite.schema import DELAYED, LEASED, READY
from polybus.embedded.sqlite.sources import Source
from polybus.embedded.sqlite.upkeep import remove
from polybus.embedded.sqlite.wire import decode_json, encode_json, encode_letter
from polybus.embedded.sqlite.work import Transaction, Work

__all__ = ["Extending", "Receipt", "Settling", "bury"]

Receipt: TypeAlias = tuple[int, int]
"""Number and claim: which message, and which of its leases. Attempts don't tell: they may be counted back."""


@dataclass(frozen=True, slots=True)
class Settling(Work[Sequence[bool]]):
    """A batch of settlements; the answer says of each whether its lease was still good."""

    RANK: ClassVar[int] = 1
    DURABLE: ClassVar[bool] = True

    source: Source
    settlements: Sequence[Settlement[Receipt]]

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[Settling]) -> Sequence[Sequence[bool]]:
        answers: dict[int, Sequence[bool]] = {}
        for number in {work.source.id for work in works}:
            alike = [(index, work) for index, work in enumerate(works) if work.source.id == number]
            good = _settle(transaction, [work for _, work in alike])
            answers.update((index, answer) for (index, _), answer in zip(alike, good, strict=True))
        return [answers[index] for index in range(len(works))]


@dataclass(frozen=True, slots=True)
class Extending(Work[Sequence[float | None]]):
    """Leases to be prolonged to `seconds` from now; the answer says of each until when that is, None if it was over."""

    RANK: ClassVar[int] = 2
    DURABLE: ClassVar[bool] = False

    source: Source
    receipts: Sequence[Receipt]
    seconds: float

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[Extending]) -> Sequence[Sequence[float | None]]:
        return [work._run(transaction) for work in works]

    def _run(self, transaction: Transaction) -> Sequence[float | None]:
        good = _good(transaction, self.source, self.receipts)
        numbers = encode_json([self.receipts[place][0] for place in good])
        transaction.connection.execute(_PROLONG, (transaction.now + self.seconds, numbers))
        if self.seconds < self.source.entity.lease:
            transaction.woken.add(self.source.id)  # it ends earlier than those who wait expect
        until = transaction.monotonic + self.seconds
        return [until if place in good else None for place in range(len(self.receipts))]


def _settle(transaction: Transaction, works: Sequence[Settling]) -> list[list[bool]]:
    source, now, connection = works[0].source, transaction.now, transaction.connection
    receipts: list[Receipt] = [item.received.receipt for work in works for item in work.settlements]
    good = _good(transaction, source, receipts)
    acks: list[int] = []
    nacks: list[tuple[int, int, float, int | None]] = []
    answers: list[list[bool]] = []
    settled: set[int] = set()
    place = -1
    for work in works:
        answer: list[bool] = []
        for item in work.settlements:
            place += 1
            receipt = receipts[place]
            if place not in good or receipt[0] in settled:  # once only, were the same delivery in it twice
                answer.append(False)
                continue
            answer.append(True)
            settled.add(receipt[0])
            match item:
                case Ack():
                    acks.append(receipt[0])
                case Nack(delay=delay, attempts=attempts):
                    state, due = (DELAYED, now + delay) if delay > 0 else (READY, 0.0)
                    nacks.append((receipt[0], state, due, attempts if attempts is None else max(attempts, 0)))
                case ToDeadLetters(reason=reason, description=description):
                    letter = encode_letter(reason, description)
                    bury(transaction, source, receipt[0], letter)
        answers.append(answer)
    if acks:
        remove(connection, acks)
    if nacks:
        connection.execute(_GIVE_BACK, (encode_json(nacks),))
    if nacks or source.ordered:  # an ordering key is free again
        transaction.woken.add(source.id)
    return answers


def bury(transaction: Transaction, source: Source, seq: int, letter: bytes) -> None:
    """Move a message to the source's dead letters."""
    if source.dead is None:
        raise RuntimeError("dead letters have no dead letters")
    connection, dead, now = transaction.connection, source.dead, transaction.now
    copy = connection.execute(_COPY, (transaction.wall, letter, seq)).lastrowid
    connection.execute(_LINE_OF_LETTER, (dead.id, copy, now + dead.retention, now, seq))
    remove(connection, [seq])
    transaction.woken |= {dead.id, source.id}


def _good(transaction: Transaction, source: Source, receipts: Sequence[Receipt]) -> set[int]:
    """Return the places of the receipts whose lease is still that of the message, and not over."""
    text = transaction.value(_GOOD, source.id, encode_json(receipts), transaction.now)
    return set(decode_json(text))


_GOOD = f"""
SELECT json_group_array(j.key) FROM json_each(?2) j CROSS JOIN line l
ON l.seq = json_extract(j.value, '$[0]')
WHERE l.source = ?1 AND l.state = {LEASED} AND l.claim = json_extract(j.value, '$[1]') AND l.due > ?3
"""  # noqa: S608 - made of numbers only

_PROLONG = "UPDATE line SET due = ?1 WHERE seq IN (SELECT value FROM json_each(?2))"

_GIVE_BACK = """
UPDATE line SET state = n.state, due = n.due, attempt = ifnull(n.attempt, line.attempt)
FROM (SELECT json_extract(value, '$[0]') AS seq, json_extract(value, '$[1]') AS state,
             json_extract(value, '$[2]') AS due, json_extract(value, '$[3]') AS attempt FROM json_each(?1)) n
WHERE line.seq = n.seq
"""

_COPY = """
INSERT INTO message (head, body, shared, published, at, moves, letter)
SELECT head, body, shared, published, ?1, moves + 1, ?2 FROM message WHERE seq = ?3
"""

_LINE_OF_LETTER = f"""
INSERT INTO line (source, state, grp, seq, due, attempt, expires, size, since)
SELECT ?1, {READY}, '', ?2, 0, 0, ?3, size, ?4 FROM line WHERE seq = ?5
"""  # noqa: S608 - made of numbers only
