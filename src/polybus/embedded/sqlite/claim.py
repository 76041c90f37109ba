"""Leasing what waits: which messages, and that nobody else gets them meanwhile."""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from polybus.embedded.sqlite.schema import DELAYED, LEASED, READY
from polybus.embedded.sqlite.settle import bury
from polybus.embedded.sqlite.sources import Source
from polybus.embedded.sqlite.upkeep import remove
from polybus.embedded.sqlite.wire import FETCH, decode_json, encode_json, encode_letter
from polybus.embedded.sqlite.work import Transaction, Work
from polybus.portable import MAX_ATTEMPTS_EXCEEDED

__all__ = ["MOST_BYTES", "Claim", "Claimed"]

_NEXT = "\x01"
"""Behind a key, the least that comes after it: keys and tenants are of printable characters."""

MOST_BYTES = 64 * 1024 * 1024
"""What is read at once, but for one message: what was asked for may be a thousand of 10 MiB."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was leased: the row of FETCH, of each message its group and attempt, and the number of the lease.

    `until` is the reading of the monotonic clock at which the lease ends. `due` is when the next lease or delay ends,
    in the store's time, where nothing was there.
    """

    row: tuple[str, bytes | None, bytes | None, bytes | None] | None = None
    lines: Sequence[tuple[str, int]] = ()
    claim: int = 0
    until: float = 0.0
    due: float | None = None


@dataclass(slots=True)
class _Line:
    seq: int
    attempt: int
    expires: float
    size: int
    group: str


@dataclass(slots=True)
class Claim(Work[Claimed]):
    """A consumer's wish for `count` messages. `after` is the ordering key, or tenant, to go on from."""

    RANK: ClassVar[int] = 3  # after all that makes messages available
    DURABLE: ClassVar[bool] = False
    LOOKS: ClassVar[bool] = True

    source: Source
    count: int
    after: list[str] = field(default_factory=lambda: [""])

    @classmethod
    def idle(cls, connection: sqlite3.Connection, now: float, works: Sequence[Claim]) -> Sequence[Claimed] | None:
        """Look before taking the lock: waiting consumers must not keep others from writing."""
        answers = []
        for work in works:
            ready, due = connection.execute(_LOOK, (work.source.id,)).fetchone()
            if ready or (due is not None and due <= now):
                return None
            answers.append(Claimed(due=due))
        return answers

    @classmethod
    def run(cls, transaction: Transaction, works: Sequence[Claim]) -> Sequence[Claimed]:
        return [work._run(transaction) for work in works]

    def _run(self, transaction: Transaction) -> Claimed:
        now, connection, source = transaction.now, transaction.connection, self.source
        connection.execute(_COLLECT, (source.id, now))
        taken = self._take(transaction)
        if not taken:
            return Claimed(due=transaction.value(_NEXT_DUE, source.id))
        keys = encode_json([line.seq for line in taken])
        # No two leases have one number, of whichever process; so no receipt of another lease ever fits.
        claim = secrets.randbits(53)
        connection.execute(_LEASE, (now + source.entity.lease, keys, claim))
        row = connection.execute(FETCH, (keys,)).fetchone()
        lines = [(line.group, line.attempt + 1) for line in taken]
        return Claimed(row, lines, claim, transaction.monotonic + source.entity.lease)

    def _take(self, transaction: Transaction) -> list[_Line]:
        """Choose what to lease; what expired or was delivered too often goes, and others take its place."""
        now, net = transaction.now, self.source.net
        while True:
            lines = self._next(transaction)
            if not lines:
                return []
            expired = [line for line in lines if line.expires <= now]
            worn = [line for line in lines if line.expires > now and net is not None and line.attempt >= net]
            if expired:
                remove(transaction.connection, [line.seq for line in expired])
                transaction.expired += [self.source.id] * len(expired)
            for line in worn:
                letter = encode_letter(MAX_ATTEMPTS_EXCEEDED, f"delivered {line.attempt} times, never settled")
                bury(transaction, self.source, line.seq, letter)
            if expired or worn:
                continue
            return _within(lines)

    def _next(self, transaction: Transaction) -> list[_Line]:
        if self.source.ordered:
            return self._ordered(transaction)
        if self.source.fairness_key is not None:
            return self._fair(transaction)
        lines = _lines(transaction.value(_FIRST, self.source.id, self.count))
        # Where tenants were told apart before, some of theirs may be left.
        return lines or self._fair(transaction)

    def _ordered(self, transaction: Transaction) -> list[_Line]:
        lines = self._of_groups(transaction, _GROUPS, _RUNS)[: self.count]
        if lines:
            self.after[0] = lines[-1].group + _NEXT  # those that were cut off are the first of the next time
        return lines

    def _fair(self, transaction: Transaction) -> list[_Line]:
        """Take one of each tenant in turn, from the one after the last that had one."""
        lines = self._of_groups(transaction, _TENANTS, _OLDEST)
        turns = Counter[str]()
        order: list[tuple[int, int, _Line]] = []
        for place, line in enumerate(lines):
            order.append((turns[line.group], place, line))
            turns[line.group] += 1
        order.sort()
        chosen = [line for _, _, line in order[: self.count]]
        if chosen:
            self.after[0] = chosen[-1].group + _NEXT
        return chosen

    def _of_groups(self, transaction: Transaction, find: str, take: str) -> list[_Line]:
        """Return the first of some keys, from the one after the last that had its turn; perhaps a few too many."""
        source = self.source.id
        after = self.after[0]
        groups: list[str] = decode_json(transaction.value(find, source, after, self.count))
        if after and len(groups) < self.count:
            seen = set(groups)
            wrapped = decode_json(transaction.value(find, source, "", self.count - len(groups)))
            groups += [group for group in wrapped if group not in seen]
        if not groups:
            return []
        # Spread over the keys that are ready, so that handlers can work on as many as there are.
        share = -(-self.count // len(groups))
        return _lines(transaction.value(take, source, encode_json(groups), share))


def _lines(text: str) -> list[_Line]:
    return [_Line(*row) for row in decode_json(text)]


def _within(lines: list[_Line]) -> list[_Line]:
    total = 0
    for index, line in enumerate(lines):
        total += line.size
        if total > MOST_BYTES and index:
            return lines[:index]
    return lines


_LOOK = f"""
SELECT EXISTS (SELECT 1 FROM line WHERE source = ?1 AND state = {READY}),
       (SELECT min(due) FROM line INDEXED BY line_due WHERE source = ?1 AND state > 0)
"""  # noqa: S608 - made of numbers only

_NEXT_DUE = "SELECT min(due) FROM line INDEXED BY line_due WHERE source = ? AND state > 0"

_COLLECT = f"""
UPDATE line INDEXED BY line_due SET state = {READY}, due = 0 WHERE source = ? AND state > 0 AND due <= ?
"""  # noqa: S608 - made of numbers only

_FIRST = f"""
SELECT json_group_array(json_array(seq, attempt, expires, size, grp)) FROM (
    SELECT seq, attempt, expires, size, grp FROM line
    WHERE source = ? AND state = {READY} AND grp = '' ORDER BY seq LIMIT ?)
"""  # noqa: S608 - made of numbers only

# The keys from ?2 on, in their own order, each found by one seek; not those of which something is leased, nor those of
# which what is first has a delay.
_GROUPS = f"""
WITH RECURSIVE walk(grp) AS (
    SELECT (SELECT min(grp) FROM line WHERE source = ?1 AND state = {READY} AND grp >= ?2)
    UNION ALL
    SELECT (SELECT min(grp) FROM line WHERE source = ?1 AND state = {READY} AND grp > walk.grp)
    FROM walk WHERE walk.grp IS NOT NULL
)
SELECT json_group_array(grp) FROM (
    SELECT grp FROM walk
    WHERE grp IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM line WHERE source = ?1 AND state = {LEASED} AND grp = walk.grp)
      AND (SELECT min(seq) FROM line WHERE source = ?1 AND state = {READY} AND grp = walk.grp)
          < ifnull((SELECT min(seq) FROM line WHERE source = ?1 AND state = {DELAYED} AND grp = walk.grp), 1e18)
    LIMIT ?3)
"""  # noqa: S608 - made of numbers only

# Tenants from ?2 on, likewise; nothing of theirs holds up the rest of it.
_TENANTS = f"""
WITH RECURSIVE walk(grp) AS (
    SELECT (SELECT min(grp) FROM line WHERE source = ?1 AND state = {READY} AND grp >= ?2)
    UNION ALL
    SELECT (SELECT min(grp) FROM line WHERE source = ?1 AND state = {READY} AND grp > walk.grp)
    FROM walk WHERE walk.grp IS NOT NULL
)
SELECT json_group_array(grp) FROM (SELECT grp FROM walk WHERE grp IS NOT NULL LIMIT ?3)
"""  # noqa: S608 - made of numbers only

_OLDEST = f"""
SELECT json_group_array(json_array(seq, attempt, expires, size, grp)) FROM (
    SELECT l.seq, l.attempt, l.expires, l.size, l.grp
    FROM json_each(?2) g CROSS JOIN line l ON l.source = ?1 AND l.state = {READY} AND l.grp = g.value AND l.seq IN (
        SELECT seq FROM line WHERE source = ?1 AND state = {READY} AND grp = g.value ORDER BY seq LIMIT ?3))
"""  # noqa: S608 - made of numbers only

_RUNS = f"""
SELECT json_group_array(json_array(seq, attempt, expires, size, grp)) FROM (
    SELECT l.seq, l.attempt, l.expires, l.size, l.grp
    FROM json_each(?2) g CROSS JOIN line l ON l.source = ?1 AND l.state = {READY} AND l.grp = g.value AND l.seq IN (
        SELECT seq FROM line
        WHERE source = ?1 AND state = {READY} AND grp = g.value
          AND seq < ifnull((SELECT min(seq) FROM line WHERE source = ?1 AND state = {DELAYED} AND grp = g.value), 1e18)
        ORDER BY seq LIMIT ?3))
"""  # noqa: S608 - made of numbers only

_LEASE = f"""
UPDATE line SET state = {LEASED}, due = ?1, attempt = attempt + 1, claim = ?3
WHERE seq IN (SELECT value FROM json_each(?2))
"""  # noqa: S608 - made of numbers only
