"""A fiftieth of the torture on aws, by either client; a file each, so that they run side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from .torturing import SEEDS, tortured


@pytest.mark.parametrize("client", ["lean", "boto3"])
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_goes_wrong(tmp_path: Path, seed: int, client: str) -> None:
    tortured("aws", tmp_path, seed, client=client)
