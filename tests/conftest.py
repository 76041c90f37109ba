"""What tests have to say beside passing: what they measured, and what they couldn't run here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from leftovers import Leftovers

_SAID = "said"
_LEFTOVERS = pytest.StashKey[Leftovers]()
_FOUND = pytest.StashKey[list[str]]()

Say = Callable[[str], None]


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Say a line in the summary of the run: also from a worker, whose output nobody sees."""
    return lambda line: record_property(_SAID, line)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Mark what this run starts and leaves; the workers of pytest-xdist inherit it."""
    if not hasattr(config, "workerinput"):
        config.stash[_LEFTOVERS] = Leftovers()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves something behind."""
    if _LEFTOVERS in session.config.stash and (found := session.config.stash[_LEFTOVERS].found()):
        session.config.stash[_FOUND] = found
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the run's folder where there is nothing to look at."""
    if _LEFTOVERS in config.stash:
        config.stash[_LEFTOVERS].clear(keep=_FOUND in config.stash)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write each line once, in the order of the tests that said it; and what outlived the run."""
    reports = [report for each in terminalreporter.stats.values() for report in each]
    said = [
        line
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, line in report.user_properties
        if name == _SAID
    ]
    for line in dict.fromkeys(said):
        terminalreporter.write_line(line)
    for line in config.stash.get(_FOUND, []):
        terminalreporter.write_line(f"outlived the run, which fails for it: {line}", red=True)
