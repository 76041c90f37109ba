"""What a store of `polybus.once` answers, and what is asked of it."""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["RETENTION", "Busy", "Claim", "ClaimStore", "Done", "check_key"]

# Seconds that a key is kept for: as long as a message may come again. It lives for 7 days and, as a dead letter, for 14
# more (the topology's defaults); whoever keeps messages for longer keeps keys for longer.
RETENTION = 21 * 86_400.0

# Characters of a key or a scope: what an index of any of the stores takes.
LONGEST = 200


class Claim(msgspec.Struct, frozen=True):
    """One message's effect is this owner's, until its lease is over.

    `token` is higher than that of every claim of this key before: what takes it along can refuse a lower one.
    """

    scope: str
    key: str
    token: int


class Busy(msgspec.Struct, frozen=True):
    """Another owner has the claim; `seconds` until its lease is over, unless that is renewed."""

    seconds: float


class Done(msgspec.Struct, frozen=True):
    """It was confirmed before: not to be done again."""


class ClaimStore(Protocol):
    """Where claims are; for any number of processes, and for one event loop each.

    Every call is atomic, and raises what the store's own client raises where that fails. A `key` is unique within its
    `scope`; both have at most 200 characters.
    """

    async def claim(self, scope: str, key: str, lease: float) -> Claim | Busy | Done:
        """Claim a key for `lease` seconds: one that is new, was released, whose lease is over, or not kept any more."""

    async def renew(self, claim: Claim, lease: float) -> bool:
        """Have a claim's lease end in `lease` seconds; say whether it is still this owner's."""

    async def confirm(self, claim: Claim) -> bool:
        """Note that it is done; say whether the claim was still this owner's. Else nothing is noted."""

    async def release(self, claim: Claim) -> None:
        """End a claim's lease where it is still this owner's: it may be claimed at once."""

    async def purge(self) -> int:
        """Delete the keys that aren't kept any more; return how many, 0 where the store does it by itself."""

    async def create_tables(self) -> None:
        """Create what the store keeps claims in, unless it is there."""


def check_key(scope: str, key: str) -> None:
    """Raise ValueError for a scope or key that is too long for a store."""
    for name, value in (("scope", scope), ("key", key)):
        if len(value) > LONGEST:
            raise ValueError(f"{name} {value[:20]!r}...: {len(value)} characters, at most {LONGEST}")
