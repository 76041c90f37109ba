"""What every provisioning test needs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

# pulumi-aws and pulumi-gcp warn, when a module is loaded, of types and functions in it that moved. We use none of them.
MOVED = r"ignore:(aws|gcp)\..* has been deprecated in favor of:DeprecationWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(MOVED))


@pytest.fixture(autouse=True)
def _quiet_loops() -> Iterator[None]:
    """Keep asyncio from printing errors that nobody retrieved beside the first, as Pulumi's own host does."""
    logger = logging.getLogger("asyncio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)
