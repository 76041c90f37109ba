"""POLYBUS_LIVE: which tests run, what is said of the run, and that nothing of it stays (live.py)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from . import live

_SAID: list[str] = []
_LEFT: list[pytest.Item] = []


def pytest_configure() -> None:
    """Stop with one line where the account can't be used; have SIGTERM end a run as ^C does."""
    try:
        cloud = live.wanted()
        if cloud is not None:
            live.prefix()
            live.account(cloud).close()
            signal.signal(signal.SIGTERM, signal.default_int_handler)
    except live.LiveError as error:
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave only the suite on the account: the other tests here are of local servers, whose variables would mix."""
    cloud = live.wanted()
    if cloud is None:
        return
    here = Path(__file__).parent
    others = [each for each in items if here in each.path.parents and each.path.name != f"test_{cloud}.py"]
    items[:] = [each for each in items if each not in others]
    config.hook.pytest_deselected(items=others)


def pytest_deselected(items: list[pytest.Item]) -> None:
    _LEFT.extend(each for each in items if each.path == Path(__file__).parent / f"test_{live.wanted()}.py")


@pytest.hookimpl(trylast=True)  # after the fixtures' own ends
def pytest_sessionfinish() -> None:
    """Delete what a class could not: its fixture's end was cut off by ^C."""
    _SAID.extend(live.end_all())


def pytest_unconfigure() -> None:
    """Delete it, too, where ^C came between."""
    live.end_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _SAID:
        terminalreporter.write_line(f"Conformance on {line}")
    if _LEFT:
        waiting = sum(each.get_closest_marker("moves_time") is not None for each in _LEFT)
        terminalreporter.write_line(f"Not run, for they were not chosen: {len(_LEFT)} tests; {waiting} let time pass")
