"""What relays and operators ask of a database that holds an outbox."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

import msgspec

from polybus.outbox.row import Row

__all__ = ["COLUMNS", "Answers", "Claim", "Kept", "Later", "Promoted", "Store"]

COLUMNS = "seq, id, token, target, ordering_key, body, content_type, attributes, delay, created_at"


class Answers(NamedTuple):
    """What became of rows, by their numbers; of those that are in none of these, nothing is known."""

    sent: Sequence[int]
    failed: Sequence[tuple[int, str]]
    again: Sequence[tuple[int, str]]


class Claim(Protocol):
    """Rows of one target that nobody else sends as long as the claim is open, in the order to send them in."""

    rows: Sequence[Row]

    async def settle(self, answers: Answers, now: float) -> None:
        """Delete what was sent, and note why the rest was not; it holds once the claim has ended without an error."""


class Promoted(NamedTuple):
    """How many scheduled messages came into the outbox, and when the next is due: seconds since the epoch, or None."""

    moved: int
    due_at: float | None


class Kept(msgspec.Struct, frozen=True):
    """A message of the outbox, for an operator.

    `state` is "failed" where it was refused for good, which holds up its ordering key, "retrying" where the relay
    tries again by itself, else "waiting". `reason` says why it last failed.
    """

    id: str
    target: str
    ordering_key: str | None
    state: str
    created_at: float
    attempts: int
    failed_at: float | None
    reason: str | None
    bytes: int


class Later(msgspec.Struct, frozen=True):
    """A message that is scheduled; times are seconds since the epoch."""

    id: str
    target: str
    ordering_key: str | None
    due_at: float
    created_at: float
    bytes: int


class Store(Protocol):
    """One database's outbox; for one event loop. What it raises is the database's own, but for ConfigError."""

    async def check(self) -> None:
        """Raise ConfigError where the tables aren't there."""

    async def targets(self) -> Sequence[str]:
        """Return the topics and queues that have rows which haven't failed for good, where it is ours to send them."""

    def claim(self, target: str, count: int, room: int) -> AbstractAsyncContextManager[Claim]:
        """Claim up to `count` rows of a target, with bodies of about `room` bytes, one at least, of free keys."""

    async def promote(self, now: float, count: int) -> Promoted:
        """Move up to `count` scheduled messages that are due into the outbox, in the order of their times."""

    async def wait(self, seconds: float) -> None:
        """Return when there may be something new, or `woken` was called, after `seconds` at the latest."""

    def woken(self) -> None:
        """Have `wait` return, now or when it is called next, and look often for a while: something was there."""

    async def kept(self, count: int, *, every: bool) -> Sequence[Kept]:
        """Return up to `count` messages that failed or are tried again, or `every` one, the oldest first."""

    async def retry(self, ids: Sequence[str] | None) -> int:
        """Have those of these ids, or all that failed for good, sent again; return how many."""

    async def discard(self, ids: Sequence[str] | None) -> int:
        """Delete those of these ids, or all that failed for good; return how many. What is being sent stays."""

    async def later(self, count: int) -> Sequence[Later]:
        """Return up to `count` scheduled messages, the soonest first."""

    async def cancel(self, ids: Sequence[str]) -> int:
        """Cancel what is scheduled by these ids; return how many."""

    async def aclose(self) -> None:
        """Close what was opened for it."""
