"""What every provisioning test needs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

# pulumi-aws and pulumi-gcp warn, when a module is loaded, of types and functions in it that moved. We use none of them.
MOVED = r"ignore:(aws|gcp)\..* has been deprecated in favor of:DeprecationWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(MOVED))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say whether the engine's semantics were proven with the CLI too: where it is absent, nothing is skipped."""
    reports = [report for each in terminalreporter.stats.values() for report in each]
    if any("provision/test_engine.py" in str(getattr(report, "nodeid", "")) for report in reports):
        found = shutil.which("pulumi")
        how = f"run, {found}" if found else "not run, no `pulumi` on PATH (the test double ran)"
        terminalreporter.write_line(f"engine semantics with the real Pulumi CLI: {how}")


@pytest.fixture(autouse=True)
def _quiet_loops() -> Iterator[None]:
    """Keep asyncio from printing errors that nobody retrieved beside the first, as Pulumi's own host does."""
    logger = logging.getLogger("asyncio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)
