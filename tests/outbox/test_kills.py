"""Processes that are killed at every step: a fiftieth of it by default, the whole with POLYBUS_SOAK_SCALE=1."""

from __future__ import annotations

import os
from pathlib import Path

from kills import TRANSACTIONS, kill
from places import Database

SCALE = float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02"))


async def test_one_message_a_commit_and_none_for_a_rollback(database: Database, tmp_path: Path) -> None:
    outcome = await kill(tmp_path, database, transactions=int(TRANSACTIONS * SCALE), seed=7)
    print(f"outbox in {outcome}")
    assert outcome.errors == []
    assert outcome.lost == []
    assert outcome.unasked == []
    assert outcome.overtaken == []
    assert outcome.left == 0
    assert min(outcome.kills["submit"], outcome.kills["relay"]) > 0
