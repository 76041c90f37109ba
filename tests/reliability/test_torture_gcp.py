"""A fiftieth of the torture on gcp; a file each, so that they run side by side.

Of its faults only those of processes and clocks: after stalled connections and killed servers it doesn't hold its order
yet (docs/reliability.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from polybus.testing.torture.run import WORKER_FAULTS

from .torturing import SEEDS, tortured


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_goes_wrong(tmp_path: Path, seed: int) -> None:
    tortured("gcp", tmp_path, seed, frozenset(WORKER_FAULTS))
