"""The SQLite soak, a fiftieth of it by default (POLYBUS_SOAK_SCALE); the whole is `make soak`."""

from __future__ import annotations

import os
from pathlib import Path

from .sqlite_soak import MESSAGES, soak


async def test_nothing_is_lost_or_overtaken_while_processes_are_killed(tmp_path: Path) -> None:
    scale = float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02"))
    outcome = await soak(tmp_path, messages=int(MESSAGES * scale), seed=20)
    print(outcome)
    assert outcome.lost == []
    assert outcome.overtaken == []
    assert (outcome.waiting, outcome.dead, outcome.integrity) == (0, 0, "ok")
    assert set(outcome.exit_codes) == {0}
    assert outcome.kills > 0
