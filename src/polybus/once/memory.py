"""Claims in memory, for tests: of one process, and gone with it."""

from __future__ import annotations

from dataclasses import dataclass

from polybus.claims import RETENTION, Busy, Claim, Done
from polybus.clock import Clock, SystemClock
from polybus.durations import Duration, seconds

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Row:
    token: int = 0
    until: float = 0.0
    done: float | None = None


class MemoryStore:
    """Claims in memory, for tests; `clock` tells it the time, and `retention` how long it keeps a key."""

    def __init__(self, *, retention: Duration = RETENTION, clock: Clock | None = None) -> None:
        self._rows: dict[tuple[str, str], _Row] = {}
        self._retention = seconds(retention, "retention")
        self._clock = clock or SystemClock()

    async def claim(self, scope: str, key: str, lease: float) -> Claim | Busy | Done:
        now = self._clock.time()
        row = self._rows.setdefault((scope, key), _Row())
        if row.done is not None and row.done > now - self._retention:
            return Done()
        if row.done is None and row.until > now:
            return Busy(row.until - now)
        row.token, row.until, row.done = row.token + 1, now + lease, None
        return Claim(scope, key, row.token)

    async def renew(self, claim: Claim, lease: float) -> bool:
        row = self._of(claim)
        if row is not None:
            row.until = self._clock.time() + lease
        return row is not None

    async def confirm(self, claim: Claim) -> bool:
        row = self._of(claim)
        if row is not None:
            row.done = self._clock.time()
        return row is not None

    async def release(self, claim: Claim) -> None:
        row = self._of(claim)
        if row is not None:
            row.until = self._clock.time()

    async def purge(self) -> int:
        horizon = self._clock.time() - self._retention
        old = [key for key, row in self._rows.items() if (row.until if row.done is None else row.done) <= horizon]
        for key in old:
            del self._rows[key]
        return len(old)

    async def create_tables(self) -> None:
        pass

    def _of(self, claim: Claim) -> _Row | None:
        row = self._rows.get((claim.scope, claim.key))
        return row if row is not None and row.token == claim.token and row.done is None else None
