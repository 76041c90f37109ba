"""A fiftieth of the backlog of `make soak`: how many messages are handled before those of quiet tenants."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .fairness import BACKENDS, BATCH, QUIET, measure

SCALE = float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02"))
WAITING = round(100_000 * SCALE)
MINUTES = 30 if SCALE >= 1 else 2
# What is taken before it shows who is noisy (SQS), what is taken at once, and one message of each tenant in its turn.
MOST = 2 * BATCH + len(QUIET) + 1


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_quiet_do_not_wait_for_the_noisy_one(backend: str, tmp_path: Path) -> None:
    waits = await measure(backend, fair=True, waiting=WAITING, minutes=MINUTES, folder=tmp_path)
    print(waits)
    assert len(waits.waits) == MINUTES * len(QUIET)
    assert max(waits.waits) <= MOST, waits


@pytest.mark.parametrize("backend", BACKENDS if SCALE >= 1 else ["memory"])
async def test_without_it_they_wait_for_all_of_it(backend: str, tmp_path: Path) -> None:
    waits = await measure(backend, fair=False, waiting=WAITING, minutes=1, folder=tmp_path)
    print(waits)
    assert min(waits.waits) >= WAITING
