"""Effects of processes that are killed at every step: a fiftieth by default, the whole with POLYBUS_SOAK_SCALE=1."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .kills import TRANSACTIONS, kill

MESSAGES = int(TRANSACTIONS * float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02")))


@pytest.mark.parametrize("place", ["aiosqlite", "asyncpg"], indirect=True)
async def test_n6_in_their_transaction_each_message_has_one_effect(place: tuple[str, str], tmp_path: Path) -> None:
    outcome = await kill(tmp_path, place, messages=MESSAGES)
    print(f"once in transactions on {outcome}")
    assert outcome.errors == []
    assert (outcome.lost, outcome.again, outcome.left, outcome.dead) == (0, 0, 0, 0)
    assert outcome.kills.total() > 0


@pytest.mark.parametrize("place", ["sqlite", "redis"], indirect=True)
async def test_n3_by_claims_only_a_kill_after_the_effect_repeats_it(place: tuple[str, str], tmp_path: Path) -> None:
    outcome = await kill(tmp_path, place, messages=MESSAGES)
    print(f"once by claims on {outcome}")
    assert outcome.errors == []
    assert (outcome.lost, outcome.left, outcome.dead) == (0, 0, 0)
    assert outcome.kills.total() > 0
    # Four handlers run at once, and each may have its effect and no confirmation yet, whatever step the kill is at.
    assert outcome.again <= 4 * outcome.kills.total()
