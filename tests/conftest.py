"""What tests have to say beside passing: what they measured, and what they couldn't run here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_SAID = "said"

Say = Callable[[str], None]


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Say a line in the summary of the run: also from a worker, whose output nobody sees."""
    return lambda line: record_property(_SAID, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write each line once, in the order of the tests that said it."""
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
