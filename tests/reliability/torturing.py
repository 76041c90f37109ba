"""The torture at the scale of the suite: a fiftieth of the ten minutes of `make soak`, with all faults."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from polybus.testing.torture import Options, torture
from polybus.testing.torture.sites import sites
from polybus.testing.torture.timeline import timeline

SCALE = float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02"))
MINUTES = 10 * SCALE
SEEDS = tuple(int(seed) for seed in os.environ.get("POLYBUS_TORTURE_SEEDS", "7").split(","))


def tortured(name: str, folder: Path, seed: int, **settings: str) -> None:
    """Torture a site by all faults, say the verdict, and fail where a column isn't 0 that has to be.

    `settings` are added to those of a cloud's binding.
    """
    whole = SCALE >= 1
    options = Options(
        minutes=MINUTES,
        seed=seed,
        publishers=2 if whole else 1,
        consumers=3 if whole else 2,
        rate=40.0 if whole else 20.0,
        keep=folder,
    )
    verdict = asyncio.run(torture(sites()[name](**({"settings": settings} if settings else {})), options))
    (folder / "timeline.svg").write_text(timeline(verdict))
    counts = {row.name: row.count for row in verdict.rows}
    zero = [row for row in verdict.rows if row.zero]
    wrong = ", ".join(f"{row.count} {row.name}" for row in zero if row.count) or f"0 in each of {len(zero)} columns"
    print(
        f"torture of {name}, {MINUTES:g} min of faults, seed {seed}: {wrong}; "
        f"{counts['messages accepted']:,} messages, {counts['deliveries handled']:,} deliveries, "
        f"{counts['processes killed']} kills, "
        f"{counts['processes stopped for a while']} stops, {counts['processes told to end']} SIGTERM, "
        f"{sum(count for row, count in counts.items() if row.startswith('fault: '))} faults of server, wire and clock"
    )
    assert verdict.holds, verdict.table()
